"""The dashboards of contrib/ as those who load them see them: whether Grafana's and graphite-web's
JSON has the shape that they want, and which series their queries ask for.

Knows nothing of values: what there is to be found comes from a running collectd, as `Sample`s of a
scrape of write_prometheus or as paths that write_graphite has sent.
"""

import collections
import itertools
import json
import re
import urllib.parse

Sample = collections.namedtuple("Sample", "name labels value")
GRAFANA_PANELS = {"row", "table", "timeseries", "state-timeline", "stat"}
GRAFANA_COLUMNS = 24
# Ours, of those that Grafana puts in place of $__...: any duration will do for a test.
GRAFANA_BUILT_IN = {"__rate_interval": "4m"}
GRAPHITE_FUNCTIONS = {"aliasByNode", "aliasSub"}
LABEL = re.compile(r'\s*(\w+)\s*(=~|!~|=|!=)\s*"([^"]*)"\s*,?')
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")


def scrape(page):
    """The samples of a page in Prometheus' text format, which must be nothing else."""
    samples = []
    for line in page.splitlines():
        if not line or line.startswith("#"):
            continue
        found = re.fullmatch(r"([a-zA-Z_:][\w:]*)\{(.*)\} (\S+)( \d+)?", line)
        if found is None:
            raise ValueError(f"no sample: {line}")
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found.group(2)))
        samples.append(Sample(found.group(1), labels, found.group(3)))
    return samples


def alternatives(pattern):
    """Every text that a regular expression of plain letters, ( ) and | stands for; None when it
    has anything else."""
    if not re.fullmatch(r"[\w()|-]*", pattern):
        return None
    texts = []
    for branch in re.split(r"\|(?![^(]*\))", pattern):
        parts = [part[1:-1].split("|") if part.startswith("(") else [part]
                 for part in re.findall(r"\([^()]*\)|[^()]+", branch)]
        texts += ["".join(choice) for choice in itertools.product(*parts)]
    return texts


class Grafana:
    """A dashboard that reads Prometheus."""

    def __init__(self, text):
        self.board = json.loads(text)
        self.variables = self.board["templating"]["list"]
        self.panels = self.board["panels"]
        self.shown = [panel for panel in self.panels if panel["type"] != "row"]

    def faults(self):
        """What Grafana would not take, or show wrongly."""
        return [*self.board_faults(), *self.grid_faults(),
                *itertools.chain(*map(self.panel_faults, self.shown))]

    def board_faults(self):
        board = self.board
        for key, kind in (("title", str), ("uid", str), ("schemaVersion", int), ("panels", list),
                          ("time", dict), ("tags", list), ("editable", bool)):
            if not isinstance(board.get(key), kind):
                yield f"{key} is not a {kind.__name__}"
        if not re.fullmatch(r"[\w-]{1,40}", board["uid"]):
            yield f"uid {board['uid']}"
        if board["id"] is not None or not board["panels"]:
            yield "an id of some other Grafana, or no panel"
        names = [variable["name"] for variable in self.variables]
        if len(set(names)) != len(names):
            yield f"variables of one name: {names}"
        for variable in self.variables:
            if variable["type"] not in ("datasource", "query"):
                yield f"variable {variable['name']} is a {variable['type']}"
            elif variable["type"] == "query" and variable["query"]["query"] != \
                    variable["definition"]:
                yield f"variable {variable['name']} has two definitions"
        undeclared = self.used_variables() - set(names) - set(GRAFANA_BUILT_IN)
        if undeclared:
            yield f"variables that are not declared: {undeclared}"
        if set(names) - self.used_variables():
            yield f"variables without use: {set(names) - self.used_variables()}"

    def used_variables(self):
        text = json.dumps([self.panels, self.variables])
        return set(re.findall(r"\$\{?(\w+)\}?", text)) - {"__all"}

    def grid_faults(self):
        taken = {}
        ids = [panel["id"] for panel in self.panels]
        if len(set(ids)) != len(ids) or not all(isinstance(i, int) and i > 0 for i in ids):
            yield f"ids of panels: {ids}"
        for panel in self.panels:
            place = panel["gridPos"]
            if place["x"] < 0 or place["w"] < 1 or place["x"] + place["w"] > GRAFANA_COLUMNS:
                yield f"{panel['title']} is out of the grid"
            for x, y in itertools.product(range(place["x"], place["x"] + place["w"]),
                                          range(place["y"], place["y"] + place["h"])):
                if (x, y) in taken:
                    yield f"{panel['title']} covers {taken[x, y]}"
                    break
                taken[x, y] = panel["title"]

    def panel_faults(self, panel):
        title = panel["title"]
        if panel["type"] not in GRAFANA_PANELS:
            yield f"{title}: type {panel['type']}"
        if not panel["fieldConfig"]["defaults"].get("unit"):
            yield f"{title}: no unit"
        if not panel.get("description") or not isinstance(panel["options"], dict):
            yield f"{title}: no description or no options"
        refs = [target["refId"] for target in panel["targets"]]
        if not refs or len(set(refs)) != len(refs):
            yield f"{title}: queries {refs}"
        for part in (panel, *panel["targets"]):
            if part["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
                yield f"{title}: data source {part['datasource']}"
        for target in panel["targets"]:
            if target["expr"].count("(") != target["expr"].count(")") or not self.selectors(
                    target["expr"]):
                yield f"{title}: {target['expr']}"
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            if shown and not {"instance", "twamp"} <= shown:
                yield f"{title}: series of several hosts have one name"
            counted = "_total" in target["expr"]
            if counted != bool(re.match(r".*\b(rate|increase)\(", target["expr"])):
                yield f"{title}: a sum is shown as a value, or a value as a sum"

    def queries(self):
        """(title, expression, labels that its legend shows) of every panel."""
        for panel in self.shown:
            for target in panel["targets"]:
                yield (panel["title"], target["expr"],
                       set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])))

    def lists(self):
        """(variable, selector, label) of what the user chooses from."""
        for variable in self.variables:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
                yield variable["name"], found.group(1), found.group(2)

    def filled_in(self, text):
        """As Grafana sends it when all of everything is chosen."""
        values = {variable["name"]: variable.get("allValue", "") for variable in self.variables}
        values.update(GRAFANA_BUILT_IN)
        return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found.group(1)], text)

    @staticmethod
    def selectors(expression):
        """(metric, [(label, operator, value)]) of each selector."""
        return [(name, LABEL.findall(inside)) for name, inside in SELECTOR.findall(expression)]

    def missing(self, expression, samples):
        """Selectors of the expression, and single values that they name, that select nothing."""
        nothing = []
        for name, matchers in self.selectors(self.filled_in(expression)):
            for label, operator, value in matchers:
                wanted = alternatives(value) if operator == "=~" else None
                for one in wanted or [value]:
                    pinned = [m for m in matchers if m[0] != label]
                    pinned.append((label, "=" if wanted else operator, one))
                    if not select(samples, name, pinned):
                        nothing.append(f"{name}{{{label}={one}}}")
        return nothing


