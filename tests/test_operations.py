"""The page for operators names every line of the log from warn on that the code can write."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from tools.gen_docs import ROOT

PAGE: Final = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
LEVELS: Final = {"warning": "warn", "error": "error", "exception": "error", "critical": "fatal"}
PACKAGES: Final = ("lease", "mvcc", "server")


def _said_by(source: str) -> Iterator[tuple[str, str]]:
    """Level and text of what a module logs, a `%s` as an ellipsis."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        level, at = LEVELS.get(name.removeprefix("logger."), ""), 0
        if name == "Remark":  # The command line says it once the log is set up.
            level, at = ("warn" if "WARNING" in ast.unparse(node.args[0]) else ""), 1
        elif not name.startswith("logger."):
            continue
        if level:
            yield level, ast.literal_eval(node.args[at]).replace("%s", "…")


def _in_code() -> set[tuple[str, str]]:
    return {
        said
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for said in _said_by(path.read_text(encoding="utf-8"))
    }


def _on_page() -> list[tuple[str, str]]:
    _, _, rest = PAGE.partition("<!-- log lines -->")
    table, _, _ = rest.partition("<!-- /log lines -->")
    return re.findall(r"^\| (\w+) \| `([^`]+)` \| \S.* \|$", table, re.MULTILINE)


def test_what_is_collected_is_what_modules_say() -> None:
    source = 'logger.warning("a %s", 1)\nlogger.info("b")\nRemark(logging.WARNING, "c", {})\n'
    assert set(_said_by(source)) == {("warn", "a …"), ("warn", "c")}


def test_each_line_from_warn_on_is_on_the_page_once_and_no_other() -> None:
    on_page = _on_page()
    assert sorted(set(on_page)) == sorted(_in_code())
    assert len(on_page) == len(set(on_page))


def test_the_pages_for_operators_lead_to_pages_and_files_that_are_there() -> None:
    for page in ("SECURITY.md", "docs/operations.md", "docs/threats.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)", text):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
        for target in re.findall(r"`((?:tests|server|fuzz|requirements)/[\w./]+)`", text):
            assert (ROOT / target).exists(), f"{page}: {target}"
