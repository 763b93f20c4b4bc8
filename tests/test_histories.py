"""The checker of histories tells right from wrong: each rule by a history of a few lines."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from compat.histories import search
from compat.histories.checking import Promises, Verdict, check
from compat.histories.linearizability import Replay, by_key
from compat.histories.model import change
from compat.histories.record import (
    KV,
    LEASE_NOT_FOUND,
    NEVER,
    Call,
    Delete,
    Event,
    Get,
    Guard,
    Heard,
    History,
    Kind,
    Operation,
    Outage,
    Put,
    Watch,
)
from compat.histories.search import KeyOp, UndecidedError, is_linearizable
from compat.histories.timeline import Timeline
from compat.histories.violation import EARLY, LATE, LEASE, LINEARIZABILITY, LOST, WATCH, excerpt

A, B = b"a", b"b"
LEASE_ID = 7
ALL = b"\0"


@dataclass
class Story:
    """A history in the making: `write` makes the next revision, the rest says who saw what."""

    history: History = field(default_factory=lambda: History(1, {}))

    def write(self, *changes: tuple[bytes, bytes | None], lease: int = 0) -> int:
        """Put values, or delete where there is None; returns the revision."""
        history = self.history
        history.last_revision = max(1, history.last_revision) + 1
        revision, keys = history.last_revision, history.last
        events = []
        for key, value in changes:
            old = keys.get(key)
            kv = None
            if value is not None:
                create, version = (old.create, old.version + 1) if old else (revision, 1)
                kv = KV(key, value, create, revision, version, lease)
            events.append(Event(revision, key, kv, old))
        history.log[revision] = tuple(events)
        change(keys, events)
        return revision

    def call(
        self,
        invoke: float,
        done: float,
        *then: Operation,
        revision: int = 0,
        shown: tuple[tuple[KV, ...], ...] = (),
    ) -> Call:
        """A KV call; nothing shown is what writes to new keys say."""
        results = shown or tuple(() for _ in then)
        call = Call(1, Kind.KV, invoke, done, then=then, revision=revision, results=results)
        self.history.calls.append(call)
        return call

    def put(self, at: float, key: bytes, value: bytes, lease: int = 0) -> int:
        """One that takes a tenth of a second and is answered as it should be."""
        old = self.history.last.get(key)
        revision = self.write((key, value), lease=lease)
        shown = ((old,),) if old is not None else ()
        self.call(at, at + 0.1, Put(key, value, lease), revision=revision, shown=shown)
        return revision

    def lease(
        self, kind: Kind, invoke: float, done: float, ttl: int = 0, revision: int = 1
    ) -> Call:
        call = Call(2, kind, invoke, done, lease=LEASE_ID, ttl=ttl, revision=revision)
        self.history.calls.append(call)
        return call

    def watch(self, start: int, *heard: Heard, key: bytes = ALL, prev_kv: bool = False) -> Watch:
        watch = Watch("w", key, ALL if key == ALL else b"", start, prev_kv, list(heard))
        self.history.watches.append(watch)
        return watch

    def heard(self, at: float, *revisions: int, header: int = 0) -> Heard:
        """What a watcher without prev_kv is told."""
        events = tuple(
            event._replace(prev=None)
            for revision in revisions
            for event in self.history.log[revision]
        )
        return Heard(at, header or max(revisions), events)

    def check(self, promises: Promises | None = None) -> Verdict:
        self.history.last_revision = max(1, self.history.last_revision)
        self.history.ended = self.history.ended or 1000.0
        return check(self.history, promises)

    def texts(self) -> str:
        return "\n".join(each.text for each in self.check().violations)

    def rules(self, promises: Promises | None = None) -> set[str]:
        return set(self.check(promises).by_rule)


@pytest.fixture
def story() -> Story:
    return Story()


# --- calls ---


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


# --- the search ---

ONE = KV(A, b"1", 2, 2, 1, 0)
TWO = KV(A, b"2", 2, 3, 2, 0)


def write(invoke: float, done: float, kv: KV | None, revision: int = 0, must: bool = True) -> KeyOp:
    return KeyOp(invoke, done, revision, writes=kv, is_write=True, must=must)


def read(invoke: float, done: float, kv: KV | None, revision: int = 0) -> KeyOp:
    return KeyOp(invoke, done, revision, sees=kv, is_seen=True)


@pytest.mark.parametrize(
    "operations",
    [
        [],
        [write(0, 1, ONE), read(2, 3, ONE)],
        [write(0, 9, ONE), read(1, 2, None), read(3, 4, ONE)],
        [write(0, 9, ONE), write(0, 9, TWO), read(1, 2, TWO), read(3, 4, ONE)],
        [write(0, NEVER, ONE, must=False), read(5, 6, None), read(7, 8, ONE)],
        [write(0, NEVER, ONE, must=False), read(5, 6, None)],
        [write(0, 9, ONE, 2), write(0, 9, TWO, 3), read(1, 2, ONE, 2), read(1, 2, TWO, 3)],
        [write(0, 9, ONE, 2), read(1, 2, None, 1)],
    ],
)
def test_an_order_is_found(operations: list[KeyOp]) -> None:
    assert is_linearizable(operations, None, 1)


@pytest.mark.parametrize(
    "operations",
    [
        [read(0, 1, ONE)],
        [write(0, 1, ONE), read(2, 3, None)],
        [write(0, 9, ONE), read(1, 2, ONE), read(3, 4, None)],
        [write(0, 1, ONE), write(2, 3, TWO), read(4, 5, ONE)],
        [write(2, NEVER, ONE, must=False), read(0, 1, ONE)],
        [write(0, 9, ONE), write(0, 9, TWO), read(1, 2, ONE), read(3, 4, TWO), read(5, 6, ONE)],
        [write(0, 1, TWO, 3), write(2, 3, ONE, 2)],
        [write(0, 9, ONE, 2), read(1, 2, ONE, 1)],
        [write(0, 9, ONE, 2), write(0, 9, TWO, 2)],
    ],
)
def test_no_order_is_invented(operations: list[KeyOp]) -> None:
    assert not is_linearizable(operations, None, 1)


def test_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "STEPS_MAX", 10)
    maybe = [write(0, NEVER, ONE._replace(version=each), must=False) for each in range(20)]
    with pytest.raises(UndecidedError):
        is_linearizable([*maybe, read(1, 2, TWO)], None, 1)


def test_what_was_tried_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "STEPS_MAX", 2**11)  # There are 10! orders, and 2**10 subsets.
    maybe = [write(0, NEVER, ONE, must=False) for _ in range(10)]
    assert not is_linearizable([*maybe, read(1, 2, TWO)], None, 1)


# --- leases ---


def expire(story: Story, at: float) -> int:
    """The lease's keys go, and a watcher sees it at that instant."""
    gone = [(key, None) for key, kv in sorted(story.history.last.items()) if kv.lease == LEASE_ID]
    revision = story.write(*gone)
    story.watch(revision, story.heard(at, revision))
    return revision


