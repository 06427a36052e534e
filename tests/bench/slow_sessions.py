"""Sessions that send a packet now and then, beside a flood of which they are to notice nothing.

Not `load`, which never sleeps: it would take half of the flood's core. What it knows of the
protocol is its own, as in the net tests; how long replies take, a capture at the reflector tells.
"""

import os
import selectors
import socket
import struct
import sys
import time
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "net"))
import server_rig  # noqa: E402 pylint: disable=wrong-import-position

PORT = 20001
PER_CONNECTION = 10
LATE = 0.5  # seconds that a last reply is waited for
REPLY = struct.Struct("!IQHHQIQHHB")
ERROR = 0x8f84
TTL = 255


class Session:
    """One sender's socket, and what came back."""

    def __init__(self, local, remote):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
        self.socket.bind(local)
        self.socket.connect(remote)
        self.socket.setblocking(False)
        self.stamps = []  # by Sequence Number
        self.received = 0
        self.wrong = 0

    def send(self):
        self.stamps.append(server_rig.ntp_now())
        self.socket.send(struct.pack("!IQH27x", len(self.stamps) - 1, self.stamps[-1], ERROR))

    def take(self):
        octets = self.socket.recv(1000)
        if len(octets) != REPLY.size:
            self.wrong += 1
            return
        sequence, _, _, mbz, _, sender_sequence, stamp, error, more_mbz, ttl = REPLY.unpack(octets)
        good = sequence == self.received and sender_sequence < len(self.stamps) and \
            stamp == self.stamps[sender_sequence] and error == ERROR and ttl == TTL and \
            mbz == more_mbz == 0
        # One that comes twice comes with a number that another one has had, or leaves a gap.
        self.received += 1
        self.wrong += not good


class SlowSessions:
    """So many started sessions with one address each; made in the generator's namespace."""

    def __init__(self, reflector, control_port, first_address, count):
        server = types.SimpleNamespace(control=control_port, test=None)
        first = struct.unpack("!I", socket.inet_aton(first_address))[0]
        self.controls, self.sessions = [], []
        self.selector = selectors.DefaultSelector()
        for number in range(count):
            if number % PER_CONNECTION == 0:
                self.controls.append(server_rig.Control(server, reflector).set_up())
            address = socket.inet_ntoa(struct.pack("!I", first + number))
            accepted = self.controls[-1].request(PORT, sender=address)
            if accepted.accept != 0:
                raise RuntimeError(f"session of {address}: Accept {accepted.accept}")
            session = Session((address, PORT), (reflector, accepted.port))
            self.selector.register(session.socket, selectors.EVENT_READ, session)
            self.sessions.append(session)
        for control in self.controls:
            if control.start()[:1] != b"\0":
                raise RuntimeError("the sessions were not started")

    def receive_until(self, end):
        while True:
            left = end - time.monotonic()
            for key, _ in self.selector.select(max(left, 0)):
                key.data.take()
            if left <= 0:
                return

    def run(self, seconds, rate):
        """Each sends so many packets a second, and all of them in turn; what came of it."""
        begin = time.monotonic()
        for number in range(int(seconds * rate * len(self.sessions))):
            self.receive_until(begin + number / rate / len(self.sessions))
            self.sessions[number % len(self.sessions)].send()
        self.receive_until(time.monotonic() + LATE)
        sent = sum(len(session.stamps) for session in self.sessions)
        received = sum(session.received for session in self.sessions)
        return {"sent": sent, "received": received, "lost": sent - received,
                "wrong": sum(session.wrong for session in self.sessions)}

    def close(self):
        for session in self.sessions:
            session.socket.close()
        for control in self.controls:
            control.close()
        self.selector.close()
