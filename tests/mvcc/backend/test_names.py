"""Directories whose names survive a power cut. (That they do is shown by tests/power.)"""

from __future__ import annotations

from pathlib import Path

from mvcc.backend.names import make_directory


def test_a_directory_is_made_with_all_that_lead_to_it(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    make_directory(tmp_path / "a" / "b")
