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
# Sequence Number, Timestamp, Error Estimate; and in the padding the number once more, where a reply
# has the Sender Sequence Number: what the floor sends back can be paired like replies.
PACKET = struct.Struct("!IQH10xI13x")
REPLY = struct.Struct("!IQHHQIQHHB")
ERROR = 0x8f84
TTL = 255


class Session:
    """One sender's socket, and what came back: replies, or from the floor the packets."""

    def __init__(self, local, remote, floor):
        self.floor = floor
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
        self.socket.bind(local)
        self.socket.connect(remote)
        self.socket.setblocking(False)
        self.stamps = []  # by Sequence Number
        self.received = 0
        self.last = -1  # number that the floor sent back
        self.wrong = 0

    def packet(self, sequence):
        return PACKET.pack(sequence, self.stamps[sequence], ERROR, sequence)

    def send(self):
        self.stamps.append(server_rig.ntp_now())
        self.socket.send(self.packet(len(self.stamps) - 1))

    def take(self):
        octets = self.socket.recv(1000)
        good = self.is_packet(octets) if self.floor else self.is_reply(octets)
        # One that comes twice comes with a number that another one has had, or leaves a gap.
        self.received += 1
        self.wrong += not good

    def is_packet(self, octets):
        """Whether it is the one that was sent: the floor drops some, but changes no order."""
        sequence = struct.unpack("!I", octets[:4])[0]
        good = self.last < sequence < len(self.stamps) and octets == self.packet(sequence)
        self.last = max(self.last, sequence)
        return good

    def is_reply(self, octets):
        if len(octets) != REPLY.size:
            return False
        sequence, _, _, mbz, _, sender_sequence, stamp, error, more_mbz, ttl = REPLY.unpack(octets)
        return sequence == self.received and sender_sequence < len(self.stamps) and \
            stamp == self.stamps[sender_sequence] and error == ERROR and ttl == TTL and \
            mbz == more_mbz == 0


class SlowSessions:
    """So many started sessions with one address each; made in the generator's namespace. The floor
    knows of no sessions: it has a port for packets instead of one for connections."""

    def __init__(self, reflector, first_address, count, control_port=None, floor_port=None):
        server = types.SimpleNamespace(control=control_port, test=None)
        first = struct.unpack("!I", socket.inet_aton(first_address))[0]
        self.controls, self.sessions = [], []
        self.selector = selectors.DefaultSelector()
        for number in range(count):
            if floor_port is None and number % PER_CONNECTION == 0:
                self.controls.append(server_rig.Control(server, reflector).set_up())
            address = socket.inet_ntoa(struct.pack("!I", first + number))
            port = floor_port or self.accepted_port(address)
            session = Session((address, PORT), (reflector, port), floor=floor_port is not None)
            self.selector.register(session.socket, selectors.EVENT_READ, session)
            self.sessions.append(session)
        self.start()

    def accepted_port(self, address):
        accepted = self.controls[-1].request(PORT, sender=address)
        if accepted.accept != 0:
            raise RuntimeError(f"session of {address}: Accept {accepted.accept}")
        return accepted.port

    def start(self):
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
