"""What thousands of targets cost: the engine by itself (`measure`), and twamp.so in a stock
collectd.

All targets are one server at the far end of the wire, to which a whole network is routed: whatever
address is asked, it answers.
"""

import contextlib
import os
import re
import resource
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "net"))
import accuracy  # noqa: E402 pylint: disable=wrong-import-position
import netlab  # noqa: E402 pylint: disable=wrong-import-position

TARGETS = "10.65.0.0/16"
COUNT, SPACING = 10, 0.1  # packets of a session: what is the default
DUPLICATE, KERNEL = 1, accuracy.SOURCES.index("kernel")  # in a sample: a flag, and a source
SHARE_MS = 24  # a round that took longer was cut, at 25 ms, and the next one goes on from there
TIMES, QUICK_TIMES = (10, 2), (3, 1)  # seconds: an interval, and until a packet is lost
TRACING = "/sys/kernel/tracing"
WRITER_PORT = 25826


def address(number):
    return f"10.65.{number // 250}.{number % 250 + 1}"


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def route_targets(rig):
    """The far end's part of each packet's way is worked off by its own core, as behind a wire: in a
    veth pair it would be a part of the send call."""
    netlab.run(*netlab.inside(rig.reflector), "ip", "route", "replace", "local", TARGETS, "dev",
               "lo")
    netlab.run(*netlab.inside(rig.generator), "ip", "route", "replace", TARGETS, "via",
               "192.0.2.2")
    if rig.reflector_core is not None:
        mask = f"{1 << rig.reflector_core:x}"
        netlab.run(*netlab.inside(rig.reflector), "unshare", "--mount", "sh", "-c",
                   "mount -t sysfs none /sys && "
                   f"echo {mask} >/sys/class/net/eth0/queues/rx-0/rps_cpus", check=False)


def descriptors(pid):
    """How many there are, and how many of them are sockets for test packets."""
    udp = set()
    for table in ("udp", "udp6"):
        udp |= {line.split()[9] for line in read(f"/proc/{pid}/net/{table}").splitlines()[1:]}
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return len(links), sum(link.removeprefix("socket:[").rstrip("]") in udp for link in links)


class Departures:
    """When packets left, as the samples of a file say. Packets of a session are due at a fixed
    distance from each other, and sessions of a target one interval apart; so in whatever order
    replies came, it is T1 and the number which tell to what session a packet belongs."""

    def __init__(self, path, spacing_ns, interval_ns):
        self.spacing_ns, self.interval_ns = spacing_ns, interval_ns
        self.count = self.by_kernel = 0  # packets, copies of replies left out
        self.begins = {}  # of each target: when its packets would have left as number 0
        with open(path, encoding="ascii") as file:
            names = file.readline().split()
            places = [names.index(name) for name in ("target", "sequence", "t1",
                                                     "transmit_source", "flags")]
            for line in file:
                fields = line.split()
                self.add(*(int(fields[place]) for place in places))

    def add(self, target, sequence, t1, source, flags):
        if flags & DUPLICATE:
            return
        self.count += 1
        self.by_kernel += source == KERNEL
        self.begins.setdefault(target, []).append(t1 - sequence * self.spacing_ns)

    def sessions(self):
        """[[begin]], ascending, of each session of each target."""
        found = []
        for begins in self.begins.values():
            one = []
            for begin in sorted(begins):
                if not one or begin - one[0] > self.interval_ns / 2:
                    one = []
                    found.append(one)
                one.append(begin)
        return found

    def errors(self):
        """How much later than it should each packet left, in microseconds and ascending. None
        leaves before it is due: so the earliest one of a session tells when all of them were."""
        return sorted((begin - one[0]) / 1000 for one in self.sessions() for begin in one)


def rank(ascending, percent):
    return ascending[min(len(ascending) - 1, int(len(ascending) * percent / 100))]


def cpu_percent(process, seconds):
    """What a thread takes of a core for so long."""
    clock = os.path.join(process, "schedstat")
    began, cpu_ns = time.monotonic(), int(read(clock).split()[0])
    time.sleep(seconds)
    cpu_ns = int(read(clock).split()[0]) - cpu_ns
    return cpu_ns / 1e7 / (time.monotonic() - began)


