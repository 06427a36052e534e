"""What the engine says of single packets, held against captures at both ends of the path.

A sample (of `measure`) belongs to a captured reply if it has the same numbers and T3, and with that
to the request whose T1 the reply reflects; of copies, the first sample belongs to the first one
captured. All instants and errors are nanoseconds; an error is what was said less what was captured.
"""

import collections
import dataclasses
import math

SOURCES = ("hardware", "kernel", "user")


def read_table(path):
    """Rows of a file of `measure` or `sniff`, whose first line names the fields."""
    with open(path, encoding="ascii") as file:
        make = collections.namedtuple("Row", file.readline().split())
        return [make(*(int(text) if text.isdecimal() or text[0] == "-" else text
                       for text in line.split())) for line in file]


@dataclasses.dataclass
class Passed:
    """One reply's way: when its request and itself passed either end, by the captures; None at the
    reflector's end where nothing of it was seen."""
    request_out: int
    request_in: int
    reply_out: int
    reply_in: int
    t1: int  # as the packet says

    def total(self):
        return self.reply_in - self.request_out

    def path(self):
        """Without the reflector's own time."""
        return self.forward() + self.reverse()

    def forward(self):
        return self.request_in - self.request_out

    def reverse(self):
        return self.reply_in - self.reply_out


def request_key(row):
    return row.source, row.destination, row.sequence, row.t1


def requested_key(row):
    """The same of what a reply replies to."""
    return row.destination, row.source, row.reflected_sequence, row.t1


def reply_key(row):
    return row.reflected_sequence, row.sequence, row.t3


class End:
    """What was captured at one end: instants in order, for there may be copies."""

    def __init__(self, path):
        self.rows = read_table(path)
        self.requests, self.replies = collections.defaultdict(list), collections.defaultdict(list)
        for row in self.rows:
            if row.kind == "request":
                self.requests[request_key(row)].append(row)
            else:
                self.replies[reply_key(row)].append(row)


class Truth:
    """Both ends; the reflector's clock, which no capture goes by, is ahead by `offset`."""

    def __init__(self, sender_path, reflector_path, offset=0):
        self.sender, self.reflector = End(sender_path), End(reflector_path)
        self.offset = offset

    def follow(self, samples):
        """[(sample, Passed)] of all samples that were captured at either end each time they passed,
        those of which that is not so, and the captured replies that came in but are no sample."""
        found, missing = [], []
        seen = collections.Counter()
        for sample in samples:
            key = (sample.sequence, sample.reflector_sequence, sample.t3)
            replies = self.sender.replies.get(key, ())
            copy = seen[key]
            seen[key] += 1
            passed = self.passed(key, replies[copy]) if copy < len(replies) else None
            if passed is None:
                missing.append(sample)
            else:
                found.append((sample, passed))
        unsaid = sum(len(rows) - min(len(rows), seen[key])
                     for key, rows in self.sender.replies.items())
        return found, missing, unsaid

    def sessions(self, patience):
        """[Session] of the one target whose packets were captured, in order; a reply that takes
        longer than `patience` is late."""
        answers = collections.defaultdict(list)
        for row in self.sender.rows:
            if row.kind == "reply":
                answers[requested_key(row)].append(row)
        found = []
        for row in self.sender.rows:
            if row.kind == "request":
                if row.sequence == 0:
                    found.append(Session())
                self.add(found[-1], row, answers[request_key(row)], patience)
        return found

    def add(self, session, request, answers, patience):
        """A packet that left, and the replies to it."""
        came = self.reflector.requests.get(request_key(request), ())
        session.sent += 1
        if not came:
            session.lost_forward += 1
            return
        in_time = [row for row in answers if row.at - request.at <= patience]
        if not in_time:
            session.late += bool(answers)
            session.lost_undecided += bool(answers)
            session.lost_reverse += not answers
            return
        different = len({row.sequence for row in in_time})
        session.duplicates_forward += different - 1
        session.duplicates_reverse += len(in_time) - different
        first = in_time[0]
        passed = self.passed(reply_key(first), first)
        session.replies.append(Reply(request.sequence, first.sequence, passed,
                                     passed.reply_out + self.offset - first.t3))

    def passed(self, key, reply):
        """A copied request is taken for the one with the reply's T2, or else for the first: the
        copies' replies have numbers of their own."""
        requested = requested_key(reply)
        sent = self.sender.requests.get(requested)
        came = self.reflector.requests.get(requested)
        left = self.reflector.replies.get(key)
        if not sent or not came or not left:
            return None
        nearest = min(came, key=lambda row: abs(row.at + self.offset - reply.t2))
        return Passed(sent[0].at, nearest.at, left[0].at, reply.at, reply.t1)


