"""What became of each scenario: collected in a suite's process, read back by the one that reports.

A scenario's title is its test's name, or the first line of the file that the test is about.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import pytest

from compat.programs import Scenario
from compat.suites import SUITES

# A test's worst phase counts.
_ORDER: Final = {"not run": 0, "passed": 1, "skipped": 2, "failed": 3}
_DIMENSIONS: Final = {"etcdctl_line", "target", "wire"}

VERSIONS = pytest.StashKey[list[str]]()  # What a suite's clients are, set by its conftest.


@dataclass
class Outcome:
    """What became of one scenario with one client, against one target and over one wire.

    `place` (file, line, name) orders scenarios as the suite is written.
    """

    suite: str
    client: str
    target: str
    wire: str
    title: str
    place: tuple[str, int, str]
    outcome: str = "not run"
    reason: str = ""


@dataclass
class Record:
    """What one process did."""

    versions: list[str]
    outcomes: list[Outcome]

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def merged(cls, paths: Iterable[Path]) -> Self:
        """All records of a run as one; a process that died has left none."""
        merged = cls([], [])
        for path in paths:
            if path.exists():
                read = json.loads(path.read_text())
                merged.versions += [
                    each for each in read["versions"] if each not in merged.versions
                ]
                for fields in read["outcomes"]:
                    merged.outcomes.append(Outcome(**fields | {"place": tuple(fields["place"])}))
        return merged


class Recorder:
    """Collects outcomes during a run, and writes them at its end."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._path = path
        self._outcomes: dict[str, Outcome] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            if isinstance(item, pytest.Function) and "target" in item.fixturenames:
                self._outcomes[item.nodeid] = _outcome(item)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = self._outcomes.get(report.nodeid)
        if outcome is None or _ORDER[outcome.outcome] >= _ORDER[report.outcome]:
            return
        outcome.outcome = report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            outcome.reason = report.longrepr[2].removeprefix("Skipped: ")

    def pytest_sessionfinish(self) -> None:
        versions = self._config.stash.get(VERSIONS, [])
        Record(versions, list(self._outcomes.values())).write(self._path)


def _outcome(item: pytest.Function) -> Outcome:
    parameters: Mapping[str, object] = item.callspec.params
    suite = SUITES[item.path.parent.name]
    title = item.originalname.removeprefix("test_").replace("_", " ")
    file, line_number, _ = item.location
    place = (file, line_number or 0, "")
    path, scenario = parameters.get("path"), parameters.get("scenario")
    if isinstance(path, Path):
        title, place = _first_line(path), (file, 0, path.name)
    elif isinstance(scenario, Scenario):
        title, place = scenario.title, (file, line_number or 0, scenario.name)
    elif extra := set(parameters) - _DIMENSIONS:
        title += f" ({', '.join(str(parameters[name]) for name in sorted(extra))})"
    line = parameters.get("etcdctl_line")
    return Outcome(
        suite=suite.folder,
        client=f"{suite.title} {line}" if line else suite.title,
        target=str(parameters["target"]),
        wire=str(parameters.get("wire", "plain")),  # A test may have servers of its own.
        title=title,
        place=place,
    )


def _first_line(path: Path) -> str:
    """What a file says that it is about."""
    return path.read_text().partition("\n")[0].removeprefix("# ")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("compat").addoption("--outcomes", help="the file to write the outcomes to")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--outcomes")
    if path:
        config.pluginmanager.register(Recorder(config, Path(path)), "compat-recorder")
