"""A short run of the fuzzer; `make fuzz` runs a million steps."""

from __future__ import annotations

import pytest

from fuzz import h2_fuzz


@pytest.mark.slow
def test_the_core_holds_its_own_against_damaged_frames_and_an_honest_peer() -> None:
    counts = h2_fuzz.run(20_000, seed=1)
    assert min(counts.values()) > 0
