"""A scripted Control-Client and a scripted Server for tests, in all four security modes, from the
RFCs alone. They keep to the protocol unless told otherwise, and every message can be told otherwise
at three points: `alter` changes what it says (its HMAC stays right), `tamper` changes it after its
HMAC was made, `spoil` changes what goes on the wire.

The ends of TWAMP-Test are in twamp_test_peer, octets in twamp_wire, keys in twamp_crypto.
"""

import os
import socket
import threading
from types import SimpleNamespace

import server_rig
import twamp_wire as wire
from twamp_crypto import (BadHmac, Incoming, Outgoing, SessionKeys, flip, passphrase_key,
                          unchanged)
from twamp_test_peer import Reflector, Sender

KEY_ID, PASSPHRASE = b"alice", b"alice"
__all__ = ["BadHmac", "Client", "Server", "flip", "unchanged"]


def key_id_field(key_id):
    return key_id.ljust(80, b"\0")


class Ports(SimpleNamespace):
    """What server_rig.Control wants to know of a server that is not its own."""

    def __init__(self, control=862, test=0):
        super().__init__(control=control, test=test)


class Stream:
    """Messages of one end of a control connection, whatever the segments."""

    def __init__(self, connection):
        self.connection = connection
        self.split = False
        self.outgoing = Outgoing()
        self.incoming = Incoming()

    def write(self, octets):
        if not self.split:
            self.connection.sendall(octets)
            return
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(octets)):
            self.connection.sendall(octets[i:i + 1])

    def read(self, size):
        """Exactly so many octets as they are on the wire; EOFError at the end."""
        octets = b""
        while len(octets) < size:
            part = self.connection.recv(size - len(octets))
            if not part:
                raise EOFError(f"the end after {len(octets)} of {size} octets: {octets.hex()}")
            octets += part
        return octets

    def head(self):
        """The first 16 octets of the next message, decrypted."""
        return self.incoming.plain(self.read(16))

    def rest(self, head, size):
        """The whole message of that many octets, its HMAC verified."""
        message = head + self.incoming.plain(self.read(size - len(head)))
        self.incoming.verify()
        return message