def select(samples, name, matchers):
    return [sample for sample in samples
            if sample.name == name and all(fits(sample.labels, *matcher) for matcher in matchers)]


def fits(labels, label, operator, value):
    text = labels.get(label, "")
    if operator in ("=~", "!~"):
        return (re.fullmatch(value, text) is not None) == (operator == "=~")
    return (text == value) == (operator == "=")


class Graphite:
    """What graphite-web saves and loads as a dashboard."""

    def __init__(self, text):
        self.state = json.loads(text)

    def faults(self):
        """What its JavaScript would stumble over (applyState in dashboard.js)."""
        state = self.state
        for key, kind in (("name", str), ("timeConfig", dict), ("refreshConfig", dict),
                          ("graphSize", dict), ("defaultGraphParams", dict), ("graphs", list)):
            if not isinstance(state.get(key), kind):
                yield f"{key} is not a {kind.__name__}"
        for key in ("type", "relativeStartQuantity", "relativeStartUnits", "relativeUntilQuantity",
                    "relativeUntilUnits", "startDate", "startTime", "endDate", "endTime"):
            if key not in state["timeConfig"]:
                yield f"timeConfig has no {key}"
        if not isinstance(state["refreshConfig"]["interval"], int):
            yield "refreshConfig has no interval"
        titles = []
        for identity, parameters, url in state["graphs"]:
            titles.append(parameters["title"])
            if identity != urllib.parse.urlencode({"target": parameters["target"]}, doseq=True):
                yield f"{parameters['title']}: identity is not that of its targets"
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
            if asked["target"] != parameters["target"] or asked["title"] != [parameters["title"]]:
                yield f"{parameters['title']}: URL is not that of its parameters"
            for target in parameters["target"]:
                several = len(parameters["target"]) > 1 or "{" in target
                if several and not re.search(r"aliasByNode\([^()]*,-1\)", target):
                    yield f"{parameters['title']}: its series have one name"
                if target.count("(") != target.count(")") or not self.patterns(target):
                    yield f"{parameters['title']}: {target}"
                unknown = set(re.findall(r"(\w+)\(", target)) - GRAPHITE_FUNCTIONS
                if unknown:
                    yield f"{parameters['title']}: functions {unknown}"
        if not titles or len(set(titles)) != len(titles):
            yield f"titles: {titles}"

    def targets(self):
        """(title, target) of every graph."""
        for _, parameters, _ in self.state["graphs"]:
            for target in parameters["target"]:
                yield parameters["title"], target

    @staticmethod
    def patterns(target):
        """The series that it names."""
        return re.findall(r"(?<=\()[\w*.{},-]+?\.twamp-[\w*.-]+(?:\{[^{}]*\}[\w.-]*)*", target)

    def missing(self, target, paths):
        """Patterns, one for each choice in { }, without a path that they are for."""
        nothing = []
        for pattern in self.patterns(target):
            choices = [part[1:-1].split(",") if part.startswith("{") else [part]
                       for part in re.findall(r"\{[^{}]*\}|[^{}]+", pattern)]
            for one in map("".join, itertools.product(*choices)):
                wanted = re.compile(re.escape(one).replace(r"\*", r"[^.]*"))
                if not any(map(wanted.fullmatch, paths)):
                    nothing.append(one)
        return nothing
