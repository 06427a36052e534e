"""TWAMP's cryptography for tests, from RFC 4656, 5357 and 5618 alone: the key of a passphrase, the
token, both control streams, the keys of a session and what they do to its packets; and STAMP's
HMACs (RFC 8762, 8972). A second opinion: it uses OpenSSL through python3-cryptography, and shares
no code with the programs under test.
"""

import hashlib
import hmac as hmac_module
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import twamp_wire as wire

BLOCK = 16
ZERO_IV = bytes(BLOCK)


class BadHmac(Exception):
    """The other end's HMAC is not that of its message."""


def passphrase_key(passphrase, salt, count):
    return hashlib.pbkdf2_hmac("sha1", passphrase, salt, count, BLOCK)


def ecb_encrypt(key, octets):
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(octets)


def cbc_encrypt(key, octets, iv=ZERO_IV):
    return Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor().update(octets)


def cbc_decrypt(key, octets, iv=ZERO_IV):
    return Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor().update(octets)


def hmac128(key, octets):
    return hmac_module.new(key, octets, hashlib.sha1).digest()[:16]


def flip(position, mask=1):
    """A hook that flips bits of one octet, counted from the end if negative."""
    def flipped(octets):
        changed = bytearray(octets)
        changed[position] ^= mask
        return bytes(changed)
    return flipped


def unchanged(octets):
    return octets


class SessionKeys:
    """The AES and HMAC session keys that a Control-Client chooses."""

    def __init__(self, aes=None, hmac=None):
        self.aes = os.urandom(16) if aes is None else aes
        self.hmac = os.urandom(32) if hmac is None else hmac

    def token(self, key, challenge):
        return cbc_encrypt(key, challenge + self.aes + self.hmac)

    @classmethod
    def from_token(cls, key, token):
        """The challenge in it, and the keys."""
        plain = cbc_decrypt(key, token)
        return plain[:16], cls(plain[16:32], plain[32:])

    def test_keys(self, sid):
        return TestKeys(ecb_encrypt(sid, self.aes), cbc_encrypt(sid, self.hmac))


class Outgoing:
    """One direction of a control connection, at the end that sends: one CBC chain and one running
    HMAC from the first octet to the last. Without keys it leaves everything as it is."""

    def __init__(self, keys=None, iv=ZERO_IV):
        self.keys = keys
        self.pending = b""
        if keys is not None:
            self.chain = Cipher(algorithms.AES(keys.aes), modes.CBC(iv)).encryptor()

    def block(self, octets):
        """What has no HMAC of its own (Server-Start's last block): covered by the next one."""
        self.pending += octets
        return self.chain.update(octets) if self.keys else octets

    def message(self, octets, tamper=unchanged, spoil=unchanged):
        """A message that ends with its HMAC field. The hook `tamper` changes it between HMAC and
        encryption, `spoil` changes what goes on the wire."""
        if self.keys:
            covered = self.pending + octets[:-16]
            self.pending = b""
            octets = octets[:-16] + hmac128(self.keys.hmac, covered)
        octets = tamper(octets)
        return spoil(self.chain.update(octets) if self.keys else octets)


class Incoming:
    """The same at the end that receives."""

    def __init__(self, keys=None, iv=ZERO_IV):
        self.keys = keys
        self.pending = b""
        if keys is not None:
            self.chain = Cipher(algorithms.AES(keys.aes), modes.CBC(iv)).decryptor()

    def plain(self, octets):
        """Decrypts the next octets of the stream, whole blocks."""
        if len(octets) % BLOCK:
            raise ValueError(f"{len(octets)} octets are no whole blocks")
        octets = self.chain.update(octets) if self.keys else octets
        self.pending += octets
        return octets

    def verify(self):
        """Raises BadHmac unless the last 16 octets are the HMAC of all since the one before."""
        covered, found = self.pending[:-16], self.pending[-16:]
        self.pending = b""
        if self.keys and hmac128(self.keys.hmac, covered) != found:
            raise BadHmac(f"{found.hex()} over {covered.hex()}")


class TestKeys:
    """The keys of one session. Sender's packets are protected up to the HMAC's own end at 48,
    reflector's up to 112; the mode says how much of that is encrypted."""

    __test__ = False  # not a test, whatever a collector thinks of the name

    def __init__(self, aes, hmac):
        self.aes = aes
        self.hmac = hmac

    @staticmethod
    def covered(mode, hmac_offset):
        """Octets under HMAC and encryption, from the beginning of the packet."""
        if not wire.secured(mode):
            return 0
        if mode & wire.AUTHENTICATED:
            return BLOCK
        return 32 if hmac_offset == 32 else 96

    def protect(self, mode, hmac_offset, packet, tamper=unchanged, spoil=unchanged):
        """The packet on the wire; `hmac_offset` is 32 from a sender and 96 from a reflector."""
        size = self.covered(mode, hmac_offset)
        if size:
            packet = (packet[:hmac_offset] + hmac128(self.hmac, packet[:size]) +
                      packet[hmac_offset + 16:])
            packet = tamper(packet)
            packet = cbc_encrypt(self.aes, packet[:size]) + packet[size:]
        else:
            packet = tamper(packet)
        return spoil(packet)

    def open(self, mode, hmac_offset, packet):
        """The plain packet; raises BadHmac."""
        size = self.covered(mode, hmac_offset)
        if not size:
            return packet
        if len(packet) < hmac_offset + 16:
            raise BadHmac(f"a packet of {len(packet)} octets has none")
        plain = cbc_decrypt(self.aes, packet[:size]) + packet[size:]
        if hmac128(self.hmac, plain[:size]) != plain[hmac_offset:hmac_offset + 16]:
            raise BadHmac(f"test packet {packet.hex()}")
        return plain


NO_KEYS = TestKeys(b"", b"")


def stamp_hmac(key, octets):
    """RFC 8762, 4.4: over [0:96) of the base packet."""
    return hmac_module.new(key, octets, hashlib.sha256).digest()[:16]


def stamp_hmac_tlv(key, sequence, preceding, flags):
    """RFC 8972, 4.8: the whole TLV behind those that precede it."""
    return (bytes((flags, 8)) + b"\0\x10" +
            stamp_hmac(key, sequence.to_bytes(4, "big") + preceding))
