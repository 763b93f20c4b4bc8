"""What the tests of the journal share."""

from __future__ import annotations

import pytest

from mvcc.backend import journal


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal's files grow by two blocks, not by a MiB."""
    monkeypatch.setattr(journal, "STEP_BYTES", 8192)
