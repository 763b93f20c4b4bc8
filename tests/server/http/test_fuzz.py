"""A short run of the fuzzer; `make fuzz` lets many more clients come."""

from __future__ import annotations

import pytest

from fuzz import http1_fuzz


@pytest.mark.slow
def test_nothing_stays_behind_of_clients_that_send_nonsense_and_leave() -> None:
    counts = http1_fuzz.run(400, seed=1)
    assert min(counts.values()) > 0
    assert counts.keys() == {"clients", "requests", "frames", "answered", "not waited for"}