@pytest.fixture
def leased(story: Story) -> Story:
    """A lease of 5 s, granted between 10 and 11, with two keys."""
    story.lease(Kind.GRANT, 10, 11, 5)
    story.put(11, A, b"1", LEASE_ID)
    story.put(12, B, b"2", LEASE_ID)
    return story


@pytest.mark.parametrize(("seen_at", "rules"), [(14.9, {EARLY}), (15, set()), (16, set())])
def test_a_lease_lives_from_when_it_was_asked_for(
    leased: Story, seen_at: float, rules: set[str]
) -> None:
    expire(leased, seen_at)
    assert leased.rules() == rules


def test_a_renewal_that_was_answered_counts(leased: Story) -> None:
    leased.lease(Kind.RENEW, 14, 14.5, 5, 3)
    expire(leased, 18)
    assert leased.rules() == {EARLY}


def test_a_renewal_without_an_answer_is_no_promise(leased: Story) -> None:
    leased.lease(Kind.RENEW, 14, NEVER)
    expire(leased, 18)
    verdict = leased.check()
    assert (verdict.violations, verdict.expiries) == ([], 0)


@pytest.mark.parametrize("kind", [Kind.RENEW, Kind.TTL])
def test_who_is_told_that_it_is_gone_can_tell_that_it_was_early(story: Story, kind: Kind) -> None:
    story.lease(Kind.GRANT, 10, 11, 5)
    story.lease(kind, 13, 14, 0 if kind is Kind.RENEW else -1)
    assert story.rules() == {EARLY}


def test_so_can_whose_put_is_refused(story: Story) -> None:
    story.lease(Kind.GRANT, 10, 11, 5)
    story.call(13, 14, Put(A, b"1", LEASE_ID)).refusal = LEASE_NOT_FOUND
    assert story.rules() == {EARLY}


