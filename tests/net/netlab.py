"""Network namespaces, real programs and their results, for the net tests.

Everything lives in namespaces and directories of this process's own and ends with it. The programs
under test come from the build directory in TWAMP_BUILD; collectd, carbon and tshark are the
distribution's. A test that cannot run here exits 77 and says why.
"""

import atexit
import contextlib
import ctypes
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("TWAMP_BUILD", os.getcwd())
SERVER = os.path.join(BUILD, "twamp-server")
PLUGIN = os.path.join(BUILD, ".libs", "twamp.so")
COLLECTD = "/usr/sbin/collectd"
CLONE_NEWNET = 0x40000000


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def require(*programs):
    """Skips the test unless it runs as root and all programs are installed."""
    if os.geteuid() != 0:
        skip("needs root, for network namespaces")
    for program in ("ip", "nsenter", *programs):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            skip(f"{program} is not installed")
    for built in (SERVER, PLUGIN):
        if not os.path.exists(built):
            skip(f"{built} is not built (set TWAMP_BUILD to the build directory)")


def run(*command, check=True, **more):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n"
                           f"{done.stdout}{done.stderr}")
    return done.stdout


def exit_status(*command, **more):
    """Its exit status; what it says is dropped."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False, **more).returncode


def inside(namespace):
    """The beginning of a command that runs in this namespace. Not `ip netns exec` nor `ip -n`: they
    remount /, which fails in a plain chroot."""
    return ("nsenter", f"--net=/run/netns/{namespace}")


def setns(path):
    with open(path, "rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns: {path}")


def go_first():
    """Scripted peers and what they stand for answer like a network, not like a busy machine: before
    other programs. What is started from here does so, too."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)


def enter(namespace):
    """What this process opens from now on, by threads started from now on too, is in there."""
    setns(f"/run/netns/{namespace}")


@contextlib.contextmanager
def within(namespace):
    """What is made here, sockets and processes, is in that namespace for good."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(namespace)
        try:
            yield
        finally:
            setns(f"/proc/self/fd/{home}")
    finally:
        os.close(home)


def wait_for(what, condition, seconds=20.0):
    """Polls until condition() is true and returns its value; fails after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.05)


