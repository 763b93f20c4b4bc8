"""Rules about the source that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("lease", "mvcc", "server", "tests", "compat", "bench", "fuzz", "tools")
LINES_MAX = 400  # A longer file holds more than one idea.

SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
PRODUCT = [
    path for path in SOURCES if path.relative_to(ROOT).parts[0] in ("lease", "mvcc", "server")
]
TEXTS = [
    path
    for path in (
        *SOURCES,
        *ROOT.glob("*.md"),
        *ROOT.glob("*.toml"),
        ROOT / "Makefile",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "requirements").glob("*"),
    )
    if path.is_file()
]
THIS = Path(__file__).resolve()


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _lines_with(pattern: str, paths: list[Path]) -> list[str]:
    return [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in paths
        if path != THIS  # It has to name what it forbids.
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_the_rules_see_the_source() -> None:
    names = {_name(path) for path in SOURCES}
    assert {"server/cli.py", "tests/support/clock.py", "tools/gen_docs.py"} <= names


def test_our_own_parts_are_never_mocked() -> None:
    """An in-memory backend, a fake clock and a real process are what tests are made of."""
    pattern = r"unittest\.mock|from unittest import|\bMagicMock\b|\bmocker\b|\bAsyncMock\b"
    assert _lines_with(pattern, SOURCES) == []


def test_nothing_is_decided_by_the_time_of_day() -> None:
    """A wall clock may be set back, and a lease must not notice."""
    allowed = {"server/app.py"}  # Reads it once, to make lease ids of one start unlike another's.
    paths = [path for path in PRODUCT if _name(path) not in allowed]
    assert _lines_with(r"\btime\.time(_ns)?\(|\bdatetime\.(now|today|utcnow)\(", paths) == []


def test_only_the_clock_reads_monotonic_time() -> None:
    """Below it time is an argument. Measuring how long something took is not reading the time."""
    allowed = {"server/clock.py"}
    paths = [path for path in PRODUCT if _name(path) not in allowed]
    assert _lines_with(r"\btime\.monotonic(_ns)?\(|\btime\.sleep\(|\bloop\.time\(", paths) == []


def test_only_the_command_line_prints() -> None:
    """ruff's T20 says so too, but can be silenced where it is broken."""
    printing = [
        f"{_name(path)}:{node.lineno}"
        for path in PRODUCT
        if _name(path) != "server/cli.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert printing == []


def test_nothing_is_left_to_be_done() -> None:
    assert _lines_with(r"\b(TODO|FIXME|XXX|HACK)\b", SOURCES) == []


def test_no_path_of_anybodys_machine_is_in_the_tree() -> None:
    """A path under a home or scratch directory means nothing to the next reader."""
    assert _lines_with(r"(?<![\w.])/(work|home|root|Users|tmp/\w+/)", TEXTS) == []


def test_no_requirement_says_where_packages_come_from() -> None:
    """An index belongs to the machine that installs."""
    requirements = sorted((ROOT / "requirements").glob("*"))
    assert requirements
    pattern = r"https?://|--(extra-)?index-url|--find-links|--trusted-host"
    assert _lines_with(pattern, requirements) == []


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_file_holds_one_idea(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LINES_MAX


@pytest.mark.parametrize(
    "path", [each for each in PRODUCT if each.name != "__init__.py"], ids=_name
)
def test_a_module_opens_with_what_is_always_true(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
