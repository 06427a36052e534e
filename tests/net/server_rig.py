"""What tests of twamp-server from outside need: the daemon with a configuration of its own, a
scripted Control-Client and a scripted Session-Sender that know octets only and share no code with
it, and checks that print TAP.

TWAMP_BUILD is the directory with ./twamp-server.
"""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

import tap

BUILD = os.environ.get("TWAMP_BUILD", ".")
DAEMON = os.path.join(BUILD, "twamp-server")
PATIENCE = 10.0  # seconds until an answer that must come is given up
IP_RECVTTL, IP_RECVTOS = 12, 13  # Linux; not in every version of the module
SILENCE = 0.25  # seconds in which an answer that must not come would have come

PATTERN = bytes(i & 0xff for i in range(65536))

checks = tap.Checks()


def check(name, good, detail=""):
    return checks.ok(good, name, detail)


def same(name, got, wanted):
    return check(name, got == wanted, "got %r, wanted %r" % (got, wanted))


class Server:
    """The daemon with a configuration of its own; used as a context."""

    def __init__(self, lines="", *options, listen=("-b", "127.0.0.1"), env=None,
                 prepare=None):
        self.directory = tempfile.TemporaryDirectory()
        self.file = os.path.join(self.directory.name, "twamp-server.conf")
        self.socket = os.path.join(self.directory.name, "status")
        self.write(lines)
        self.log = open(os.path.join(self.directory.name, "log"), "w+")
        command = [DAEMON, "-c", self.file, "-p", "0", "--test-port", "0", "-l", "debug"]
        self.process = subprocess.Popen(
            command + list(listen) + list(options),
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=env,
            preexec_fn=prepare,
        )
        self.ready = self.process.stdout.readline().decode()
        fields = dict(word.split("=", 1) for word in self.ready.split()[1:])
        self.control = int(fields["control"].rsplit(":", 1)[1]) if "control" in fields else 0
        self.test = int(fields["test"].rsplit(":", 1)[1]) if "test" in fields else 0

    def write(self, lines):
        with open(self.file, "w") as file:
            file.write("status_socket = %s\nworkers = 2\n%s\n" % (self.socket, lines))

    def __enter__(self):
        if not self.ready.startswith("ready "):
            raise RuntimeError("the daemon did not start: " + self.read_log())
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, number=signal.SIGTERM):
        """Exit status, and seconds it took."""
        begin = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        took = time.monotonic() - begin
        if self.process.returncode != 0:
            check("the daemon exits with 0", False, self.read_log())
        return self.process.returncode, took

    def read_log(self):
        self.log.flush()
        with open(self.log.name) as file:
            return file.read()

    def wait_log(self, text):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if text in self.read_log():
                return True
            time.sleep(0.02)
        return False

    def status(self):
        out = subprocess.run(
            [DAEMON, "--status=" + self.socket], stdout=subprocess.PIPE, check=False
        )
        return json.loads(out.stdout)

    def wait_status(self, fits):
        """The status once `fits` is true of it, or the last one seen."""
        end = time.monotonic() + PATIENCE
        while True:
            status = self.status()
            if fits(status) or time.monotonic() > end:
                return status
            time.sleep(0.02)


