"""What the cases of tests/bench/run have in common: two namespaces with a wire between them, the
reflectors in one and the generators in the other, each kind on a core of its own; and the report,
as a table for people and as JSON for programs.

Everything ends with the process, as in the net tests (tests/net/netlab.py).
"""

import contextlib
import datetime
import json
import os
import platform
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "net"))
import netlab  # noqa: E402 pylint: disable=wrong-import-position
import accuracy  # noqa: E402 pylint: disable=wrong-import-position
from slow_sessions import SlowSessions  # noqa: E402 pylint: disable=wrong-import-position

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PROGRAMS = ("floor", "load", "measure", "set_up", "skewed", "sniff", "wire")
REFLECTOR, GENERATOR = "192.0.2.2", "192.0.2.1"
SENDERS = "10.64.0.0/16"  # addresses of sessions, all of them the generator's
FLOOR_PORT, CONTROL_PORT, TEST_PORT = 9000, 862, 863
KEYID = "bench"
STAMPING = 0.1  # seconds until the kernel stamps all packets, after the first one asked for it
PATIENCE = 60.0  # seconds that a program may take beyond the time it was given
CONFIG = """max_sessions = 0
max_sessions_authenticated = 0
max_sessions_per_client = 0
max_connections = 0
max_connections_per_client = 0
third_party = yes
"""


def require():
    """Skips unless the bench can run here."""
    if os.geteuid() != 0:
        netlab.skip("needs root, for network namespaces and captures")
    for program in ("ip", "nsenter", "taskset"):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            netlab.skip(f"{program} is not installed")
    for built in (netlab.SERVER, *map(program_path, PROGRAMS)):
        if not os.path.exists(built):
            netlab.skip(f"{built} is not built (`make bench-programs`; TWAMP_BUILD names the "
                        "build directory)")


def program_path(name):
    return os.path.join(netlab.BUILD, "tests", "bench", name)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Program:
    """A program under way, and the JSON that it says at its end."""

    def __init__(self, lab, namespace, core, command):
        self.lab, self.command = lab, [os.path.basename(command[0]), *command[1:]]
        pinned = () if core is None else ("taskset", "-c", str(core))
        # pylint: disable=consider-using-with
        self.complaints = open(lab.path(f"{self.command[0]}.log"), "w+", encoding="utf-8",
                               errors="replace")
        # Unbuffered: what one call does not take, the next one finds.
        self.process = subprocess.Popen(
            (*netlab.inside(namespace), *pinned, *command), bufsize=0, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.complaints, cwd=lab.directory)
        lab.processes.append(self.process)
        self.pid = self.process.pid

    def failed(self, what):
        self.complaints.seek(0)
        return RuntimeError(f"{' '.join(self.command)}: {what}: {self.complaints.read().strip()}")

    def wait_line(self, wanted):
        """Until it says so, as its first line."""
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise self.failed(f"no `{wanted}` in {PATIENCE:g} s")
        line = self.process.stdout.readline().decode().strip()
        if line != wanted:
            raise self.failed(f"says `{line}`, not `{wanted}`")

    def result(self, seconds=0.0, how=None):
        """Waits for its end, which is due in so many seconds, or comes by this signal; what it
        says then, with its exit status as `exit`."""
        if how is not None:
            self.process.send_signal(how)
        try:
            output = self.process.communicate(timeout=seconds + PATIENCE)[0].decode()
        except subprocess.TimeoutExpired as late:
            raise self.failed("does not end") from late
        self.lab.processes.remove(self.process)
        lines = output.strip().splitlines()
        try:
            found = json.loads(lines[-1])
        except (IndexError, ValueError) as error:
            raise self.failed(f"exit {self.process.returncode}") from error
        finally:
            self.complaints.seek(0)
            complaint = self.complaints.read().strip()
            self.complaints.close()
        return {**found, "exit": self.process.returncode, "stderr": complaint}


