"""The bounds that ARCHITECTURE.md names are constants of the modules that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
TABLE = PAGE.split("## Bounds")[1].split("\n## ")[0]
ROWS = [line.split("|")[2] for line in TABLE.splitlines() if line.startswith("| ")][1:]


def _named() -> list[tuple[str, str]]:
    """Module, as the page has it, and constant; one without a module is of the one before."""
    found = []
    for row in ROWS:
        module = ""
        for name in re.findall(r"`([\w.]+)`", row):
            before, _, last = name.rpartition(".")
            module = before or module
            if last.isupper() and module:
                found.append((module, last))
    return found


def test_the_table_has_bounds() -> None:
    assert len(_named()) > 30


@pytest.mark.parametrize(("module", "name"), _named())
def test_a_bound_is_a_constant_where_the_page_says(module: str, name: str) -> None:
    path = module.replace(".", "/") + ".py"
    files = [
        each
        for package in ("mvcc", "lease", "server")
        for each in (ROOT / package).rglob("*.py")
        if each.as_posix().endswith("/" + path)
    ]
    assert files, f"there is no {path}"
    assert any(
        re.search(rf"^{name}(: Final)? = ", each.read_text(encoding="utf-8"), re.MULTILINE)
        for each in files
    ), f"{path} has no {name}"
