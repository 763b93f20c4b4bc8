"""Fixtures: a history to tell."""

from __future__ import annotations

import pytest

from compat.histories.record import (
    Put,
)
from tests.histories.story import A, B, Story


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def watched(story: Story) -> Story:
    """Revisions 2 to 5: a, b, both, a."""
    story.put(0, A, b"1")
    story.put(1, B, b"2")
    olds = (story.history.last[A], story.history.last[B])
    both = story.write((A, b"3"), (B, b"4"))
    shown = tuple((old,) for old in olds)
    story.call(2, 3, Put(A, b"3"), Put(B, b"4"), revision=both, shown=shown)
    story.put(4, A, b"5")
    return story