class Ends:
    """Captures at both ends of a path, of all test packets; see accuracy.Truth."""

    def __init__(self, lab, sender, reflector, core=None, offset=0):
        self.paths = [lab.path(name) for name in ("at-sender", "at-reflector")]
        self.sniffs = [Program(lab, namespace, core, (program_path("sniff"), "eth0", str(TEST_PORT),
                                                      path, *options))
                       for namespace, path, options in zip((sender, reflector), self.paths,
                                                           (("--at-sender",), ()))]
        for sniff in self.sniffs:
            sniff.wait_line("ready")
        time.sleep(STAMPING)
        self.offset, self.faults = offset, []

    def take(self):
        """accuracy.Truth; what must never be is in .faults then."""
        for sniff in self.sniffs:
            seen = sniff.result(how=signal.SIGTERM)
            if seen["exit"] != 0 or seen["dropped"] or seen["bad"] or not seen["packets"]:
                self.faults.append(f"{' '.join(sniff.command)}: {seen}")
        return accuracy.Truth(*self.paths, self.offset)


class Process:
    """What the kernel says of a reflector, and of the core that it is pinned to (None: to none)."""

    def __init__(self, process, core):
        self.pid, self.core = process.pid, core

    def cpu_ns(self):
        """Of all threads, those that have ended too (clock_getcpuclockid)."""
        return time.clock_gettime_ns(~self.pid << 3 | 2)

    def others_ns(self):
        """How long other programs have had its core since some time."""
        return 0 if self.core is None else busy_ns({self.core}) - self.cpu_ns()

    def of_threads(self, name):
        return [read(f"/proc/{self.pid}/task/{thread}/{name}")
                for thread in os.listdir(f"/proc/{self.pid}/task")]

    def wake_ups(self):
        """How often a thread began to wait, of those that are there."""
        return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M).group(1))
                   for text in self.of_threads("status"))

    def resident(self):
        """Octets, counted by page: the sums in `status` are some 100 KiB behind."""
        text = read(f"/proc/{self.pid}/smaps_rollup")
        return 1024 * int(re.search(r"^Rss:\s+(\d+)", text, re.M).group(1))