class Client(server_rig.Control):
    """A scripted Control-Client. `server` has .control and .test, as server_rig.Server or Ports."""

    def __init__(self, server, host="127.0.0.1", mode=wire.ENCRYPTED, key_id=KEY_ID,
                 passphrase=PASSPHRASE, keys=None, mbz=0, split=False, **connection):
        super().__init__(server, host, **connection)
        self.stream = Stream(self.socket)
        self.stream.split = split
        self.mode = mode
        self.mbz = mbz
        self.key_id, self.passphrase = key_id, passphrase
        self.keys = keys or SessionKeys()
        self.client_iv = os.urandom(16)
        self.accepts = []

    def send(self, octets):
        self.stream.write(octets)

    # --- set-up

    def greet(self):
        self.greeting = wire.GREETING.get(self.stream.read(64))
        return self.greeting

    def response(self, alter=unchanged, **fields):
        """Set-Up-Response for the greeting; `challenge`, `token` and every field may be given."""
        values = {"mode": self.mode}
        if wire.control_secured(self.mode):
            key = passphrase_key(self.passphrase, self.greeting.salt, self.greeting.count)
            challenge = fields.pop("challenge", self.greeting.challenge)
            values.update(key_id=key_id_field(self.key_id), client_iv=self.client_iv,
                          token=self.keys.token(key, challenge))
        return alter(wire.SET_UP_RESPONSE.put(**{**values, **fields}))

    def set_up(self, mode=None, replay=None, **fields):
        """Greeting, Set-Up-Response, Server-Start. `replay` is a Set-Up-Response of an earlier
        connection, to be sent as it was. Returns itself; the outcome is in .server_start."""
        self.mode = self.mode if mode is None else mode
        self.greet()
        self.sent_response = replay or self.response(**fields)
        self.send(self.sent_response)
        self.read_server_start()
        return self

    def read_server_start(self):
        clear = self.stream.read(wire.SERVER_START_CLEAR)
        last = self.stream.read(16)
        start = wire.SERVER_START.get(clear + last)
        if start.accept == 0 and wire.control_secured(self.mode):
            self.stream.outgoing = Outgoing(self.keys, self.client_iv)
            self.stream.incoming = Incoming(self.keys, start.server_iv)
            start = wire.SERVER_START.get(clear + self.stream.incoming.plain(last))
        self.server_start = start
        return start

    # --- commands

    def put(self, message, alter=unchanged, tamper=unchanged, spoil=unchanged):
        """Seals a command without sending it: several can leave in one segment."""
        return self.stream.outgoing.message(alter(message), tamper, spoil)

    def command(self, message, **hooks):
        self.send(self.put(message, **hooks))

    def put_request(self, sender_port, receiver_port=0, sender=None, receiver=None, timeout=2.0,
                    hooks=None, **fields):
        """A sealed Request-TW-Session; IPVN is that of the control connection."""
        values = {
            "command": wire.REQUEST_TW_SESSION, "ipvn": 6 if ":" in self.host else 4,
            "sender_port": sender_port, "receiver_port": receiver_port,
            "sender_address": server_rig.address(sender),
            "receiver_address": server_rig.address(receiver),
            "timeout": wire.interval(timeout), "mbz": self.mbz,
            "padding_length": 64 if wire.secured(self.mode) else 27}
        return self.put(wire.REQUEST.put(**{**values, **fields}), **(hooks or {}))

    def request(self, sender_port, **fields):
        self.send(self.put_request(sender_port, **fields))
        return self.accepted()

    def start(self, **hooks):
        self.command(wire.START.put(self.mbz, command=wire.START_SESSIONS), **hooks)
        return self.started()

    def stop(self, count, accept=0, **hooks):
        self.command(wire.STOP.put(self.mbz, command=wire.STOP_SESSIONS, accept=accept,
                                   sessions=count), **hooks)

    def start_n(self, sids, count=None, **hooks):
        """Start-N-Sessions; {SID: Accept} of as many acks as it takes."""
        self.command(wire.put_n(wire.START_N_SESSIONS, sids, count=count, mbz=self.mbz), **hooks)
        return self.n_acks(wire.START_N_ACK, len(sids))

    def stop_n(self, sids, count=None, **hooks):
        self.command(wire.put_n(wire.STOP_N_SESSIONS, sids, count=count, mbz=self.mbz), **hooks)
        return self.n_acks(wire.STOP_N_ACK, len(sids))

    def works(self, sender_port=40001):
        """Whether a request is still answered, whatever the answer."""
        try:
            return self.request(sender_port) is not None
        except (EOFError, ConnectionError, TimeoutError):
            return False

    # --- answers: all raise EOFError at the end and BadHmac

    def accepted(self):
        answer = wire.ACCEPT.get(self.stream.rest(self.stream.head(), 48))
        self.accepts.append(answer)
        return answer

    def started(self):
        return wire.START_ACK.get(self.stream.rest(self.stream.head(), 32))

    def n_ack(self):
        head = self.stream.head()
        return wire.get_n(self.stream.rest(head, 32 + 16 * wire.N_HEAD.get(head).count))

    def n_acks(self, command, count):
        answers = {}
        while len(answers) < count:
            ack = self.n_ack()
            if ack.command != command or not ack.sids:
                raise ValueError(f"{command} wanted, {ack} came")
            for sid in ack.sids:
                if sid in answers:
                    raise ValueError(f"{sid.hex()} is acknowledged twice")
                answers[sid] = ack.accept
        return answers

    def session(self, socket_options=None, **fields):
        """Requests a session; its sender, ready but not started, and its Accept-Session."""
        sender = Sender(self.socket.getsockname()[0], self.mode, **(socket_options or {}))
        sender.reflector_host = self.host
        answer = self.request(sender.port, **fields)
        if answer.accept == 0:
            sender.keys = self.keys.test_keys(answer.sid)
            sender.reflector_port = answer.port
        return sender, answer


