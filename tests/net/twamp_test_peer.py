"""A scripted Session-Sender and Session-Reflector for tests, in all four security modes, with the
quirks of real reflectors as options. Both keep to the protocol unless told otherwise: `alter`
changes a reply's fields, `tamper` a packet after its HMAC was made, `spoil` what goes on the wire.
"""

import select
import socket
import struct
import sys
import threading
import time

import server_rig
import twamp_wire as wire
from twamp_crypto import NO_KEYS, BadHmac, unchanged

SENDER_HMAC, REPLY_HMAC = 32, 96
SO_TIMESTAMPNS, TIMESPEC = 35, struct.Struct("@qq")  # the option is not in Python's socket


class Answer(server_rig.Reply):
    """A reply whose HMAC was right, opened. The octets as they came are in .raw."""

    def __init__(self, mode, keys, octets, control, origin):
        plain = keys.open(mode, REPLY_HMAC, octets)
        super().__init__(plain, control, origin)
        self.raw = octets
        layout = wire.reply_layout(mode)
        if layout is wire.REPLY_OPEN_DSCP and len(plain) in (42, 43):
            plain = plain.ljust(layout.size, b"\0")
        fields = wire.reply_layout(mode).get(plain[:layout.size])
        self.mbz = fields.mbz
        self.padding = plain[layout.size:]
        self.sequence, self.sender_sequence = fields.sequence, fields.sender_sequence
        self.t3, self.t2, self.t1 = fields.timestamp, fields.received, fields.sender_timestamp
        self.error, self.sender_error = fields.error, fields.sender_error
        self.sender_ttl = fields.sender_ttl
        self.sender_tos = getattr(fields, "sender_tos", None)