class Rig:
    """The wire with its two ends, and what runs there."""

    def __init__(self, report):
        self.report = report
        self.lab = netlab.Lab("bench")
        cores = sorted(os.sched_getaffinity(0))
        self.generator_core, self.reflector_core = cores[:2] if len(cores) > 1 else (None, None)
        self.all_cores = ",".join(map(str, cores))  # of what is not pinned, although we are
        self.wire_core = cores[2] if len(cores) > 2 else self.generator_core
        if self.wire_core is not None:
            os.sched_setaffinity(0, {self.wire_core})  # of this process, which has little to do
        self.generator, self.reflector = self.lab.namespace("g"), self.lab.namespace("r")
        self.lab.cable(self.generator, "eth0", self.reflector, "eth0")
        self.lab.address(self.generator, "eth0", f"{GENERATOR}/24")
        self.lab.address(self.reflector, "eth0", f"{REFLECTOR}/24")
        # One route makes all of them addresses of the generator.
        netlab.run(*netlab.inside(self.generator), "ip", "route", "add", "local", SENDERS,
                   "dev", "lo")
        netlab.run(*netlab.inside(self.reflector), "ip", "route", "add", SENDERS, "via", GENERATOR)
        with netlab.within(self.generator):
            # For set-ups: each connection leaves its port behind for a minute.
            for name, value in (("ip_local_port_range", "1024 65535"), ("tcp_tw_reuse", "1")):
                with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as file:
                    file.write(value)
        self.secrets = self.lab.write("secrets", f"{KEYID} the-secret-of-the-bench\n")
        self.secret = self.lab.write("secret", "the-secret-of-the-bench\n")
        os.chmod(self.secrets, 0o600)

    def close(self):
        self.lab.close()

    def stop_all(self):
        """What a case has left behind that broke off."""
        for process in list(reversed(self.lab.processes)):
            self.lab.stop(process, seconds=5)

    @contextlib.contextmanager
    def floor(self):
        """The floor program, ready; what it counted is in the JSON."""
        program = Program(self.lab, self.reflector, self.reflector_core,
                          (program_path("floor"), REFLECTOR, str(FLOOR_PORT)))
        program.wait_line("ready")
        yield Process(program, self.reflector_core)
        self.report.keep("floor", program.command, program.result(how=signal.SIGTERM))

    @contextlib.contextmanager
    def server(self, max_packet_rate=0, secured=False, pinned=True):
        """twamp-server, ready. It has no limits but this one."""
        config = f"{CONFIG}max_packet_rate = {max_packet_rate}\n" \
                 f"status_socket = {self.lab.path('status')}\n"
        if secured:
            config += "modes = unauthenticated, mixed, authenticated, encrypted\n" \
                      f"secrets_file = {self.secrets}\n"
        path = self.lab.write("twamp-server.conf", config)
        core = self.reflector_core if pinned else self.all_cores
        command = () if core is None else ("taskset", "-c", str(core))
        size = len(self.lab.read("server.log"))
        process = self.lab.start(self.reflector, *command, netlab.SERVER, "-c", path,
                                 log="server.log")

        def ready():
            if process.poll() is not None:
                raise RuntimeError(f"twamp-server ended: {self.lab.read('server.log')[size:]}")
            return "ready control=" in self.lab.read("server.log")[size:]

        netlab.wait_for("twamp-server to be ready", ready)
        yield Process(process, self.reflector_core if pinned else None)
        if self.lab.stop(process) != 0:
            self.report.fault("twamp-server did not end with 0: " +
                              self.lab.read("server.log")[size:][-2000:])

    def generate(self, reflector, floor=False, mode=None, sender="10.64.0.1:20000", **options):
        """A `load` against this reflector, begun; seconds=2, one_by_one=True become its options
        --seconds 2 --one-by-one."""
        command = [program_path("load"), "--pid", str(reflector.pid), "--sender", sender]
        command += ["--floor"] if floor else self.mode_options(mode)
        for name, value in options.items():
            option = f"--{name.replace('_', '-')}"
            command += [option] if value is True else [option, str(value)]
        command.append(f"{REFLECTOR}:{FLOOR_PORT if floor else CONTROL_PORT}")
        return Program(self.lab, self.generator, self.generator_core, command)

    def mode_options(self, mode):
        if mode is None:
            return []
        return ["--mode", mode, "--keyid", KEYID, "--secret-file", self.secret]

    def take(self, program, seconds=0.0):
        """The result of a `load`, judged for what must never be."""
        found = program.result(seconds)
        self.report.keep("load", program.command, found)
        wrong = {name: count for name, count in found.get("wrong", {}).items() if count}
        if wrong or found["exit"] != 0:
            self.report.fault(f"{' '.join(program.command)}: exit {found['exit']}, wrong: {wrong} "
                              f"{found['stderr']}")
        if not found["received"] and "--unknown" not in program.command:
            self.report.fault(f"{' '.join(program.command)}: no replies")
        return found

    def load(self, reflector, seconds, **options):
        """A whole `load` of so many seconds."""
        with self.beside(reflector) as others:
            found = self.take(self.generate(reflector, seconds=seconds, **options), seconds)
        return {**found, **others}

    @contextlib.contextmanager
    def beside(self, reflector):
        """What others took of the reflector's core while the block ran, in percent of it: what is
        measured then is theirs, too."""
        taken = {}
        began, others_ns = time.monotonic(), reflector.others_ns()
        yield taken
        others_ns = reflector.others_ns() - others_ns
        taken["others_percent"] = max(0, others_ns / 1e7 / (time.monotonic() - began))

    def set_up(self, mode=None, options=()):
        """A `set_up`, begun."""
        return Program(self.lab, self.generator, self.generator_core, (
            program_path("set_up"), *options, *self.mode_options(mode), "--sender",
            "10.64.0.1:20000", f"{REFLECTOR}:{CONTROL_PORT}"))

    def slow_sessions(self, first_address, count, floor=False):
        ports = {"floor_port": FLOOR_PORT} if floor else {"control_port": CONTROL_PORT}
        with netlab.within(self.generator):
            return SlowSessions(REFLECTOR, first_address, count, **ports)

    @contextlib.contextmanager
    def held(self, connections, sessions, mode=None):
        """So many connections and started sessions, for as long as the block runs."""
        program = self.set_up(mode, options=("--hold", "--connections", str(connections),
                                             "--sessions", str(sessions)))
        program.wait_line("held")
        yield
        found = program.result()  # closes its stdin
        self.report.keep("set_up", program.command, found)
        if found["exit"] != 0 or found["sessions"] != sessions:
            self.report.fault(f"{' '.join(program.command)}: {found}")

    def capture(self, seconds, *options, floor=False):
        """A `wire` at the reflector's end, that looks."""
        port = FLOOR_PORT if floor else TEST_PORT
        program = Program(self.lab, self.reflector, self.wire_core, (
            program_path("wire"), "eth0", str(port), "--seconds", f"{seconds:g}", *options))
        program.wait_line("ready")
        return program

    def take_capture(self, program, seconds=0.0, how=None):
        found = program.result(seconds, how)
        self.report.keep("wire", program.command, found)
        if found["exit"] != 0 or found["dropped"]:
            self.report.fault(f"{' '.join(program.command)}: {found}")
        return found

    @contextlib.contextmanager
    def busy_loops(self, count):
        """So many programs that want a core for themselves, wherever they find one, and keep
        starting others: one that only counts is no rival, since the scheduler puts who sleeps most
        of the time before it. None lasts for more than two minutes, whatever becomes of us."""
        loops = [self.lab.start(self.generator, "taskset", "-c", self.all_cores, "timeout", "120",
                                "sh", "-c", "while :; do /bin/true; done", log="loops.log")
                 for _ in range(count)]
        try:
            yield
            if any(loop.poll() is not None for loop in loops):
                raise RuntimeError("a busy loop ended by itself")
        finally:
            for loop in loops:
                self.lab.stop(loop)

    def measured(self, seconds, *options):
        """What a `measure` of so many seconds said: its result, the samples and the truth."""
        ends = Ends(self.lab, self.generator, self.reflector, self.all_cores)
        program = Program(self.lab, self.generator, self.all_cores, (
            program_path("measure"), "--samples", self.lab.path("samples"), *options, REFLECTOR))
        result = program.result(seconds)
        self.report.keep("measure", program.command, result)
        if result["exit"] != 0 or result["stderr"] or result["not_noted"]:
            self.report.fault(f"{' '.join(program.command)}: {result}")
        truth = ends.take()
        for fault in ends.faults:
            self.report.fault(fault)
        return result, accuracy.read_table(self.lab.path("samples")), truth

    def status(self):
        return self.lab.status()


