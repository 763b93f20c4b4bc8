"""Early, late, revoked, and back again."""

from __future__ import annotations

import pytest

from compat.histories.checking import Promises
from compat.histories.record import (
    LEASE_NOT_FOUND,
    NEVER,
    Kind,
    Outage,
    Put,
)
from compat.histories.violation import EARLY, LATE, LEASE, LINEARIZABILITY
from tests.histories.story import LEASE_ID, A, B, Story


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
