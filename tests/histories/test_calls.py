"""What calls were answered, against the history and against real time."""

from __future__ import annotations

import pytest

from compat.histories.linearizability import Replay, by_key
from compat.histories.record import (
    NEVER,
    Delete,
    Get,
    Guard,
    Put,
)
from compat.histories.timeline import Timeline
from compat.histories.violation import LINEARIZABILITY, LOST
from tests.histories.story import ONE, A, B, Story


def test_nothing_happened(story: Story) -> None:
    assert story.rules() == set()


def test_a_read_shows_what_was_put(story: Story) -> None:
    revision = story.put(0, A, b"1")
    (kv,) = story.history.last.values()
    story.call(1, 2, Get(A), revision=revision, shown=((kv,),))
    assert story.rules() == set()


def test_a_read_from_before_what_was_answered_is_stale(story: Story) -> None:
    story.put(0, A, b"1")
    story.call(1, 2, Get(A), revision=1, shown=((),))
    assert story.rules() == {LINEARIZABILITY}


def test_a_serializable_read_may_be_stale(story: Story) -> None:
    story.put(0, A, b"1")
    story.call(1, 2, Get(A), revision=1, shown=((),)).serializable = True
    assert story.rules() == set()


def test_a_read_beside_a_put_may_be_of_before(story: Story) -> None:
    story.put(0, A, b"1")
    story.call(0.05, 2, Get(A), revision=1, shown=((),))
    assert story.rules() == set()


def test_what_a_watcher_was_told_no_later_read_may_miss(story: Story) -> None:
    story.write((A, b"1"))
    story.call(0, 9, Put(A, b"1"), revision=2)
    story.watch(2, story.heard(1, 2))
    story.call(2, 3, Get(A), revision=1, shown=((),))
    assert story.rules() == {LINEARIZABILITY}


def test_a_new_header_over_old_keys_is_found(story: Story) -> None:
    story.put(0, A, b"1")
    old = story.history.last[A]
    story.put(1, A, b"2")
    story.call(2, 3, Get(A), revision=3, shown=((old,),))
    assert story.rules() == {LINEARIZABILITY}


def test_a_read_of_the_past_shows_the_past(story: Story) -> None:
    story.put(0, A, b"1")
    old = story.history.last[A]
    new = story.put(1, A, b"2")
    read = story.call(2, 3, Get(A, b"", 2), revision=new, shown=((old,),))
    assert story.rules() == set()
    read.results = ((story.history.last[A],),)
    assert story.rules() == {LINEARIZABILITY}


def test_an_answered_write_that_is_not_there_is_lost(story: Story) -> None:
    story.call(0, 1, Put(A, b"1"), revision=2)
    verdict = story.check()
    assert (verdict.lost, set(verdict.by_rule)) == (1, {LOST})


def test_an_answered_write_whose_revision_went_to_another_is_lost(story: Story) -> None:
    story.put(5, B, b"2")
    story.call(0, 1, Put(A, b"1"), revision=2)
    verdict = story.check()
    assert verdict.lost == 1
    assert verdict.by_rule[LOST] == 1


def test_a_read_of_what_is_gone_in_the_end_is_found(story: Story) -> None:
    story.put(0, A, b"1")
    story.call(1, 2, Get(B), revision=3, shown=((),))
    assert "what it saw is gone" in story.texts()


@pytest.mark.parametrize(("began", "rules"), [(0.5, {LINEARIZABILITY}), (1, set())])
def test_what_the_episode_began_with_has_been_seen(
    story: Story, began: float, rules: set[str]
) -> None:
    story.history.base_revision = story.history.last_revision = 5
    story.history.began = began
    story.call(1, 2, Get(A), revision=4, shown=((),))
    assert story.rules() == rules


@pytest.mark.parametrize("happened", [True, False])
def test_a_call_without_an_answer_may_have_happened(story: Story, happened: bool) -> None:
    if happened:
        story.write((A, b"1"))
    story.call(0, NEVER, Put(A, b"1"))
    assert story.rules() == set()