class Lab:
    """A directory, namespaces and processes that end with the test."""

    def __init__(self, name):
        self.tag = f"{name}-{os.getpid()}"
        self.directory = tempfile.mkdtemp(prefix=f"twamp-{name}-")
        os.chmod(self.directory, 0o755)
        self.processes = []
        self.namespaces = []
        atexit.register(self.close)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def read(self, name):
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def namespace(self, name):
        full = f"{self.tag}-{name}"
        run("ip", "netns", "add", full)
        self.namespaces.append(full)
        run(*inside(full), "ip", "link", "set", "lo", "up")
        return full

    @staticmethod
    def cable(left, left_if, right, right_if):
        """A veth pair between two namespaces. Checksums are always complete on it, so that a relay
        and a capture see what a real wire would carry."""
        run(*inside(left), "ip", "link", "add", left_if, "type", "veth", "peer", "name", right_if,
            "netns", right)
        for namespace, interface in ((left, left_if), (right, right_if)):
            run(*inside(namespace), "ethtool", "-K", interface, "tx", "off", "rx",
                "off", "gro", "off", "gso", "off", "tso", "off", check=False)
            run(*inside(namespace), "ip", "link", "set", interface, "up")

    @staticmethod
    def address(namespace, interface, *addresses):
        for address in addresses:
            extra = ("nodad",) if ":" in address else ()
            run(*inside(namespace), "ip", "address", "add", address, "dev", interface, *extra)

    def start(self, namespace, *command, log, env=None):
        """Starts a program in a namespace, its output in the file `log`."""
        full = (*inside(namespace), *command)
        with open(self.path(log), "ab") as output:
            process = subprocess.Popen(full, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=output, env={**os.environ, **(env or {})},
                                       cwd=self.directory)
        self.processes.append(process)
        return process

    def stop(self, process, how=signal.SIGTERM, seconds=20):
        """Ends a program and returns its exit status; None if it had to be killed."""
        if process.poll() is None:
            process.send_signal(how)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = None
        if process in self.processes:
            self.processes.remove(process)
        return status

    def close(self):
        for process in list(reversed(self.processes)):
            self.stop(process, seconds=5)
        for namespace in self.namespaces:
            run("ip", "netns", "delete", namespace, check=False)
        self.namespaces = []
        if os.environ.get("TWAMP_KEEP"):
            print(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def server(self, namespace, config="", log="server.log"):
        """Starts twamp-server with this configuration and waits until it is ready."""
        self.write("twamp-server.conf",
                   f"status_socket = {self.path('status')}\n{config}")
        size = len(self.read(log))
        process = self.start(namespace, SERVER, "-c", self.path("twamp-server.conf"), log=log)

        def ready():
            if process.poll() is not None:
                raise RuntimeError(f"twamp-server ended: {self.read(log)[size:]}")
            return "ready control=" in self.read(log)[size:]

        wait_for("twamp-server to be ready", ready)
        return process

    def capture(self, namespace, interface, name):
        """A dumpcap that writes what passes there into that file; ends with stop(..., SIGINT)."""
        process = self.start(namespace, "dumpcap", "-q", "-i", interface, "-w", self.path(name),
                             log="dumpcap.log")
        wait_for("the capture", lambda: os.path.exists(self.path(name)) and
                 "File:" in self.read("dumpcap.log"))
        return process

    def status(self):
        return json.loads(run(SERVER, f"--status={self.path('status')}"))

    def collectd(self, namespace, plugin_config, interval=1, log="collectd.log",
                 graphite_port=None, prometheus_port=None, more=()):
        """Starts a stock collectd with twamp.so, csv and rrdtool (and, if asked for,
        write_graphite and write_prometheus), its data below csv/ and rrd/. `more` plugins of
        collectd's are there to be loaded by the configuration."""
        plugins = self.path("plugins")
        os.makedirs(plugins, exist_ok=True)
        wanted = ["logfile", "csv", "rrdtool"]
        wanted += ["write_graphite"] if graphite_port else []
        wanted += ["write_prometheus"] if prometheus_port else []
        wanted += more
        stock = glob.glob("/usr/lib*/collectd") + glob.glob("/usr/lib/*/collectd")
        for plugin in wanted:
            # collectd refuses symbolic links.
            shutil.copy(os.path.join(stock[0], f"{plugin}.so"), plugins)
        shutil.copy(PLUGIN, plugins)
        config = f"""
Hostname "probe"
FQDNLookup false
BaseDir "{self.directory}"
PIDFile "{self.path('collectd.pid')}"
PluginDir "{plugins}"
TypesDB "/usr/share/collectd/types.db"
Interval {interval}
LoadPlugin logfile
<Plugin logfile>
  LogLevel info
  File STDERR
  Timestamp true
  PrintSeverity true
</Plugin>
LoadPlugin csv
<Plugin csv>
  DataDir "{self.path('csv')}"
  StoreRates false
</Plugin>
LoadPlugin rrdtool
<Plugin rrdtool>
  DataDir "{self.path('rrd')}"
  CacheTimeout 0
  CacheFlush 1
  CreateFilesAsync false
</Plugin>
"""
        if graphite_port:
            config += f"""
LoadPlugin write_graphite
<Plugin write_graphite>
  <Node "local">
    Host "127.0.0.1"
    Port "{graphite_port}"
    Protocol "tcp"
    StoreRates false
    EscapeCharacter "_"
  </Node>
</Plugin>
"""
        if prometheus_port:
            config += f"""
LoadPlugin write_prometheus
<Plugin write_prometheus>
  Host "127.0.0.1"
  Port "{prometheus_port}"
</Plugin>
"""
        config += plugin_config
        name = self.write("collectd.conf", config)
        return self.start(namespace, COLLECTD, "-f", "-C", name, log=log, env=self.sanitizer_env())

    def sanitizer_env(self):
        """What collectd's environment needs for a sanitized plugin. collectd itself may leak; what of
        it is ours, sanitizer_reports() finds."""
        if not sanitizer_libraries():
            return {}
        options = f"log_path={self.path('sanitizer')}:exitcode=0"
        return {"LD_PRELOAD": " ".join(sanitizer_libraries()),
                "LSAN_OPTIONS": options,
                "ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:{options}"}

    def sanitizer_reports(self):
        """What sanitizers said of collectd, without leaks in which twamp.so has no part."""
        reports = []
        for name in glob.glob(self.path("sanitizer.*")):
            for part in re.split(r"\n\n", self.read(name)):
                leak = re.match(r"(Direct|Indirect) leak of", part)
                if (leak and "twamp.so" in part) or "ERROR: AddressSanitizer" in part:
                    reports.append(part)
        return reports

    def csv(self, instance, value):
        """[(time, value)] of one series, oldest first; NaN where it was unknown."""
        rows = []
        for name in sorted(glob.glob(self.path("csv", "probe", f"twamp-{instance}",
                                               f"{value}-[0-9]*"))):
            with open(name, encoding="ascii") as file:
                for line in file.readlines()[1:]:
                    fields = line.strip().split(",")
                    if line.endswith("\n") and len(fields) == 2:
                        rows.append((float(fields[0]), float(fields[1])))
        return rows

    def values(self, instance, value):
        return [row[1] for row in self.csv(instance, value)]

    def wait_results(self, instance, count, seconds=60):
        """Waits until so many intervals of a target have been written."""
        wait_for(f"{count} results of {instance}",
                 lambda: len(self.csv(instance, "gauge-state")) >= count, seconds)

    def rrd_values(self, instance, value, start):
        """What rrdtool holds since `start`, unknown values left out."""
        name = self.path("rrd", "probe", f"twamp-{instance}", f"{value}.rrd")
        out = run("rrdtool", "fetch", name, "AVERAGE", "-s", str(int(start)))
        found = re.findall(r"^\d+: (\S+)$", out, re.M)
        return [float(text) for text in found if "nan" not in text]


def sanitizer_libraries():
    """Run-time libraries that a sanitized plugin needs before everything else in collectd."""
    return re.findall(r"=> (\S*lib(?:asan|tsan|ubsan)\.so\S*)", run("ldd", PLUGIN))


def http_get(namespace, url):
    """Fetches from inside a namespace, whose loopback is its own."""
    return run(*inside(namespace), sys.executable, "-c",
               "import sys, urllib.request;"
               "sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=5)"
               ".read().decode())", url)