@pytest.mark.parametrize(("seen_at", "rules"), [(16.9, {EARLY}), (17, set())])
def test_what_is_said_to_be_left_is_left(leased: Story, seen_at: float, rules: set[str]) -> None:
    leased.lease(Kind.RENEW, 12, NEVER)
    leased.lease(Kind.TTL, 13, 13.5, 4, 3)
    expire(leased, seen_at)
    assert leased.rules() == rules


@pytest.mark.parametrize(("listed", "rules"), [(14, {EARLY}), (15, set())])
def test_a_lease_is_listed_while_it_lives(leased: Story, listed: float, rules: set[str]) -> None:
    leased.history.ended = leased.history.listed = listed
    assert leased.rules() == rules
    leased.history.leases = frozenset({LEASE_ID})
    assert leased.rules() == set()


@pytest.mark.parametrize("done", [13.0, NEVER])
def test_a_lease_that_was_revoked_is_not_early(leased: Story, done: float) -> None:
    revoke = leased.lease(Kind.REVOKE, 12.5, done)
    revision = expire(leased, 13)
    revoke.revision = revision if done < NEVER else 0
    assert leased.rules() == set()


def test_a_lease_does_not_come_back(leased: Story) -> None:
    expire(leased, 16)
    leased.lease(Kind.RENEW, 17, 18, 5, 4)
    assert LEASE in leased.rules()


def test_all_keys_of_a_lease_go_at_once(leased: Story) -> None:
    revision = leased.write((A, None))
    leased.watch(revision, leased.heard(16, revision))
    assert leased.rules() == {LINEARIZABILITY}


def test_other_keys_do_not_go_with_a_lease(leased: Story) -> None:
    leased.put(13, b"c", b"3")
    leased.write((A, None), (B, None), (b"c", None))
    assert LINEARIZABILITY in leased.rules()


def test_no_key_outlives_the_revoke_of_its_lease(leased: Story) -> None:
    leased.lease(Kind.REVOKE, 13, 14, revision=3)
    assert leased.rules() == {LEASE}


def test_no_key_is_put_with_a_lease_after_its_revoke(leased: Story) -> None:
    revoke = leased.lease(Kind.REVOKE, 13, 14)
    revoke.revision = expire(leased, 13.5)
    leased.put(15, A, b"3", LEASE_ID)
    assert "after its revoke" in leased.texts()


def test_lateness_counts_from_the_last_answer(leased: Story) -> None:
    leased.lease(Kind.RENEW, 14, 14.5, 5, 3)
    expire(leased, 20)
    verdict = leased.check()
    assert (verdict.lateness_s, verdict.expiries) == (0.5, 1)
    assert leased.rules(Promises(late_max_s=0.4)) == {LATE}


def test_one_that_never_goes_is_late_too(leased: Story) -> None:
    leased.history.leases = frozenset({LEASE_ID})
    leased.history.ended = 20
    assert leased.check().lateness_s == 4


@pytest.mark.parametrize(
    ("outage", "keeps_remaining", "late_s"),
    [
        (Outage(15, 19, is_restart=False), False, 1),  # Due at 16, stopped until 19.
        (Outage(12, 14, is_restart=False), False, 4),
        (Outage(12, 14, is_restart=True), True, 2),  # The clock of leases stood still.
        (Outage(12, 14, is_restart=True), False, 1),  # The full TTL again from 14.
        (Outage(15, 18, is_restart=True), True, 1),
        (Outage(17, 18, is_restart=True), True, 3),
        (Outage(5, 8, is_restart=True), True, 4),
        (Outage(5, 8, is_restart=True), False, 4),
    ],
)
def test_time_without_a_server_is_not_late(
    leased: Story, outage: Outage, keeps_remaining: bool, late_s: float
) -> None:
    leased.history.outages.append(outage)
    expire(leased, 20)
    verdict = leased.check(Promises(keeps_remaining=keeps_remaining))
    assert verdict.violations == []
    assert verdict.lateness_s == late_s


# --- watchers ---


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


# --- instants, and what is shown of a violation ---


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


def test_a_plain_delete_says_what_was_there(story: Story) -> None:
    story.put(0, A, b"1")
    old = story.history.last[A]
    story.write((A, None))
    delete = story.call(1, 2, Delete(A), revision=3, shown=((old,),))
    assert story.rules() == set()
    delete.results = ((),)
    assert LINEARIZABILITY in story.rules()
