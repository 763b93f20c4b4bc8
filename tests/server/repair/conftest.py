"""Where the stores of these tests are: in memory if there is room, for their many fsyncs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.power.support import scratch


@pytest.fixture
def room() -> Iterator[Path]:
    with scratch() as path:
        yield path


@pytest.fixture(scope="module")
def long_room() -> Iterator[Path]:
    with scratch() as path:
        yield path
