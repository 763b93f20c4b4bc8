"""Turns the results of the last runs into docs/compatibility.md.

Each run keeps its results in pytest's cache, a set for each target; a run of a part replaces only that part.
With `--report FILE` the page is written from what the cache holds then.
"""

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from compat.clients import ETCDCTLS, ClientUnavailableError, etcdctl_version
from compat.differences import DIFFERENCES
from compat.targets import TARGETS
from compat.transcript import Transcript

_CACHE: Final = "compat/results"
_ORDER: Final = {"failed": 2, "skipped": 1, "passed": 0}  # The worst of a test's phases counts.
_PYTHON_ETCD3: Final = "python-etcd3"

_HEAD: Final = """\
# Compatibility

Written by `make compat`, which runs unmodified clients against Tenure and, with the same expectations, against
etcd 3.5.1. compat/README.md says how.

"""


@dataclass(frozen=True)
class Outcome:
    """What became of one scenario with one client on one target."""

    area: str
    scenario: str
    client: str
    target: str
    outcome: str
    reason: str


class Reporter:
    """Collects outcomes during a run, and renders all that are known after it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._outcomes: dict[str, Outcome] = {}
        self._about: dict[str, tuple[str, str, str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if isinstance(item, pytest.Function) and "target" in item.fixturenames:
                self._about[item.nodeid] = _about(item)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        about = self._about.get(report.nodeid)
        known = self._outcomes.get(report.nodeid)
        if about is None or (known and _ORDER[known.outcome] >= _ORDER[report.outcome]):
            return
        reason = ""
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
        self._outcomes[report.nodeid] = Outcome(*about, report.outcome, reason)

    def pytest_sessionfinish(self) -> None:
        if self._config.cache is None:
            return
        kept = self._config.cache.get(_CACHE, {})
        kept |= {nodeid: asdict(outcome) for nodeid, outcome in self._outcomes.items()}
        self._config.cache.set(_CACHE, kept)
        page = self._config.getoption("--report")
        if page:
            outcomes = [Outcome(**fields) for fields in kept.values()]
            Path(page).write_text(render(outcomes, _versions(), _today()))


def _about(item: pytest.Function) -> tuple[str, str, str, str]:
    """Area, scenario, client and target of a test."""
    parameters: Mapping[str, object] = item.callspec.params
    line = parameters.get("etcdctl_line")
    client = f"etcdctl {line}" if line else _PYTHON_ETCD3
    path = parameters.get("path")
    if isinstance(path, Path):
        return "etcdctl", Transcript.read(path).title, client, str(parameters["target"])
    scenario = item.originalname.removeprefix("test_").replace("_", " ")
    area = "etcdctl" if line else _PYTHON_ETCD3
    return area, scenario, client, str(parameters["target"])


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
    lines = [_HEAD + f"Last run on {day.isoformat()}, with", ""]
    lines += [f"- {text}" for text in versions.values()]
    for area in ("etcdctl", _PYTHON_ETCD3):
        lines += ["", f"## {area}", "", *_table([each for each in outcomes if each.area == area])]
    reasons = sorted({each.reason for each in outcomes if each.reason})
    if reasons:
        lines += ["", "Skipped because:", "", *(f"- {reason}" for reason in reasons)]
    lines += ["", "## Meant differences from etcd 3.5.1", ""]
    lines += ["Tenure follows the newest patch of etcd's 3.6 line.", ""]
    for name, difference in DIFFERENCES.items():
        lines.append(f"- `{name}`: {difference.what} ({difference.since})")
    return "\n".join(lines) + "\n"


def _table(outcomes: list[Outcome]) -> Iterator[str]:
    columns = sorted({(each.client, each.target) for each in outcomes}, reverse=True)
    cells = {(each.scenario, each.client, each.target): each.outcome for each in outcomes}
    yield "| scenario | " + " | ".join(f"{client}, {target}" for client, target in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for scenario in dict.fromkeys(each.scenario for each in outcomes):
        row = [cells.get((scenario, *column), "") for column in columns]
        yield f"| {scenario} | {' | '.join(row)} |"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("compat").addoption("--report", help="the page to write the results to")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Reporter(config), "compat-reporter")
