"""What a test of faults needs besides plugin_rig: daemons that can be killed and started again,
scripted servers that misbehave while they are told to, and judgement of what each target showed
before, during and after its fault.
"""

import math
import re
import signal
import socket
import time

import netlab
from plugin_rig import COUNT, INTERVAL, between
from twamp_peer import Server

OK, UNREACHABLE, REFUSED, SILENT, KEY, NAME = range(6)
NEAR = between(0, 20)  # ms, of a veth pair beside other work
FAR = between(0, 200)  # ms, of a reflector in Python


class Daemon:
    """A twamp-server with ports of its own."""

    def __init__(self, lab, namespace, name, port, config=""):
        self.lab, self.namespace, self.name, self.port = lab, namespace, name, port
        self.config = lab.write(f"{name}.conf", f"status_socket =\ncontrol_port = {port}\n"
                                                f"test_port = {port + 1}\n{config}")
        self.process = None
        self.start()

    def start(self):
        log = f"{self.name}.log"
        size = len(self.lab.read(log))
        self.process = self.lab.start(self.namespace, netlab.SERVER, "-c", self.config, log=log)
        netlab.wait_for(f"{self.name} to be ready",
                        lambda: "ready control=" in self.lab.read(log)[size:])

    def kill(self):
        self.lab.stop(self.process, signal.SIGKILL)

    def stop(self):
        return self.lab.stop(self.process)

    def reload(self):
        """SIGHUP to the daemon itself; nsenter has become it."""
        self.process.send_signal(signal.SIGHUP)


class Wicked(Server):
    """A scripted server that does as it should until .fault holds: then its attributes are as
    given (accept, start_accept, stall ...), and besides

    control_delay   seconds that each of its messages comes later
    hold_all        seconds that each reply comes later
    other_port      replies leave from a port that nobody was told
    hang_up         it closes the connection with the third packet of each session
    die             the reflector answers no packet after the third
    one_session     it refuses any request on a connection but the first
    step            seconds that the reflector's clock jumps with the third packet
    """

    control_delay = hold_all = step = 0.0
    hang_up = other_port = die = one_session = False
    sessions = 0  # asked for on this connection

    def __init__(self, host, fault, **options):
        super().__init__(host, modes=1, **options)
        self.fault, self.good = fault, {}
        self.strange = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.strange.bind((host, 0))

    def begin(self):
        """The fault begins, for the connection that is open too."""
        self.good = {name: getattr(self, name) for name in self.fault}
        self.become(self.fault)

    def end(self):
        self.become(self.good)

    def become(self, attributes):
        for name, value in attributes.items():
            setattr(self, name, value)
        if self.stall in ("greeting", "server-start"):
            self.close_connection()  # or that would not come to it

    def close_connection(self):
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def leave(self, stream, name, message, sealed=True):
        time.sleep(self.control_delay)
        super().leave(stream, name, message, sealed)

    def set_up(self, stream):
        self.sessions = 0
        return super().set_up(stream)

    def answer_request(self, stream, message):
        self.sessions += 1
        if self.one_session and self.sessions > 1:
            self.accept = 4
            Server.answer_request(self, stream, message)
            self.accept = 0
            return
        while len(self.reflectors) > 2:
            self.reflectors.pop(0).close()
        self.reflector_options["hold"] = dict.fromkeys(range(COUNT), self.hold_all) \
            if self.hold_all else None
        super().answer_request(stream, message)
        if self.accept == 0:
            reflector = self.reflectors[-1]
            reflector.alter = lambda fields: self.judge_packet(reflector, fields)
            if self.other_port:
                reflector.way_out = self.strange

    def judge_packet(self, reflector, fields):
        if fields["sender_sequence"] == 2:
            reflector.clock_offset = self.step
            if self.hang_up:
                self.close_connection()
            if self.die:
                reflector.drop_reply = range(3, COUNT)
        return fields

    def __exit__(self, *_):
        super().__exit__()
        self.strange.close()