class Engine:
    """`measure` with many targets."""

    def __init__(self, rig, report, quick):
        # A connection for each; the plugin sees to that by itself.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.rig, self.report = rig, report
        self.targets, self.intervals = (300, 2) if quick else (5000, 10)
        self.interval, self.wait = QUICK_TIMES if quick else TIMES

    def run(self, program):
        route_targets(self.rig)
        samples = self.rig.lab.path("samples")
        with self.rig.server():
            measure = program(self.rig.lab, self.rig.generator, self.rig.generator_core, (
                os.path.join(netlab.BUILD, "tests", "bench", "measure"),
                "--targets", str(self.targets), "--intervals", str(self.intervals),
                "--interval", str(self.interval), "--count", str(COUNT), "--packet-interval",
                str(SPACING), "--wait", str(self.wait), "--receiver-port", "863", "--stateful",
                "--samples", samples, address(0)))
            time.sleep(1.5 * self.interval)  # all are connected
            total, udp = descriptors(measure.pid)
            cpu = cpu_percent(f"/proc/{measure.pid}", (self.intervals - 1.5) * self.interval)
            found = measure.result(self.interval * (self.intervals + 1))
            reflected = self.rig.status()["test"]
        self.report.keep("measure", measure.command, found)
        self.judge(found, reflected, cpu)
        self.judge_departures(found, Departures(samples, round(SPACING * 1e9),
                                                round(self.interval * 1e9)))
        self.report.values("descriptors of the test path", "", [udp], 1024)
        self.report.values("descriptors in all", "", [total])

    def judge(self, found, reflected, cpu):
        results = self.targets * self.intervals
        if found["exit"] != 0 or found["measurements"] != results or found["not_noted"] or \
                reflected["reflected"] < found["received"]:
            self.report.fault(f"measure: {found}, and the server: {reflected}")
        row = self.report.values
        row(f"{self.targets} targets: packets sent", "", [found["sent"]], results * COUNT,
            at_least=True)
        row("results that are not ok", "", [results - found["states"]["ok"]], 0)
        row("dropped by the server or at our sockets", "packets",
            [sum(reflected["dropped"].values()) + found["kernel_drops"] + found["send_failures"]],
            0)
        row("packets lost", "", [found["sent"] - found["received"]], 0)
        row("CPU of the engine, all connected", "% of a core", [cpu], 15)
        row("CPU of the engine, with the set-up", "% of a core",
            [100 * found["engine_cpu_s"] / found["elapsed_s"]])

    def judge_departures(self, found, departures):
        """Each packet that was answered counts, and so does one whose reply came late."""
        errors, sessions = departures.errors(), len(departures.sessions())
        if departures.count != found["received"] + found["late"] or \
                sessions != self.targets * self.intervals:
            self.report.fault(f"{departures.count} departures in {sessions} sessions: {found}")
        row = self.report.values
        row("packets whose T1 is the kernel's", "% of them",
            [100 * departures.by_kernel / departures.count], 99, at_least=True)
        row("packets leave late by, p50", "us", [rank(errors, 50)])
        row("packets leave late by, p99", "us", [rank(errors, 99)], 1000)
        row("packets leave late by, max", "us", [errors[-1]], worst=True)


class Probe:
    """When a function of a program is entered and left, by the kernel's uprobes: collectd itself
    does not know how long a callback took."""

    def __init__(self, path, function):
        symbol = re.search(rf"^([0-9a-f]+) [tT] {function}$", netlab.run("nm", path), re.M)
        if symbol is None:
            raise RuntimeError(f"{path} has no {function}")
        self.group = f"twamp_{os.getpid()}"
        self.instance = os.path.join(TRACING, "instances", self.group)
        self.where = f"{path}:0x{symbol.group(1)}"

    @staticmethod
    def say(path, text):
        """In one write, which these files take as one command."""
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)

    @contextlib.contextmanager
    def on(self):
        events = os.path.join(TRACING, "uprobe_events")
        os.mkdir(self.instance)
        try:
            self.say(events, f"p:{self.group}/entered {self.where}\n")
            self.say(events, f"r:{self.group}/left {self.where}\n")
            self.say(f"{self.instance}/trace_clock", "mono")
            self.say(f"{self.instance}/events/{self.group}/enable", "1")
            yield
        finally:
            with contextlib.suppress(OSError):
                self.say(f"{self.instance}/events/{self.group}/enable", "0")
            os.rmdir(self.instance)
            for name in ("entered", "left"):
                with contextlib.suppress(OSError):
                    self.say(events, f"-:{self.group}/{name}\n")

    def calls(self, since):
        """[(when, how long)] of calls since that instant of the monotonic clock, in seconds."""
        found, entered = [], None
        for at, what in re.findall(r"(\d+\.\d+): (entered|left):",
                                   read(os.path.join(self.instance, "trace"))):
            if what == "entered":
                entered = float(at)
            elif entered is not None and entered >= since:
                found.append((entered, float(at) - entered))
        return found


STOCK = [path for path in ("/usr/lib/collectd", "/usr/lib64/collectd")
         if os.path.exists(os.path.join(path, "network.so"))]


def longest_wait(rounds):
    """Seconds that a result may have waited: it came right after a round began, and all were cut
    that followed but the last, which took it at its very end."""
    longest, since = 0.0, None
    for (begun, _), (later, took) in zip(rounds, rounds[1:]):
        since = begun if since is None else since
        longest = max(longest, later + took - since)
        if 1000 * took <= SHARE_MS:
            since = None
    return longest


def has_collectd():
    """Whether there is what Plugin needs."""
    return bool(STOCK) and os.path.exists(netlab.COLLECTD) and os.path.exists(netlab.PLUGIN)


