"""Scripted servers that watch the plugin: those of twamp_peer, which remember besides when
something came. For the conformance tests of the Control-Client and the Session-Sender.
"""

import struct
import time

import plugin_rig
import twamp_wire as wire
from twamp_peer import Server

SECRET = "watched secret"
FEATURES = {"session-control": wire.SESSION_CONTROL, "reflect-octets": wire.REFLECT_OCTETS,
            "symmetrical": wire.SYMMETRICAL, "dscp": wire.DSCP_ECN, "ptp": wire.PTP}
ALL_FEATURES = sum(FEATURES.values())
TCP_SAVE_SYN, TCP_SAVED_SYN = 27, 28
IPPROTO_TCP = 6


def quoted(*words):
    return " ".join(f'"{word}"' for word in words)


class Witness(Server):
    """Keeps when Start-Ack left (.acks) and the stop came (.stops), as NTP timestamps by the index
    of the session's reflector; and of each connection the keys (.key_list) and the TOS octet of its
    SYN (.syn_tos). Old sessions end when the next is requested. `spy` sees each packet with its
    reply, and returns the reply that is sent."""

    def __init__(self, modes=wire.SECURITY, *, ack_delay=0.0, spy=None, **options):
        options.setdefault("secrets", {b"noc": SECRET.encode()})
        options.setdefault("count", 1024)
        super().__init__(modes=modes, **options)
        self.ack_delay, self.spy = ack_delay, spy
        self.acks, self.stops = {}, {}
        self.key_list, self.syn_tos, self.connections = [], [], 0
        self.listener.setsockopt(IPPROTO_TCP, TCP_SAVE_SYN, 1)

    def talk(self, stream):
        syn = stream.connection.getsockopt(IPPROTO_TCP, TCP_SAVED_SYN, 256)
        self.syn_tos.append(struct.unpack("!I", syn[:4])[0] >> 20 & 0xff if syn[0] >> 4 == 6
                            else syn[1])
        self.connections += 1
        super().talk(stream)

    def take_keys(self, response, challenge, salt):
        accept = super().take_keys(response, challenge, salt)
        if accept == 0:
            self.key_list.append(self.keys)
        return accept

    def answer_request(self, stream, message):
        for reflector in self.reflectors:
            if reflector.closing and not reflector.thread.is_alive():
                reflector.socket.close()  # descriptors are few where select() is used
            reflector.closing = True
        before = len(self.reflectors)
        super().answer_request(stream, message)
        for reflector in self.reflectors[before:]:
            self.watch(reflector)

    def watch(self, reflector):
        inner = reflector.reply

        def reply(packet, plain, received):
            packet.received = received
            whole = inner(packet, plain, received)
            return whole if self.spy is None else self.spy(reflector, packet, whole)
        reflector.reply = reply

    def answer_start(self, stream, message):
        time.sleep(self.ack_delay)
        self.acks[len(self.reflectors) - 1] = wire.now()
        super().answer_start(stream, message)

    def stop(self, stream, message):
        self.stops[len(self.reflectors) - 1] = wire.now()
        super().stop(stream, message)

    def packets(self):
        """Packets of all sessions."""
        return [packet for reflector in self.reflectors for packet in reflector.packets]

    def whole_sessions(self):
        """Packets by session, those that were stopped and had all their packets."""
        return [self.reflectors[i].packets for i in self.stops
                if len(self.reflectors[i].packets) >= plugin_rig.COUNT]
