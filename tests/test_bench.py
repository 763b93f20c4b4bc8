"""What the bench writes, its table of the README reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import kernel, load, report, table
from bench.repeated import REPEATED
from bench.servers import ETCD, TENURE
from bench.varied import VARIED

RATE = "requests/s"


def section_with(ours: list[float], theirs: list[float], target: float) -> report.Section:
    section = report.Section(load.PLAIN, "what it did")
    figure = section.figure(
        "put, one key, 64 B 8x16", RATE, higher_is_better=True, ratio_target=target
    )
    for name, samples in ((TENURE, ours), (ETCD, theirs)):
        for sample in samples:
            figure.add(name, sample)
    return section


def test_a_row_of_the_table_holds_medians_ratio_target_and_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = section_with([200.0, 210.0, 220.0], [100.0, 105.0, 110.0], target=2.0)
    page = tmp_path / "page.md"
    page.write_text(report.markdown([section], [("title", "a run"), ("seed", "1")]))
    assert table.main([str(page)]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| put, one key | requests/s | 210 | 105 | 2 | >= 2x met "
        '| `load --levels 8x16 --only "put, one key, 64 B"` |'
    ]


def test_a_ratio_below_its_target_is_said_to_miss_it() -> None:
    section = section_with([199.0], [100.0], target=2.0)
    assert section.figures[0].goal() == ">= 2x MISSED"


def test_of_too_few_rounds_no_verdict_is_given_but_what_seems_behind_is_named() -> None:
    few = section_with([90.0, 80.0], [100.0, 100.0], target=2.0)
    enough = section_with([90.0, 80.0, 85.0], [100.0, 100.0, 100.0], target=2.0)
    name = f"put, one key, 64 B 8x16, {RATE} (Load)"
    page = report.markdown([few], [("title", "a run")])
    assert "- **Behind**: nowhere." in page
    assert f"not judged: 1 figures. Behind in the median: {name}." in page
    page = report.markdown([enough], [("title", "a run")])
    assert f"- **Behind**: {name}." in page
    assert "not judged" not in page


def test_the_table_replaces_what_stands_between_its_marks(tmp_path: Path) -> None:
    page, readme = tmp_path / "page.md", tmp_path / "README.md"
    section = section_with([200.0], [100.0], target=2.0)
    page.write_text(report.markdown([section], [("title", "a run")]))
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    assert table.main([str(page), "--write", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith(f"before\n{table.BEGIN}\n")
    assert text.endswith(f"{table.END}\nafter\n")
    assert "| 200 | 100 | 2 |" in text
    assert "old" not in text


def test_a_contender_beside_the_two_has_a_column_of_its_own() -> None:
    section = section_with([200.0], [100.0], target=2.0)
    section.figures[0].add("kine", 50.0)
    assert "| kine |" in report.markdown([section], [("title", "a run")])


def test_every_loads_row_of_the_table_is_a_workload_of_the_short_run() -> None:
    short = {each.name for each in (*REPEATED, *VARIED) if each.in_short}
    named = {
        row.figure.rpartition(" ")[0] for row in table.ROWS if row.section.startswith(load.PLAIN)
    }
    assert named == short
    assert {name.rpartition(" ")[0] for name in load.RATE_TARGETS} == short


def test_an_fsync_took_from_its_call_to_its_return_whatever_other_threads_do() -> None:
    """Lines as the kernel writes them (Documentation/trace/ftrace.rst)."""
    trace = """\
# tracer: nop
          python-12      [001] .....  100.000001: sys_fdatasync -> 0x0
          python-12      [001] .....  100.000100: sys_fdatasync(fd: 7)
   a name-with 3-13      [000] .....  100.000150: sys_fsync(fd: 9)
          python-14      [000] .....  100.000160: sys_fdatasync(fd: 7)
          python-12      [000] .....  100.000350: sys_fdatasync -> 0x0
   a name-with 3-13      [001] .....  100.001150: sys_fsync -> 0xfffffffffffffffb
          python-12      [000] .....  100.002000: sys_fdatasync(fd: 7)
"""
    took = kernel.durations(trace.splitlines(), {12, 13})
    assert [round(each * 1e6) for each in took] == [250, 1000]