def test_a_call_without_an_answer_does_not_happen_before_it_began(story: Story) -> None:
    story.write((A, b"1"))
    story.watch(2, story.heard(1, 2))
    story.call(2, NEVER, Put(A, b"1"))
    assert story.rules() == {LINEARIZABILITY}


def test_a_call_without_an_answer_does_not_happen_twice(story: Story) -> None:
    story.write((A, b"1"))
    story.write((A, b"1"))
    story.call(0, NEVER, Put(A, b"1"))
    assert story.rules() == {LINEARIZABILITY}


def test_a_call_without_an_answer_happens_whole(story: Story) -> None:
    story.write((A, b"1"))
    story.call(0, NEVER, Put(A, b"1"), Put(B, b"2"))
    assert story.rules() == {LINEARIZABILITY}


def test_what_nobody_asked_for_is_found(story: Story) -> None:
    story.write((A, b"1"))
    assert story.rules() == {LINEARIZABILITY}


def test_a_swap_whose_guard_did_not_hold_is_found(story: Story) -> None:
    revision = story.put(0, A, b"1")
    story.write((A, b"2"))
    swap = story.call(1, 2, Put(A, b"2"), revision=3, shown=((story.history.log[2][0].kv,),))  # type: ignore[arg-type]
    swap.guards = (Guard(A, revision),)
    assert story.rules() == set()
    swap.guards = (Guard(A, 0),)
    assert story.rules() == {LINEARIZABILITY}


def test_a_revision_has_one_maker(story: Story) -> None:
    story.put(0, A, b"1")
    story.call(0, 1, Put(A, b"1"), revision=2)
    assert "was given to 2 calls" in story.texts()


def test_a_write_shows_what_was_there_before(story: Story) -> None:
    story.put(0, A, b"1")
    story.write((A, b"2"))
    story.call(1, 2, Put(A, b"2"), revision=3)
    assert "the answer does not fit" in story.texts()


def test_the_keys_at_the_end_are_those_of_the_history(story: Story) -> None:
    story.put(0, A, b"1")
    story.history.last[B] = ONE
    assert "the keys at the end" in story.texts()


def test_the_previous_key_of_the_account_is_looked_at(story: Story) -> None:
    story.put(0, A, b"1")
    story.history.log[2] = (story.history.log[2][0]._replace(prev=ONE),)
    assert "previous of" in story.texts()


def test_each_key_is_searched_by_itself(story: Story) -> None:
    story.put(0, A, b"1")
    story.put(1, B, b"2")
    story.call(2, 3, Get(A, b"c"), revision=3, shown=((story.history.last[A],),))
    (found,) = by_key(story.history, Replay(story.history), Timeline(story.history))
    assert found.text.startswith(f"key {B!r} has no order")


def test_a_missing_revision_is_found(story: Story) -> None:
    story.put(0, A, b"1")
    story.put(1, B, b"2")
    del story.history.log[2]
    assert LINEARIZABILITY in story.rules()


def test_a_version_that_does_not_follow_is_found(story: Story) -> None:
    story.write((A, b"1"))
    (event,) = story.history.log[2]
    assert event.kv is not None
    story.history.log[2] = (event._replace(kv=event.kv._replace(version=2)),)
    story.history.last[A] = event.kv._replace(version=2)
    story.call(0, NEVER, Put(A, b"1"))
    assert LINEARIZABILITY in story.rules()


def test_a_plain_delete_says_what_was_there(story: Story) -> None:
    story.put(0, A, b"1")
    old = story.history.last[A]
    story.write((A, None))
    delete = story.call(1, 2, Delete(A), revision=3, shown=((old,),))
    assert story.rules() == set()
    delete.results = ((),)
    assert LINEARIZABILITY in story.rules()
