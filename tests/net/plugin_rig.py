"""What tests of the plugin against scripted servers need: a namespace that this process has entered,
so that servers made by its threads are in it, and one target for each of them.
"""

import math
import os
import re
import sys

import netlab
import tap

COUNT, PACKET_INTERVAL, TIMEOUT, INTERVAL = 5, 0.02, 0.3, 2
SETTLED = 4  # results of each target that are waited for


def receiver_port(instance):
    """The port that the plugin asks a server for (doc/collectd-twamp.5)."""
    number = 2166136261
    for octet in instance.encode():
        number = (number ^ octet) * 16777619 % 2**32
    return 18760 + number % 1201


class Rig:
    """Servers, their targets and one collectd that measures them all at the same time."""

    def __init__(self, name):
        netlab.require("collectd")
        netlab.go_first()
        self.checks = tap.Checks()
        self.lab = netlab.Lab(name)
        self.namespace = self.lab.namespace("n")
        netlab.enter(self.namespace)
        self.servers = {}
        self.config = ""
        self.collectd = None

    def secrets(self, name, text):
        path = self.lab.write(name, text)
        os.chmod(path, 0o640)
        return path

    def target(self, name, server=None, port=862, host="127.0.0.1", **options):
        """A target of that name, with this scripted server (entered here) or this port."""
        if server is not None:
            self.servers[name] = server.__enter__()
            port = server.control
        lines = "".join(f"    {option} {value}\n" for option, value in options.items())
        self.config += f'  <Target "{name}">\n    Host "{host}"\n    Port {port}\n{lines}' \
                       "  </Target>\n"

    def run(self, *defaults, skipped=()):
        """Measures until each target but those in `skipped` has enough results."""
        self.config = "\n".join((
            "LoadPlugin twamp", "<Plugin twamp>", f"  Count {COUNT}",
            f"  PacketInterval {PACKET_INTERVAL}", f"  Timeout {TIMEOUT}",
            f"  Interval {INTERVAL}", *defaults, self.config, "</Plugin>", ""))
        self.collectd = self.lab.collectd(self.namespace, self.config)
        for name in re.findall(r'<Target "(.*)">', self.config):
            if name not in skipped:
                self.lab.wait_results(name, SETTLED)

    def values(self, name, series):
        return self.lab.values(name, series)

    def log(self, pattern=""):
        return [line for line in self.lab.read("collectd.log").splitlines()
                if re.search(pattern, line)]

    def holds(self, name, series, wanted):
        """Every result of the series is `wanted`: a number, math.nan or a predicate."""
        values = self.values(name, series)
        if callable(wanted):
            good = all(map(wanted, values))
        elif math.isnan(wanted):
            good = all(map(math.isnan, values))
        else:
            good = all(value == wanted for value in values)
        what = getattr(wanted, "__doc__", None) if callable(wanted) else wanted
        return self.checks.ok(len(values) >= SETTLED and good, f"{name}: {series} is {what}",
                              str(values))

    def says(self, name, pattern, times=1):
        """So many lines of the log are about this target and match."""
        lines = self.log(rf'twamp plugin: target "{re.escape(name)}".*{pattern}')
        return self.checks.ok(len(lines) == times, f"{name}: the log says {times} times: {pattern}",
                              "\n".join(self.log(rf'"{re.escape(name)}"')))

    def close(self):
        """Ends everything; the program's exit status."""
        self.checks.ok(self.collectd.poll() is None, "collectd still runs",
                       self.lab.read("collectd.log")[-3000:])
        self.checks.ok(self.lab.stop(self.collectd) == 0, "collectd ends with 0",
                       self.lab.read("collectd.log")[-3000:])
        self.checks.ok(not self.lab.sanitizer_reports(), "no sanitizer complains of the plugin",
                       "\n\n".join(self.lab.sanitizer_reports()))
        self.checks.ok(not self.log("Sanitizer|runtime error|Assertion"), "nor does the log",
                       "\n".join(self.log("Sanitizer|runtime error|Assertion")))
        for server in self.servers.values():
            server.__exit__()
        return self.checks.close()


def known(value):
    """a number"""
    return not math.isnan(value)


def between(low, high):
    """A predicate for holds()."""
    def test(value):
        return low <= value <= high
    test.__doc__ = f"between {low:g} and {high:g}"
    return test


def main(function):
    """Runs a test that returns its exit status, unless cryptography is missing."""
    try:
        import cryptography  # noqa: F401 pylint: disable=unused-import,import-outside-toplevel
    except ImportError:
        netlab.skip("python3-cryptography is not installed")
    sys.exit(function())