class Report:
    """Rows of the table, each with all its single values, and what went wrong."""

    WIDTHS = (11, 46, 12, 12, 7, 10)

    def __init__(self, judged):
        self.judged = judged  # whether limits are
        self.rows, self.runs, self.faults = [], [], []
        self.case = None

    def begin(self, case):
        self.case = case

    def keep(self, program, command, result):
        self.runs.append({"case": self.case, "program": program, "command": command,
                          "result": result})

    def fault(self, text):
        """Something that must never be, whatever the machine."""
        self.faults.append(f"{self.case}: {text}")
        print(f"WRONG {self.case}: {text}", flush=True)

    def unmeasured(self, text):
        """Something that cannot be measured here: where limits are judged, none of its own is
        kept."""
        if self.judged:
            self.fault(text)
        else:
            print(text, flush=True)

    def ratios(self, name, unit, pairs, limit=None, at_least=False):
        """A row of pairs: of the base and of the server."""
        base, server = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        ratios = [two / one for one, two in pairs]
        self.add({"name": name, "unit": unit, "base": base, "server": server, "ratios": ratios,
                  "ratio": statistics.median(ratios)}, "ratio", limit, at_least)

    def values(self, name, unit, values, limit=None, at_least=False, worst=False, base=None):
        """A row whose limit is no ratio, even if the base's values are shown beside it; its median
        counts, or with `worst` its greatest value."""
        count = max if worst else statistics.median
        row = {"name": name, "unit": unit, "server": values, "value": count(values)}
        if base is not None:
            row |= {"base": base, "base_value": count(base)}
        self.add(row, "value", limit, at_least)

    def others(self, rig, runs):
        """What else ran on the reflector's core meanwhile, if it was to have one for itself."""
        if rig.reflector_core is not None:
            self.values("of the core, what others took", "%", [run["others_percent"]
                                                              for run in runs])

    def add(self, row, what, limit, at_least):
        verdict = None
        if limit is not None and self.judged:
            good = row[what] >= limit if at_least else row[what] <= limit
            verdict = "ok" if good else "MISSED"
        self.rows.append({"case": self.case, **row, "limit": limit, "at_least": at_least,
                          "verdict": verdict})
        self.print_row(self.rows[-1])

    def print_row(self, row):
        server = statistics.median(row["server"]) if "ratio" in row else row["value"]
        base = statistics.median(row["base"]) if "ratio" in row else row.get("base_value")
        sign = ">=" if row["at_least"] else "<="
        limit = "" if row["limit"] is None else f"{sign} {brief(row['limit'])}"
        self.print_line(row["case"], f"{row['name']}, {row['unit']}",
                        "" if base is None else brief(base),
                        brief(server), f"{row['ratio']:.2f}" if "ratio" in row else "", limit,
                        row["verdict"] or "")

    def print_line(self, case, name, *rest):
        widths = self.WIDTHS
        texts = [f"{case:{widths[0]}}{name:{widths[1]}}"]
        texts += [f"{text:>{width}}" for text, width in zip(rest, widths[2:])]
        print(f"{''.join(texts)}  {rest[4]}".rstrip(), flush=True)

    def print_head(self):
        self.print_line("case", "median", "base", "server", "ratio", "limit", "verdict")

    def missed(self):
        return [row for row in self.rows if row["verdict"] == "MISSED"]