@dataclasses.dataclass
class Reply:
    """The first one to a packet, if it came in time."""
    sequence: int  # of the packet
    reflector_sequence: int
    passed: Passed
    held: int  # from T3 until it left: what no timestamp tells


@dataclasses.dataclass
class Session:
    """What a session's packets met, by the captures, under the names of `measure`."""
    sent: int = 0
    lost_forward: int = 0
    lost_reverse: int = 0
    lost_undecided: int = 0
    late: int = 0
    duplicates_forward: int = 0
    duplicates_reverse: int = 0
    replies: list = dataclasses.field(default_factory=list)

    def counts(self):
        """The order is that of RFC 4737: who comes behind one with a higher number is reordered."""
        arrived = sorted(self.replies, key=lambda reply: reply.passed.reply_in)
        came = sorted(self.replies, key=lambda reply: reply.passed.request_in)
        return {
            "sent": self.sent, "received": len(self.replies), "late": self.late,
            "lost": self.lost_forward + self.lost_reverse + self.lost_undecided,
            "lost_forward": self.lost_forward, "lost_reverse": self.lost_reverse,
            "lost_undecided": self.lost_undecided,
            "duplicates": self.duplicates_forward + self.duplicates_reverse,
            "duplicates_forward": self.duplicates_forward,
            "duplicates_reverse": self.duplicates_reverse,
            "reordered": overtaken([reply.sequence for reply in arrived]),
            "reordered_forward": overtaken([reply.sequence for reply in came]),
            "reordered_reverse": overtaken([reply.reflector_sequence for reply in arrived])}

    def delays(self, offset):
        """{"rtt": (least, most), ...}, each a dict of figures: without and with what the
        reflector's host took between T3 and departure. Its clock is ahead by `offset`."""
        found = {}
        for name, values in (
                ("rtt", [(reply.passed.path(), reply.held) for reply in self.replies]),
                ("forward", [(reply.passed.forward() + offset, 0) for reply in self.replies]),
                ("reverse", [(reply.passed.reverse() - offset, reply.held)
                             for reply in self.replies])):
            found[name] = (figures([value for value, _ in values]),
                           figures([value + held for value, held in values]))
        return found


def overtaken(numbers):
    return sum(number < max(numbers[:at]) for at, number in enumerate(numbers) if at)


def figures(values):
    """As the engine gives them."""
    return {"min": min(values), "mean": sum(values) / len(values), "max": max(values),
            "p50": percentile(values, 50), "p95": percentile(values, 95)}


def percentile(values, percent):
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(percent * len(ordered) / 100)) - 1]


class Errors:
    """How far off samples were."""

    def __init__(self, found):
        self.count = len(found)
        self.total = [sample.rtt_total - passed.total() for sample, passed in found]
        self.path = [sample.rtt - passed.path() for sample, passed in found]
        # What user space would have said of the same packets.
        self.user_total = [sample.read - passed.t1 - passed.total() for sample, passed in found]
        self.user_path = [sample.read - passed.t1 - (sample.t3 - sample.t2) - passed.path()
                          for sample, passed in found]

    @staticmethod
    def figures(errors):
        """{"p50": ...} of their absolute values, in microseconds."""
        sizes = [abs(error) / 1000 for error in errors]
        return {"p50": percentile(sizes, 50), "p99": percentile(sizes, 99),
                "p99.9": percentile(sizes, 99.9), "max": max(sizes)}


def shares(samples):
    """{"T1 kernel, T4 kernel": 0.99, ...} of the samples, by who took their timestamps."""
    counted = collections.Counter(
        f"T1 {SOURCES[sample.transmit_source]}, T4 {SOURCES[sample.receive_source]}"
        for sample in samples)
    return {name: count / len(samples) for name, count in counted.most_common()}