class Control:
    """A scripted Control-Client."""

    def __init__(self, server, host="127.0.0.1", source=None, syn_tos=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        if syn_tos is not None:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, syn_tos)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect((host, server.control))
        self.host = host
        self.test_port = server.test

    def send(self, octets):
        self.socket.sendall(octets)

    def read(self, n):
        """Exactly n octets, or what came before the end."""
        octets = b""
        while len(octets) < n:
            try:
                part = self.socket.recv(n - len(octets))
            except (ConnectionResetError, socket.timeout):
                break
            if not part:
                break
            octets += part
        return octets

    def silent(self, seconds=SILENCE):
        return not select.select([self.socket], [], [], seconds)[0]

    def ended(self, seconds=PATIENCE):
        """Whether the other end closes in that time, and sends nothing before."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def set_up(self, mode=1):
        self.greeting = self.read(64)
        self.send(struct.pack("!I160x", mode))
        self.server_start = self.read(48)
        return self

    def request(self, sender_port, **fields):
        self.send(request(sender_port, **fields))
        return Accepted(self.read(48))

    def start(self):
        self.send(b"\2" + bytes(31))
        return self.read(32)

    def stop(self, count, accept=0):
        self.send(struct.pack("!BBHI24x", 3, accept, 0, count))

    def close(self):
        self.socket.close()

    def works(self, sender_port=40001):
        """Whether a request is still answered, whatever the answer."""
        self.send(request(sender_port))
        return len(self.read(48)) == 48


def address(text):
    if text is None:
        return bytes(16)
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return socket.inet_aton(text) + bytes(12)


def request(sender_port, receiver_port=0, ipvn=4, conf=(0, 0), slots=0, packets=0, sender=None,
            receiver=None, sid=bytes(16), padding=27, timeout=2.0, type_p=0, raw_timeout=None,
            tail=bytes(24)):
    interval = int(timeout * 2**32) if raw_timeout is None else raw_timeout
    return struct.pack(
        "!BBBBIIHH16s16s16sIQQI24s", 5, ipvn, conf[0], conf[1], slots, packets, sender_port,
        receiver_port, address(sender), address(receiver), sid, padding, 0, interval, type_p, tail)


class Accepted:
    """Accept-Session."""

    def __init__(self, octets):
        self.octets = octets
        self.accept = octets[0] if octets else None
        self.port, self.sid = struct.unpack("!H16s", octets[2:20]) if len(octets) == 48 else (0, b"")


class Sender:
    """A scripted Session-Sender."""

    def __init__(self, host="127.0.0.1", ttl=None, tos=None):
        self.ip6 = ":" in host
        self.socket = socket.socket(socket.AF_INET6 if self.ip6 else socket.AF_INET,
                                    socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.host = host
        self.port = self.socket.getsockname()[1]
        if self.ip6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            self.socket.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        if ttl is not None:
            level = socket.IPPROTO_IPV6 if self.ip6 else socket.IPPROTO_IP
            option = socket.IPV6_UNICAST_HOPS if self.ip6 else socket.IP_TTL
            self.socket.setsockopt(level, option, ttl)
        if tos is not None:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)

    def send(self, port, sequence=0, length=41, stamp=0x1122334455667788, error=0x8f84,
             padding=None, to=None):
        octets = struct.pack("!IQH", sequence, stamp, error)
        octets += padding if padding is not None else PATTERN
        self.socket.sendto(octets[:length], (to or self.host, port))

    def receive(self, seconds=PATIENCE):
        if not select.select([self.socket], [], [], seconds)[0]:
            return None
        octets, control, _, origin = self.socket.recvmsg(65536, 1024)
        return Reply(octets, control, origin)

    def exchange(self, port, seconds=PATIENCE, **fields):
        self.send(port, **fields)
        return self.receive(seconds)

    def silent(self, port, **fields):
        return self.exchange(port, SILENCE, **fields) is None

    def close(self):
        self.socket.close()


class Reply:
    def __init__(self, octets, control, origin):
        self.octets = octets
        self.length = len(octets)
        self.origin = origin
        self.ttl = self.tos = None
        for level, kind, value in control:
            number = int.from_bytes(value[:4], sys.byteorder) if len(value) >= 4 else value[0]
            if kind in (socket.IP_TTL, socket.IPV6_HOPLIMIT) and len(value) >= 4:
                self.ttl = number
            if level == socket.IPPROTO_IP and kind == socket.IP_TOS:
                self.tos = value[0]
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_TCLASS:
                self.tos = number
        (self.sequence, self.t3, self.error, self.mbz1, self.t2, self.sender_sequence, self.t1,
         self.sender_error, self.mbz2, self.sender_ttl) = struct.unpack("!IQHHQIQHHB", octets[:41])


def ntp_now():
    return int((time.time() + 2208988800) * 2**32)


def session(server, host="127.0.0.1", **fields):
    """A started session: its control connection, its sender, its port."""
    control = Control(server, host, source=host).set_up()
    sender = Sender(host)
    accepted = control.request(sender.port, ipvn=6 if ":" in host else 4, **fields)
    control.start()
    return control, sender, accepted.port


def guard(part, *arguments):
    """An answer that does not come breaks off one part, not the run."""
    try:
        part(*arguments)
    except Exception:  # pylint: disable=broad-except
        check(part.__name__ + " ran to its end", False, traceback.format_exc())


def summary():
    """The plan and the last line; the exit status."""
    return checks.close()
