"""What watchers were told, and what is known and shown of it."""

from __future__ import annotations

import pytest

from compat.histories.checking import Promises
from compat.histories.record import (
    Event,
    Get,
    Heard,
)
from compat.histories.timeline import Timeline
from compat.histories.violation import WATCH, excerpt
from tests.histories.story import ONE, A, Story


def test_a_watcher_that_hears_all_is_content(watched: Story) -> None:
    watched.watch(
        2, watched.heard(5, 2), watched.heard(6, 3, 4), watched.heard(7, 5)
    ).is_whole = True
    watched.watch(3, watched.heard(5, 3), Heard(6, 3, ()), watched.heard(7, 4, 5))
    watched.watch(9, Heard(8, 5, ()))
    watched.watch(2)
    assert watched.rules() == set()


@pytest.mark.parametrize(
    "order",
    [
        [[2], [4]],
        [[2], [3], [5]],
        [[3]],
        [[4], [3], [2]],
        [[3, 2]],
        [[2, 3, 3]],
        [[2], [2], [3]],
    ],
)
def test_gaps_disorder_and_repetition_are_found(watched: Story, order: list[list[int]]) -> None:
    watched.watch(2, *(watched.heard(5 + n, *each) for n, each in enumerate(order)))
    assert watched.rules() == {WATCH}


def test_a_watcher_that_is_behind_in_the_end_is_found(watched: Story) -> None:
    watched.watch(2, watched.heard(5, 2, 3, 4)).is_whole = True
    assert watched.rules() == {WATCH}


def test_a_revision_is_not_split(watched: Story) -> None:
    both = watched.heard(6, 4)
    halves = [both._replace(events=(event,)) for event in both.events]
    watched.watch(4, *halves)
    assert watched.rules() == {WATCH}


def test_progress_ahead_of_events_is_found(watched: Story) -> None:
    watched.watch(2, watched.heard(5, 2), Heard(6, 4, ()), watched.heard(7, 3, 4))
    assert watched.rules() == {WATCH}
    assert watched.rules(Promises(progress_is_exact=False)) == set()


def test_progress_ahead_of_events_that_never_come_is_found(watched: Story) -> None:
    watched.watch(2, watched.heard(5, 2), Heard(6, 4, ()))
    assert watched.rules() == {WATCH}


def test_a_header_is_not_below_its_events(watched: Story) -> None:
    watched.watch(2, watched.heard(5, 2, 3, header=2))
    assert "header 2 below its events" in watched.texts()


def test_an_event_is_what_the_history_says(watched: Story) -> None:
    wrong = watched.heard(5, 2).events[0]._replace(kv=ONE._replace(value=b"wrong"))
    watched.watch(2, Heard(5, 2, (wrong,)))
    assert watched.rules() == {WATCH}


@pytest.mark.parametrize(("at", "rules"), [(8.9, {WATCH}), (9, set())])
def test_an_event_is_there_in_the_end(watched: Story, at: float, rules: set[str]) -> None:
    watched.history.ended = 9
    gone = Event(6, A, ONE._replace(mod=6))
    watched.watch(6, Heard(at, 6, (gone,)))
    assert watched.rules() == rules


def test_who_asks_for_the_previous_key_gets_it(watched: Story) -> None:
    told = watched.history.log[5]
    watched.watch(5, Heard(6, 5, told), prev_kv=True)
    assert watched.rules() == set()
    watched.watch(5, watched.heard(6, 5), prev_kv=True)
    assert watched.rules() == {WATCH}


def test_keys_that_were_not_asked_for_are_found(watched: Story) -> None:
    watched.watch(3, watched.heard(5, 3), key=A)
    assert watched.rules() == {WATCH}


def test_a_watcher_of_one_key_hears_of_that(watched: Story) -> None:
    both = watched.heard(6, 4)
    watched.watch(3, both._replace(events=both.events[:1]), watched.heard(7, 5), key=A)
    assert watched.rules() == set()


def test_a_cancellation_is_found(watched: Story) -> None:
    watched.watch(2).refusal = "compacted"
    assert watched.rules() == {WATCH}


def test_when_a_revision_came_is_known_from_both_sides(watched: Story) -> None:
    watched.call(3.5, 3.6, Get(b"c"), revision=4, shown=((),))
    watched.history.ended, watched.history.last_revision = 9, 5
    timeline = Timeline(watched.history)
    assert timeline.seen_by(2) == 0.1
    assert timeline.seen_by(4) == 3
    assert timeline.unseen_until(5) == 3.5
    assert timeline.unseen_until(4) == 1


def test_an_excerpt_shows_the_calls_around(watched: Story) -> None:
    watched.call(6, 7, Get(A), revision=4, shown=((),))
    violation = watched.check().violations[0]
    lines = excerpt(watched.history, violation)
    assert any(line.startswith("6.0000..7.0000 client 1") for line in lines)