class Server:
    """A scripted Server with its Session-Reflectors; used as a context. It serves one connection
    after the other in a thread, and keeps what came in .responses, .requests, .commands (numbers
    alone), .reflectors and .problems.

    alter, tamper, spoil  hooks by message name: "greeting", "server-start" (both have no HMAC, so
                          that alter and spoil serve them), "accept-session", "start-ack",
                          "start-n-ack", "stop-n-ack"
    stall                 the message that never leaves, with all after it
    split                 every octet in a segment of its own
    setup_accept          Accept of Server-Start; None: what Mode and token deserve
    accept, start_accept  those of Accept-Session and Start-Ack
    announce_port         told instead of the reflector's port
    forget_start          leaves Server-Start's block out of the first HMAC
    secrets               {KeyID: passphrase}
    reflector             options of every Reflector
    """

    def __init__(self, host="127.0.0.1", port=0, modes=wire.SECURITY, secrets=None, count=2048,
                 accept=0, setup_accept=None, start_accept=0, server_octets=0, mbz=0, split=False,
                 alter=None, tamper=None, spoil=None, stall=None, forget_start=False,
                 reflector=None, challenge=None, salt=None, announce_port=None):
        self.host, self.modes, self.count = host, modes, count
        self.secrets = {KEY_ID: PASSPHRASE} if secrets is None else secrets
        self.accept, self.setup_accept, self.start_accept = accept, setup_accept, start_accept
        self.server_octets, self.mbz, self.split = server_octets, mbz, split
        self.alter, self.tamper, self.spoil = alter or {}, tamper or {}, spoil or {}
        self.stall, self.forget_start = stall, forget_start
        self.reflector_options = reflector or {}
        self.challenge, self.salt, self.announce_port = challenge, salt, announce_port
        self.start_time = wire.now()
        self.responses, self.requests, self.commands, self.problems = [], [], [], []
        self.reflectors = []
        self.listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.control, self.test = self.listener.getsockname()[1], 0
        self.connection = None
        self.closing = False
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing = True
        for endpoint in (self.listener, self.connection):
            if endpoint is not None:
                try:
                    endpoint.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                endpoint.close()
        self.thread.join(server_rig.PATIENCE)
        for reflector in self.reflectors:
            reflector.close()

    def serve(self):
        while not self.closing:
            try:
                self.connection, self.peer = self.listener.accept()
            except OSError:
                return
            try:
                self.talk(Stream(self.connection))
            except EOFError as end:
                if " 0 of " not in str(end):
                    self.problems.append(repr(end))
            except (BadHmac, ValueError, OSError) as problem:
                if not self.closing:
                    self.problems.append(repr(problem))
            self.connection.close()
            for reflector in self.reflectors:
                reflector.stop()

    # --- what leaves

    def leave(self, stream, name, message, sealed=True):
        """Sends one message through its hooks; waits for the end instead, if it is to stall."""
        if self.stall == name:
            while self.connection.recv(4096):
                pass
            raise EOFError("stalled: 0 of 0")
        message = self.alter.get(name, unchanged)(message)
        tamper = self.tamper.get(name, unchanged)
        spoil = self.spoil.get(name, unchanged)
        stream.write(stream.outgoing.message(message, tamper, spoil) if sealed
                     else spoil(tamper(message)))

    # --- the conversation

    def talk(self, stream):
        stream.split = self.split
        self.accepted = {}
        if not self.set_up(stream):
            return
        handlers = {
            wire.REQUEST_TW_SESSION: self.answer_request, wire.START_SESSIONS: self.answer_start,
            wire.STOP_SESSIONS: self.stop, wire.START_N_SESSIONS: self.answer_start_n,
            wire.STOP_N_SESSIONS: self.answer_stop_n}
        while True:
            head = stream.head()
            size = wire.command_size(head)
            self.commands.append(head[0])
            if size is None or head[0] not in handlers:
                raise ValueError(f"command {head[0]}")
            handlers[head[0]](stream, stream.rest(head, size))

    def set_up(self, stream):
        challenge = self.challenge or os.urandom(16)
        salt = self.salt or os.urandom(16)
        self.leave(stream, "greeting", wire.GREETING.put(
            self.mbz, modes=self.modes, challenge=challenge, salt=salt, count=self.count), False)
        response = wire.SET_UP_RESPONSE.get(stream.read(164))
        self.responses.append(response)
        self.mode = response.mode
        security = response.mode & wire.SECURITY
        accept = 0
        if security not in (1, 2, 4, 8) or not security & self.modes:
            accept = 3
            self.problems.append(f"Mode {response.mode:#x} was not offered")
        elif wire.control_secured(security):
            accept = self.take_keys(response, challenge, salt)
        accept = accept if self.setup_accept is None else self.setup_accept
        iv = os.urandom(16) if wire.control_secured(security) and not accept else bytes(16)
        message = self.alter.get("server-start", unchanged)(wire.SERVER_START.put(
            self.mbz, accept=accept, server_iv=iv, start_time=0 if accept else self.start_time))
        clear, last = message[:wire.SERVER_START_CLEAR], message[wire.SERVER_START_CLEAR:]
        if not accept and wire.control_secured(security):
            stream.outgoing = Outgoing(self.keys, iv)
            stream.incoming = Incoming(self.keys, response.client_iv)
            last = stream.outgoing.block(last)
            if self.forget_start:
                stream.outgoing.pending = b""
        if self.stall == "server-start":
            self.leave(stream, "server-start", b"")
        stream.write(self.spoil.get("server-start", unchanged)(clear + last))
        return accept == 0

    def take_keys(self, response, challenge, salt):
        """The Accept value that token and KeyID deserve."""
        passphrase = self.secrets.get(response.key_id.rstrip(b"\0"))
        if passphrase is None:
            return 1
        key = passphrase_key(passphrase, salt, self.count)
        seen, self.keys = SessionKeys.from_token(key, response.token)
        return 0 if seen == challenge else 1

    def answer_request(self, stream, message):
        request = wire.REQUEST.get(message)
        self.requests.append(request)
        reflects = self.mode & wire.REFLECT_OCTETS
        answer = {"accept": self.accept,
                  "reflected_octets": request.octets_to_reflect if reflects else 0}
        if self.accept == 0:
            sid = (socket.inet_aton("127.0.0.1") + wire.now().to_bytes(8, "big") + os.urandom(4))
            reflector = Reflector(
                self.host, self.mode, self.keys.test_keys(sid) if wire.secured(self.mode) else None,
                request, **self.reflector_options)
            self.reflectors.append(reflector)
            self.accepted[sid] = reflector
            port = reflector.port if self.announce_port is None else self.announce_port
            answer.update(port=port, sid=sid, server_octets=self.server_octets if reflects else 0)
        self.leave(stream, "accept-session", wire.ACCEPT.put(self.mbz, **answer))

    def answer_start(self, stream, _):
        if self.start_accept == 0:
            for reflector in self.accepted.values():
                reflector.start()
        self.leave(stream, "start-ack", wire.START_ACK.put(self.mbz, accept=self.start_accept))

    def stop(self, _, message):
        command = wire.STOP.get(message)
        if command.sessions != len(self.accepted):
            self.problems.append(f"Stop-Sessions of {command.sessions}, {len(self.accepted)} run")
        for reflector in self.accepted.values():
            reflector.stop()
        self.accepted = {}

    def answer_n(self, stream, message, name, command, act):
        """One ack for all SIDs that are known, another for those that are not."""
        sids = wire.get_n(message).sids
        known = [sid for sid in sids if sid in self.accepted]
        for sid in known:
            act(self.accepted[sid])
        for accept, group in ((self.start_accept, known),
                              (3, [sid for sid in sids if sid not in known])):
            if group:
                self.leave(stream, name, wire.put_n(command, group, accept, mbz=self.mbz))
        return known

    def answer_start_n(self, stream, message):
        self.answer_n(stream, message, "start-n-ack", wire.START_N_ACK, Reflector.start)

    def answer_stop_n(self, stream, message):
        for sid in self.answer_n(stream, message, "stop-n-ack", wire.STOP_N_ACK, Reflector.stop):
            self.accepted.pop(sid)
