"""twamp-server with secrets, for tests that go through all security modes and both families: the
daemon of server_rig with `modes` and a secrets file of its own, and the matrix to go through.
"""

import ctypes
import os
import struct
import tempfile

import server_rig
import twamp_wire as wire

SECRETS = "alice alice\nbob a-longer-passphrase-of-bob\n"
ALL_MODES = ", ".join(wire.MODES)
FEATURES = {"session-control": wire.SESSION_CONTROL, "reflect-octets": wire.REFLECT_OCTETS,
            "symmetrical": wire.SYMMETRICAL, "dscp": wire.DSCP_ECN, "ptp": wire.PTP}
ALL_FEATURES = sum(FEATURES.values())
BOTH = ("-b", "127.0.0.1", "-b", "::1")
COUNT = 1024  # of PBKDF2: the least that is allowed, the tests are long enough
KEYED = {name: mode for name, mode in wire.MODES.items() if wire.control_secured(mode)}


def clock_is_synchronised():
    """What the kernel says of the clock (adjtimex): not STA_UNSYNC, and an error below 16 s."""
    state = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None).adjtimex(state) < 0:
        return False
    error_us, status = struct.unpack_from("l", state, 24)[0], struct.unpack_from("i", state, 40)[0]
    return not status & 0x40 and error_us < 16000000


def hosts():
    """Loopback addresses of the families that the host has."""
    return ("127.0.0.1", "::1") if os.path.exists("/proc/net/if_inet6") else ("127.0.0.1",)


def matrix():
    return [(name, mode, host) for name, mode in wire.MODES.items() for host in hosts()]


class SecuredServer(server_rig.Server):
    """All modes and all features unless told otherwise. Limits that a test does not set are off, so
    that one daemon can serve many parts."""

    def __init__(self, lines="", *options, modes=ALL_MODES, features="all", limits=False,
                 count=COUNT, **more):
        self.secrets = tempfile.NamedTemporaryFile("w", suffix=".secrets")  # 0600
        self.secrets.write(SECRETS)
        self.secrets.flush()
        self.lines = f"modes = {modes}\nfeatures = {features}\nkdf_iterations = {count}\n"
        self.lines += f"secrets_file = {self.secrets.name}\n"
        if not limits:
            self.lines += ("max_connections = 0\nmax_connections_per_client = 0\n"
                           "max_sessions_per_client = 0\n")
        more.setdefault("listen", BOTH[:2 * len(hosts())])
        super().__init__(lines, *options, **more)

    def write(self, lines):
        super().write(self.lines + lines)

    def stop(self, *arguments):
        outcome = super().stop(*arguments)
        self.secrets.close()
        return outcome