class Sender(server_rig.Sender):
    """A scripted Session-Sender: server_rig's, with keys."""

    def __init__(self, host="127.0.0.1", mode=wire.UNAUTHENTICATED, keys=NO_KEYS, mbz=0, **options):
        super().__init__(host, **options)
        self.mode, self.keys, self.mbz = mode, keys, mbz
        self.reflector_host, self.reflector_port = host, None

    def packet(self, sequence=0, stamp=None, error=0x8f84, padding=None, padding_length=None,
               length=None, tamper=unchanged, spoil=unchanged):
        """A packet as it goes on the wire: `padding_length` octets of a pattern follow the header,
        `length` cuts it."""
        layout = wire.sender_layout(self.mode)
        if padding_length is None:
            padding_length = 64 if wire.secured(self.mode) else 27
        symmetrical = wire.sender_size(self.mode, 0) - layout.size
        header = layout.put(self.mbz, sequence=sequence, error=error,
                            timestamp=wire.now() if stamp is None else stamp)
        padding = server_rig.PATTERN[:padding_length] if padding is None else padding
        packet = header + bytes([self.mbz]) * symmetrical + padding
        packet = self.keys.protect(self.mode, SENDER_HMAC, packet, tamper, spoil)
        return packet if length is None else packet[:length]

    def send(self, port=None, to=None, raw=None, **fields):
        octets = self.packet(**fields) if raw is None else raw
        self.socket.sendto(octets, (to or self.reflector_host, port or self.reflector_port))
        return octets

    def receive(self, seconds=server_rig.PATIENCE):
        """The next reply, opened; None if none comes. Raises BadHmac."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return None
        octets, control, _, origin = self.socket.recvmsg(65536, 1024)
        return Answer(self.mode, self.keys, octets, control, origin)

    def exchange(self, port=None, seconds=server_rig.PATIENCE, **fields):
        self.send(port, **fields)
        return self.receive(seconds)

    def silent(self, port=None, **fields):
        return self.exchange(port, server_rig.SILENCE, **fields) is None


class Reflector:
    """A scripted Session-Reflector in a thread of its own, silent until start(). What came is in
    .packets, opened, and what could not be opened in .refused, as it was.

    started           answers from the moment on at which its port is open
    stateless         copies the Sender Sequence Number
    drop, drop_reply  sequence numbers that are not received; that are, but not answered
    copies, hold      of each reply; {sequence: seconds} until it leaves
    clock_offset      seconds that its clock is ahead
    delay             seconds between T2 and T3
    ptp               stamps with PTPv2, and says so
    length            of each reply, cut or filled with zeros
    ttl               Sender TTL that is reported instead of the real one
    alter             changes the dict of a reply's fields

    .way_out is the socket that replies leave from.
    """

    def __init__(self, host="127.0.0.1", mode=wire.UNAUTHENTICATED, keys=None, request=None, port=0,
                 started=False, stateless=False, drop=(), drop_reply=(), copies=1, hold=None,
                 clock_offset=0.0, delay=0.0, ptp=False, length=None, ttl=None, error=0x8f84,
                 mbz=0, alter=unchanged, tamper=unchanged, spoil=unchanged):
        self.mode, self.keys, self.request = mode, keys or NO_KEYS, request
        self.stateless, self.drop, self.drop_reply = stateless, set(drop), set(drop_reply)
        self.copies, self.hold = copies, hold or {}
        self.clock_offset, self.delay, self.ptp = clock_offset, delay, ptp
        self.length, self.ttl, self.error, self.mbz = length, ttl, error, mbz
        self.alter, self.tamper, self.spoil = alter, tamper, spoil
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET,
                                    socket.SOCK_DGRAM)
        self.ask_for_header(":" in host)
        self.socket.bind((host, port))
        self.port = self.socket.getsockname()[1]
        self.way_out = self.socket
        self.packets, self.refused, self.sent = [], [], 0
        self.until = float("inf") if started else 0.0  # monotonic; replies after that are not sent
        self.closing = False
        self.held = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def ask_for_header(self, ip6):
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if ip6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, server_rig.IP_RECVTTL, 1)
            self.socket.setsockopt(socket.IPPROTO_IP, server_rig.IP_RECVTOS, 1)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        if self.request is not None:
            tos = (self.request.type_p >> 24 & 0x3f) << 2
            self.socket.setsockopt(socket.IPPROTO_IPV6 if ip6 else socket.IPPROTO_IP,
                                   socket.IPV6_TCLASS if ip6 else socket.IP_TOS, tos)

    def start(self):
        self.until = float("inf")

    def stop(self):
        """Stop-Sessions came: replies go on for the session's Timeout."""
        if self.until == float("inf"):
            timeout = self.request.timeout / 2**32 if self.request is not None else 0.0
            self.until = time.monotonic() + timeout

    def close(self):
        self.closing = True
        self.thread.join(server_rig.PATIENCE)
        self.socket.close()

    def run(self):
        while not self.closing:
            for due in [item for item in self.held if item[0] <= time.monotonic()]:
                self.held.remove(due)
                self.way_out.sendto(*due[1:])
            if select.select([self.socket], [], [], 0.002 if self.held else 0.05)[0]:
                octets, control, _, origin = self.socket.recvmsg(65536, 1024)
                self.take(octets, control, origin)

    def stamp(self, at=None):
        return (wire.ptp_now if self.ptp else wire.now)(self.clock_offset, at)

    def take(self, octets, control, origin):
        received = self.stamp(arrival_of(control))
        if time.monotonic() > self.until:
            return
        layout = wire.sender_layout(self.mode)
        try:
            plain = self.keys.open(self.mode, SENDER_HMAC, octets)
            packet = layout.get(plain[:layout.size])
        except (BadHmac, ValueError):
            self.refused.append(octets)
            return
        packet.ttl, packet.tos = header_of(control)
        packet.length, packet.origin = len(octets), origin
        packet.padding = plain[layout.size:]
        if packet.sequence in self.drop:
            return
        self.packets.append(packet)
        time.sleep(self.delay)
        reply = self.reply(packet, plain, received)
        for _ in range(0 if packet.sequence in self.drop_reply else self.copies):
            if packet.sequence in self.hold:
                due = time.monotonic() + self.hold[packet.sequence]
                self.held.append((due, reply, origin))
            else:
                self.way_out.sendto(reply, origin)

    def reply(self, packet, plain, received):
        fields = {
            "sequence": packet.sequence if self.stateless else self.sent, "received": received,
            "error": self.error | (0x4000 if self.ptp else 0), "timestamp": self.stamp(),
            "sender_sequence": packet.sequence, "sender_timestamp": packet.timestamp,
            "sender_error": packet.error,
            "sender_ttl": packet.ttl if self.ttl is None else self.ttl}
        if self.mode & wire.DSCP_ECN:
            fields["sender_tos"] = packet.tos
        self.sent += 1
        header = wire.reply_layout(self.mode).put(self.mbz, **self.alter(fields))
        whole = wire.reply_with_padding(self.mode, header, plain)
        whole = self.keys.protect(self.mode, REPLY_HMAC, whole, self.tamper, self.spoil)
        return whole if self.length is None else whole[:self.length].ljust(self.length, b"\0")


def arrival_of(control):
    """When the kernel received a packet, in nanoseconds since 1970; None: unknown. What this process
    takes to look at it is none of the path's time."""
    for level, kind, value in control:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(value) == TIMESPEC.size:
            seconds, rest = TIMESPEC.unpack(value)
            return seconds * 10**9 + rest
    return None


def header_of(control):
    """TTL and TOS octet of a received packet; 255 and 0 where they are unknown."""
    ttl, tos = 255, 0
    for level, kind, value in control:
        number = int.from_bytes(value[:4], sys.byteorder) if len(value) >= 4 else value[0]
        if (level, kind) in ((socket.IPPROTO_IP, socket.IP_TTL),
                             (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)):
            ttl = number
        if (level, kind) in ((socket.IPPROTO_IP, socket.IP_TOS),
                             (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)):
            tos = value[0]
    return ttl, tos