class Judge:
    """Holds what each target showed against when its fault began and ended.

    A result is final within its interval, so that one of at least an interval after `began` is of an
    interval that began with the fault; and one of two intervals after `ended` is at the latest that
    of the second interval without."""

    def __init__(self, rig):
        self.rig, self.check = rig, rig.checks.ok
        self.begins = self.began = self.ends = self.ended = 0.0

    def change(self, what, actions):
        """Does all of it, the faults of all targets at once."""
        begins = time.time()
        for action in actions:
            action()
        if what == "begin":
            self.begins, self.began = begins, time.time()
        else:
            self.ends, self.ended = begins, time.time()

    def rows(self, name, series, since, until):
        return [value for at, value in self.rig.lab.csv(name, series) if since < at <= until]

    def wait(self, name, since, count):
        netlab.wait_for(f"{count} results of {name}",
                        lambda: len(self.rows(name, "gauge-state", since, math.inf)) >= count, 60)

    def all_are(self, name, series, wanted, since, until, when):
        values = self.rows(name, series, since, until)
        good = [math.isnan(value) if wanted is math.nan else
                wanted(value) if callable(wanted) else value == wanted for value in values]
        what = wanted.__doc__ if callable(wanted) else wanted
        self.check(values and all(good), f"{name}: {when}, {series} is {what}",
                   f"{values} of {self.rig.values(name, series)}")

    def right(self, name, rtt, since, until, when):
        self.all_are(name, "gauge-state", OK, since, until, when)
        self.all_are(name, "percent-loss", 0, since, until, when)
        self.all_are(name, "latency-rtt-average", rtt, since, until, when)

    def before(self, name, rtt):
        self.right(name, rtt, 0, self.begins, "before")

    def during(self, name, state, loss, rtt, interval=INTERVAL):
        """Where a connection that is cut has to be given up first, an interval may pass in which the
        server only seems silent."""
        since = self.began + interval
        sure = since + interval if state == UNREACHABLE else since
        self.all_are(name, "gauge-state", state, sure, self.ends, "meanwhile")
        self.all_are(name, "gauge-reachable", int(state == OK), since, self.ends, "meanwhile")
        self.all_are(name, "percent-loss", loss, since, self.ends, "meanwhile")
        self.all_are(name, "latency-rtt-average", math.nan if loss == 100 else rtt, since,
                     self.ends, "meanwhile")

    def moved(self, name, rtt):
        """A fault that is over when the target has found its server again: by when in its interval
        it comes, the dead address may use up the time that there was for the first one."""
        self.right(name, rtt, self.began + 2 * INTERVAL, self.ends, "two intervals later")

    def lost(self, name):
        """A session that is carried on without replies, until no other one can be had."""
        since = self.began + 2 * INTERVAL
        self.all_are(name, "gauge-reachable", 0, since, self.ends, "meanwhile")
        self.all_are(name, "percent-loss", 100, since, self.ends, "meanwhile")
        self.all_are(name, "latency-rtt-average", math.nan, since, self.ends, "meanwhile")

    def after(self, name, rtt, interval=INTERVAL):
        self.right(name, rtt, self.ended + 2 * interval, math.inf, "two intervals later")
        sent = self.rig.values(name, "packets-sent")
        self.check(sent == sorted(sent), f"{name}: counters never fall", str(sent))

    def never_hurt(self, name, rtt=NEAR):
        """A bystander: every single interval is right and complete."""
        self.right(name, rtt, 0, math.inf, "always")
        sent = self.rig.values(name, "packets-sent")
        self.check(sent == [COUNT * (i + 1) for i in range(len(sent))],
                   f"{name}: {COUNT} packets are sent in each interval", str(sent))
        lines = self.rig.log(rf'twamp plugin: target "{re.escape(name)}"')
        self.check(len(lines) == 1, f"{name}: the log tells of no change", "\n".join(lines))