def busy_ns(cores):
    """How long these cores have worked for somebody since they were started."""
    found = re.findall(r"^cpu(\d+) ([\d ]+)$", read("/proc/stat"), re.M)
    ticks = 0
    for core, text in found:
        if int(core) in cores:
            user, nice, system, _, _, *interrupts_and_stolen = map(int, text.split()[:8])
            ticks += user + nice + system + sum(interrupts_and_stolen)
    return ticks * 10**9 // os.sysconf("SC_CLK_TCK")


def busy_percent(cores, seconds=0.5):
    """How much of these cores is in use now, by whomever."""
    before = busy_ns(cores)
    time.sleep(seconds)
    return min(100, (busy_ns(cores) - before) / 1e7 / seconds / max(1, len(cores)))


def brief(number):
    """Four digits that count, as people write them."""
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.4g}"


def commit():
    """Of the source; None where there is no repository, or nobody to ask about it."""
    try:
        return netlab.run("git", "-C", SOURCE, "describe", "--always", "--dirty").strip()
    except (OSError, RuntimeError):
        return None


def make_variables():
    """Of the build; none where there is no Makefile."""
    try:
        return dict(re.findall(r"^(\w+) = (.*)$", read(os.path.join(netlab.BUILD, "Makefile")),
                               re.M))
    except FileNotFoundError:
        return {}


def instrumented():
    """What makes the programs slower than they are, or ""."""
    return make_variables().get("INSTRUMENTED", "")


def machine():
    """What the figures are of: they say nothing of another machine."""
    model = next(filter(None, (re.search(rf"^{key}\s*:\s*(.*)$", read("/proc/cpuinfo"), re.M)
                               for key in ("model name", "cpu model", "Hardware", "machine"))),
                 None)
    make = make_variables()
    compiler = make.get("CC", "cc").split()[0]
    try:
        version = netlab.run(compiler, "--version").splitlines()[0]
    except (OSError, RuntimeError, IndexError):
        version = compiler
    flags = f"{make.get('TW_CPPFLAGS', '')} {make.get('TW_CFLAGS', '')} {make.get('CFLAGS', '')}"
    return {
        "cpu": model.group(1) if model else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": " ".join((platform.system(), platform.release(), platform.version(),
                            platform.machine())),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": commit(),
        "compiler": version,
        "flags": " ".join(flag for flag in flags.split() if not flag.startswith("-W")),
        "instrumented": instrumented(),
        "busy_percent": round(busy_percent(os.sched_getaffinity(0)), 1),
    }
