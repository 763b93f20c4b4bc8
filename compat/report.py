"""Writes what a run of the whole suite gave to the page named by `--report`.

A run of a part, or against one target only, leaves the page as it was: it is to speak of one run.
"""

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from compat.clients import ETCDCTLS, ClientUnavailableError, etcdctl_version
from compat.differences import DIFFERENCES
from compat.targets import TARGETS
from compat.transcript import Transcript

_ORDER: Final = {
    "not run": 0,
    "passed": 1,
    "skipped": 2,
    "failed": 3,
}  # A test's worst phase counts.
_PYTHON_ETCD3: Final = "python-etcd3"

_HEAD: Final = """\
# Compatibility

Written by `make compat`, which runs unmodified clients against Tenure and, with the same
expectations, against etcd 3.5.1. compat/README.md says how.

"""


@dataclass(frozen=True)
class Scenario:
    """A row of the page. `place` (file and line) orders the rows as the suite is written."""

    area: str
    place: tuple[str, int, str]
    title: str


@dataclass
class Outcome:
    """What became of one scenario with one client against one target."""

    scenario: Scenario
    client: str
    target: str
    outcome: str = "not run"
    reason: str = ""


class Reporter:
    """Collects outcomes during a run, and writes the page if the run was of everything."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._outcomes: dict[str, Outcome] = {}
        self._whole = [Path(arg).resolve() for arg in config.args] == [Path(__file__).parent]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if isinstance(item, pytest.Function) and "target" in item.fixturenames:
                self._outcomes[item.nodeid] = _outcome(item)

    def pytest_deselected(self) -> None:
        self._whole = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = self._outcomes.get(report.nodeid)
        if outcome is None or _ORDER[outcome.outcome] >= _ORDER[report.outcome]:
            return
        outcome.outcome = report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            outcome.reason = report.longrepr[2].removeprefix("Skipped: ")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        page = self._config.getoption("--report")
        if not page:
            return
        if not self._whole or self._config.getoption("--target"):
            terminalreporter.write_line(f"{page} is left as it was: this was a part of the suite")
            return
        Path(page).write_text(render(list(self._outcomes.values()), _versions(), _today()))
        terminalreporter.write_line(f"{page} is written")


def _outcome(item: pytest.Function) -> Outcome:
    parameters: Mapping[str, object] = item.callspec.params
    line = parameters.get("etcdctl_line")
    area, client = ("etcdctl", f"etcdctl {line}") if line else (_PYTHON_ETCD3, _PYTHON_ETCD3)
    title = item.originalname.removeprefix("test_").replace("_", " ")
    file, line_number, _ = item.location
    place = (file, line_number or 0, "")
    path = parameters.get("path")
    if isinstance(path, Path):
        title, place = Transcript.read(path).title, (file, 0, path.name)
    elif extra := set(parameters) - {"etcdctl_line", "target"}:
        title += f" ({', '.join(str(parameters[name]) for name in sorted(extra))})"
    return Outcome(Scenario(area, place, title), client, str(parameters["target"]))


def _today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date()


def _versions() -> dict[str, str]:
    """The names in the columns, with what they stand for."""
    versions = {name: target.version() for name, target in TARGETS.items()}
    for line, locate in ETCDCTLS.items():
        try:
            versions[f"etcdctl {line}"] = f"etcdctl {etcdctl_version(locate())}"
        except ClientUnavailableError as error:
            versions[f"etcdctl {line}"] = f"etcdctl {line} ({error})"
    versions[_PYTHON_ETCD3] = (
        f"python-etcd3 {version('etcd3')}, with grpcio {version('grpcio')} and "
        f"protobuf {version('protobuf')}"
    )
    return versions


def render(outcomes: list[Outcome], versions: Mapping[str, str], day: datetime.date) -> str:
    """The whole page."""
    lines = [_HEAD + f"Run on {day.isoformat()} with", ""]
    lines += [f"- {text}" for text in versions.values()]
    for area in ("etcdctl", _PYTHON_ETCD3):
        chosen = [each for each in outcomes if each.scenario.area == area]
        lines += ["", f"## {area}", "", *_table(chosen)]
    reasons = sorted({each.reason for each in outcomes if each.reason})
    if reasons:
        lines += ["", "Skipped because:", "", *(f"- {reason}" for reason in reasons)]
    lines += ["", "## Meant differences from etcd 3.5.1", ""]
    lines += ["Tenure follows the newest patch of etcd's 3.6 line.", ""]
    for name, difference in DIFFERENCES.items():
        lines.append(f"- `{name}`: {difference.what} ({difference.since})")
    return "\n".join(lines) + "\n"


def _table(outcomes: list[Outcome]) -> Iterator[str]:
    """One row a scenario, one column a client and a target."""
    columns = sorted({(each.client, each.target) for each in outcomes}, reverse=True)
    cells = {(each.scenario, each.client, each.target): each.outcome for each in outcomes}
    titles = [f"{client} to {TARGETS[target].title}" for client, target in columns]
    yield f"| scenario | {' | '.join(titles)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for scenario in sorted({each.scenario for each in outcomes}, key=lambda row: row.place):
        row = [cells.get((scenario, *column), "not run") for column in columns]
        yield f"| {scenario.title} | {' | '.join(row)} |"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("compat").addoption("--report", help="the page to write the results to")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Reporter(config), "compat-reporter")
