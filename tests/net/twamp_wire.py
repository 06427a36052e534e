"""TWAMP's messages and test packets as octets, for tests: a second opinion written from the RFCs'
tables (4656, 5357, 5618, 5938, 6038, 7750), which shares no code with the programs under test.

A layout names its fields; what it does not name is MBZ, and may be written as anything, since a
receiver has to ignore it. Nothing here knows of keys (twamp_crypto) or sockets (twamp_peer).
"""

import time
from types import SimpleNamespace

UNAUTHENTICATED, AUTHENTICATED, ENCRYPTED, MIXED = 1, 2, 4, 8
SESSION_CONTROL, REFLECT_OCTETS, SYMMETRICAL, IKEV2, DSCP_ECN, PTP = 16, 32, 64, 128, 256, 512
SECURITY = 15
MODES = {"unauthenticated": UNAUTHENTICATED, "mixed": MIXED, "authenticated": AUTHENTICATED,
         "encrypted": ENCRYPTED}

START_SESSIONS, STOP_SESSIONS, REQUEST_TW_SESSION = 2, 3, 5
START_N_SESSIONS, START_N_ACK, STOP_N_SESSIONS, STOP_N_ACK = 7, 8, 9, 10
EPOCH = 2208988800  # seconds from 1900 to 1970
RAW = "octets"


class Layout:
    """Fields as (offset, size) in octets: unsigned integers in network byte order, or with RAW as
    third member the octets themselves."""

    def __init__(self, size, **fields):
        self.size = size
        self.fields = {name: where[:2] for name, where in fields.items()}
        self.octets = {name for name, where in fields.items() if len(where) == 3}
        named = [False] * size
        for offset, length in self.fields.values():
            assert offset + length <= size and not any(named[offset:offset + length])
            named[offset:offset + length] = [True] * length
        self.gaps = [offset for offset in range(size) if not named[offset]]

    def put(self, mbz=0, **values):
        """The message; fields that are not given are zero, every MBZ octet is `mbz`."""
        message = bytearray(self.size)
        for offset in self.gaps:
            message[offset] = mbz
        for name, value in values.items():
            offset, length = self.fields[name]
            octets = value if name in self.octets else value.to_bytes(length, "big")
            if len(octets) != length:
                raise ValueError(f"{name} has {length} octets, not {len(octets)}")
            message[offset:offset + length] = octets
        return bytes(message)

    def get(self, message):
        """A namespace of the fields; `mbz` are the octets that should be zero."""
        if len(message) != self.size:
            raise ValueError(f"{self.size} octets wanted, {len(message)} came: {message.hex()}")
        fields = SimpleNamespace(mbz=bytes(message[offset] for offset in self.gaps))
        for name, (offset, length) in self.fields.items():
            octets = bytes(message[offset:offset + length])
            setattr(fields, name, octets if name in self.octets else int.from_bytes(octets, "big"))
        return fields


# --- TWAMP-Control. The HMAC is the last 16 octets of whatever has one.

GREETING = Layout(64, modes=(12, 4), challenge=(16, 16, RAW), salt=(32, 16, RAW), count=(48, 4))
SET_UP_RESPONSE = Layout(164, mode=(0, 4), key_id=(4, 80, RAW), token=(84, 64, RAW),
                         client_iv=(148, 16, RAW))
SERVER_START = Layout(48, accept=(15, 1), server_iv=(16, 16, RAW), start_time=(32, 8))
SERVER_START_CLEAR = 32  # octets before the first encrypted block
REQUEST = Layout(
    112, command=(0, 1), ipvn=(1, 1), conf_sender=(2, 1), conf_receiver=(3, 1), slots=(4, 4),
    packets=(8, 4), sender_port=(12, 2), receiver_port=(14, 2), sender_address=(16, 16, RAW),
    receiver_address=(32, 16, RAW), sid=(48, 16, RAW), padding_length=(64, 4), start_time=(68, 8),
    timeout=(76, 8), type_p=(84, 4), octets_to_reflect=(88, 2), reflect_length=(90, 2),
    hmac=(96, 16, RAW))
ACCEPT = Layout(48, accept=(0, 1), port=(2, 2), sid=(4, 16, RAW), reflected_octets=(20, 2),
                server_octets=(22, 2), hmac=(32, 16, RAW))
START = Layout(32, command=(0, 1), hmac=(16, 16, RAW))
START_ACK = Layout(32, accept=(0, 1), hmac=(16, 16, RAW))
STOP = Layout(32, command=(0, 1), accept=(1, 1), sessions=(4, 4), hmac=(16, 16, RAW))
N_HEAD = Layout(16, command=(0, 1), accept=(1, 1), count=(12, 4))

# --- TWAMP-Test. SECURED is authenticated and encrypted mode, OPEN the other two.

