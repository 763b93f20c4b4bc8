"""The example in the package's README runs as it is printed."""

from __future__ import annotations

import doctest
from pathlib import Path

import lease


def test_the_readme_says_what_happens() -> None:
    readme = Path(lease.__file__).with_name("README.md")
    failures, examples = doctest.testfile(str(readme), module_relative=False)
    assert examples > 0
    assert failures == 0