class Plugin:
    """twamp.so in a collectd of its own that measures many targets."""

    def __init__(self, rig, report, quick):
        self.rig, self.report, self.lab = rig, report, rig.lab
        self.few, self.many = (100, 300) if quick else (1000, 5000)
        self.interval, self.wait = QUICK_TIMES if quick else TIMES
        self.seconds = 3 if quick else 30
        self.directory = self.lab.path("plugins")
        os.makedirs(self.directory, exist_ok=True)
        for name in ("logfile", "network"):
            shutil.copy(os.path.join(STOCK[0], f"{name}.so"), self.directory)
        shutil.copy(netlab.PLUGIN, self.directory)

    def configure(self, targets, more):
        lines = [f"""Hostname "probe"
FQDNLookup false
BaseDir "{self.lab.directory}"
PIDFile "{self.lab.path('collectd.pid')}"
PluginDir "{self.directory}"
TypesDB "/usr/share/collectd/types.db"
Interval {self.interval}
LoadPlugin logfile
<Plugin logfile>
  LogLevel notice
  File STDERR
</Plugin>
{more}
LoadPlugin twamp
<Plugin twamp>
  Timeout {self.wait}"""]
        lines += [f'  <Target "target-{number}">\n    Host "{address(number)}"\n  </Target>'
                  for number in range(targets)]
        return self.lab.write("collectd.conf", "\n".join(lines) + "\n</Plugin>\n")

    @contextlib.contextmanager
    def collectd(self, targets, more):
        size = len(self.lab.read("collectd.log"))
        process = self.lab.start(self.rig.generator, netlab.COLLECTD, "-f", "-C",
                                 self.configure(targets, more), log="collectd.log",
                                 env=self.lab.sanitizer_env())
        time.sleep(2.2 * self.interval)  # all have had results
        if process.poll() is not None:
            raise RuntimeError(f"collectd ended with {process.returncode}: "
                               f"{self.lab.read('collectd.log')[size:][-2000:]}")
        yield process
        began = time.monotonic()
        status = self.lab.stop(process)
        said = re.findall(r".*twamp plugin: .*", self.lab.read("collectd.log")[size:])
        if status != 0:
            self.report.fault(f"collectd: exit {status}: {said[-5:]}")
        self.report.values(f"{targets} targets: lines in the log", "", [len(said)], 0)
        self.report.values("time to end", "s", [time.monotonic() - began], 5)

    def memory(self):
        """What each target more takes, without what collectd's cache has of it: values end before
        that."""
        before_cache = 'PreCacheChain "Nothing"\n<Chain "Nothing">\n  Target "stop"\n</Chain>'
        resident = []
        for targets in (self.few, self.many):
            with self.collectd(targets, before_cache) as process:
                text = read(f"/proc/{process.pid}/smaps_rollup")
                resident.append(1024 * int(re.search(r"^Rss:\s+(\d+)", text, re.M).group(1)))
        self.report.values("resident per target", "octets",
                           [(resident[1] - resident[0]) / (self.many - self.few)], 12 * 1024)

    def rounds(self):
        """How long the read callback takes, with all values and somebody who takes them."""
        writer = f'LoadPlugin network\n<Plugin network>\n  Server "192.0.2.2" "{WRITER_PORT}"\n' \
                 "</Plugin>"
        probe = Probe(os.path.join(self.directory, "twamp.so"), "twamp_read")
        with probe.on(), self.collectd(self.many, writer) as process:
            since = time.monotonic()
            engine = [thread for thread in os.listdir(f"/proc/{process.pid}/task")
                      if read(f"/proc/{process.pid}/task/{thread}/comm").startswith("twamp#")]
            cpu = cpu_percent(f"/proc/{process.pid}/task/{engine[0]}", self.seconds)
            calls = probe.calls(since)
        if len(calls) < 2:
            raise RuntimeError(f"{len(calls)} calls of the read callback in {self.seconds} s")
        took = sorted(1000 * seconds for _, seconds in calls)
        pauses = [later[0] - earlier[0] for earlier, later in zip(calls, calls[1:])]
        row = self.report.values
        row("a round of the read callback, p50", "ms", [rank(took, 50)])
        row("a round of the read callback, max", "ms", [took[-1]], 50, worst=True)
        row("results wait for collectd, at most", "s", [longest_wait(calls)], 1, worst=True)
        row("from round to round, max", "ms", [1000 * max(pauses)], 1000, worst=True)
        row("CPU of the engine, in collectd", "% of a core", [cpu], 15)

    def run(self):
        route_targets(self.rig)
        with self.rig.server():
            self.memory()
            if all(os.access(os.path.join(TRACING, name), os.W_OK)
                   for name in ("uprobe_events", "instances")):
                self.rounds()
            else:
                self.report.unmeasured("no uprobes here: the read callback is not measured")
        for text in self.lab.sanitizer_reports():
            self.report.fault(text)