SENDER_OPEN = Layout(14, sequence=(0, 4), timestamp=(4, 8), error=(12, 2))
SENDER_SECURED = Layout(48, sequence=(0, 4), timestamp=(16, 8), error=(24, 2), hmac=(32, 16, RAW))
REPLY_OPEN = Layout(
    41, sequence=(0, 4), timestamp=(4, 8), error=(12, 2), received=(16, 8),
    sender_sequence=(24, 4), sender_timestamp=(28, 8), sender_error=(36, 2), sender_ttl=(40, 1))
REPLY_OPEN_DSCP = Layout(
    44, sequence=(0, 4), timestamp=(4, 8), error=(12, 2), received=(16, 8),
    sender_sequence=(24, 4), sender_timestamp=(28, 8), sender_error=(36, 2), sender_ttl=(40, 1),
    sender_tos=(41, 1))
REPLY_SECURED = Layout(
    112, sequence=(0, 4), timestamp=(16, 8), error=(24, 2), received=(32, 8),
    sender_sequence=(48, 4), sender_timestamp=(64, 8), sender_error=(72, 2), sender_ttl=(80, 1),
    hmac=(96, 16, RAW))
REPLY_SECURED_DSCP = Layout(
    112, sequence=(0, 4), timestamp=(16, 8), error=(24, 2), received=(32, 8),
    sender_sequence=(48, 4), sender_timestamp=(64, 8), sender_error=(72, 2), sender_ttl=(80, 1),
    sender_tos=(81, 1), hmac=(96, 16, RAW))


def put_n(command, sids, accept=0, count=None, mbz=0):
    """Start-N-Sessions and its three relatives (RFC 5938), the HMAC still zero."""
    head = N_HEAD.put(mbz, command=command, accept=accept,
                      count=len(sids) if count is None else count)
    return head + b"".join(sids) + bytes(16)


def get_n(message):
    fields = N_HEAD.get(message[:16])
    if len(message) != 32 + 16 * fields.count:
        raise ValueError(f"{fields.count} SIDs do not make {len(message)} octets")
    fields.sids = [message[16 + 16 * i:32 + 16 * i] for i in range(fields.count)]
    fields.hmac = message[-16:]
    return fields


def command_size(head):
    """Octets of a command, from its first 16; None if that is not known."""
    known = {START_SESSIONS: 32, STOP_SESSIONS: 32, REQUEST_TW_SESSION: 112}
    if head[0] in (START_N_SESSIONS, STOP_N_SESSIONS):
        return 32 + 16 * N_HEAD.get(head).count
    return known.get(head[0])


def secured(mode):
    """Whether test packets are protected in this mode."""
    return bool(mode & (AUTHENTICATED | ENCRYPTED))


def control_secured(mode):
    return bool(mode & (AUTHENTICATED | ENCRYPTED | MIXED))


def sender_layout(mode):
    return SENDER_SECURED if secured(mode) else SENDER_OPEN


def reply_layout(mode):
    if secured(mode):
        return REPLY_SECURED_DSCP if mode & DSCP_ECN else REPLY_SECURED
    return REPLY_OPEN_DSCP if mode & DSCP_ECN else REPLY_OPEN


def sender_size(mode, padding_length):
    """UDP payload of a sender's packet."""
    if not mode & SYMMETRICAL:
        return sender_layout(mode).size + padding_length
    base = REPLY_SECURED.size if secured(mode) else REPLY_OPEN.size
    return base + padding_length + (1 if mode & DSCP_ECN and not secured(mode) else 0)


def reply_with_padding(mode, header, packet):
    """A reply that re-uses the padding of `packet` and is as long as that, where it can be."""
    base = REPLY_SECURED.size if secured(mode) else REPLY_OPEN.size
    size = len(packet)
    source = sender_layout(mode).size
    if mode & SYMMETRICAL:
        source = base
        if mode & DSCP_ECN and not secured(mode):
            source = base + 1
    if len(header) > size >= base:
        # Only with RFC 7750's longer header: 41 has no room for it, 42 and 43 stay as they are.
        return header[:size] if size > base else header
    return header + packet[source:source + max(size - len(header), 0)].ljust(
        max(size - len(header), 0), b"\0")


def ntp(seconds):
    """NTP timestamp of a Unix time."""
    return int((seconds + EPOCH) * 2**32) & (2**64 - 1)


def now(offset=0.0, at=None):
    """The present, or an instant in nanoseconds since 1970, as an NTP timestamp, to the
    nanosecond."""
    at = time.time_ns() if at is None else at
    seconds, rest = divmod(at + int(offset * 1e9), 10**9)
    return ((seconds + EPOCH) % 2**32 << 32) + (rest << 32) // 10**9


def ptp_now(offset=0.0, at=None, utc_offset=37):
    """The same as a truncated PTPv2 timestamp."""
    at = time.time_ns() if at is None else at
    seconds, rest = divmod(at + int(offset * 1e9), 10**9)
    return ((seconds + utc_offset) % 2**32 << 32) + rest


def interval(seconds):
    return int(seconds * 2**32)
