"""Who asks, and what it may: what the matrix of methods does not tell."""

from __future__ import annotations

import pytest

from etcdpb.auth_pb2 import Permission
from lease.lessor import LeaseID, Lessor
from mvcc.backend.base import Column
from server.auth import changes, errors
from server.auth.caller import THE_SERVER
from server.auth.gate import Gate
from server.auth.principal import KEYS_LOOKED_AT_MAX, Principal
from server.auth.store import ROOT
from server.auth.tokens import SimpleTokens
from server.recovery import StoreLeaseBucket
from tests.server.auth.support import Disk
from tests.support.calls import Answer

L1 = LeaseID(1)
MANY = KEYS_LOOKED_AT_MAX + 1


class World:
    """Ann may read and write below `a/`."""

    def __init__(self, *, takes_names: bool = False) -> None:
        self.disk = Disk()
        granted = Permission(permType=Permission.READWRITE, key=b"a/", range_end=b"a0")
        self.disk.role("role", granted)
        self.disk.user("ann", "role")
        self.disk.user(ROOT, ROOT)
        self.lessor = Lessor(
            StoreLeaseBucket(self.disk.store), self.disk.store.write_txn, ttl_min=1, revoke_rate=0
        )
        self.lessor.promote(0, now=0)
        self.tokens = SimpleTokens(10)
        self.gate = Gate(
            self.disk.auth,
            self.lessor,
            self.tokens,
            lambda: 0.0,
            takes_names_of_certificates=takes_names,
        )

    def principal(self, name: str, revision: int | None = None) -> Principal:
        used = self.disk.auth.revision if revision is None else revision
        return Principal(self.disk.auth, self.lessor, self.gate.verdicts, name, used)

    def lease(self, *keys: bytes) -> None:
        with self.disk.batch():
            self.lessor.grant(L1, 60, now=0)
        self.lessor.attach(L1, keys)


def _caller(*, token: str | None = None, cn: str | None = None) -> Answer:
    class Caller(Answer):
        peer_cn = cn

    caller = Caller()
    caller.token = token
    return caller


def test_a_token_counts_before_a_name_and_a_bad_one_is_not_made_good_by_it() -> None:
    world = World(takes_names=True)
    token = world.gate.issue(ROOT, 1)
    assert world.gate.principal(_caller(token=token, cn="ann")).name == ROOT
    assert world.gate.principal(_caller(token=f"Bearer {token}")).name == ROOT
    assert world.gate.principal(_caller(cn="ann")).name == "ann"
    with pytest.raises(errors.InvalidTokenError):
        world.gate.principal(_caller(token="x.1", cn="ann"))
    with pytest.raises(errors.UserEmptyError):
        world.gate.principal(_caller()).must_be_somebody()


def test_a_name_counts_only_where_certificates_were_asked_for() -> None:
    world = World(takes_names=False)
    with pytest.raises(errors.UserEmptyError):
        world.gate.principal(_caller(cn=ROOT)).must_be_root()


def test_a_name_that_no_user_has_may_nothing_and_is_told_so() -> None:
    """IsAdminPermitted and isOpPermitted in server/auth/store.go."""
    stranger = World().principal("stranger")
    stranger.must_be_somebody()
    with pytest.raises(errors.UserNotFoundError):
        stranger.must_be_root()
    with pytest.raises(errors.PermissionDeniedError):
        stranger.must_read(b"a/1")


def test_an_old_revision_is_refused_and_one_of_the_future_only_for_reads() -> None:
    """doSerialize in server/etcdserver/v3_server.go wants the very revision."""
    world = World()
    now = world.disk.auth.revision
    with pytest.raises(errors.OldAuthRevisionError):
        world.principal("ann", now - 1).must_write(b"a/1")
    with pytest.raises(errors.OldAuthRevisionError):
        world.principal(ROOT, now - 1).must_write(b"a/1")
    world.principal(ROOT, now - 1).must_be_root()
    world.principal("ann", now + 1).must_write(b"a/1")
    for revision in (now - 1, now + 1):
        with pytest.raises(errors.OldAuthRevisionError):
            world.principal("ann", revision).must_be_current()
    world.principal("ann", now).must_be_current()
    world.gate.principal(THE_SERVER).must_be_current()


def test_the_server_itself_may_everything() -> None:
    world = World()
    world.lease(b"b", b"c")
    server = world.gate.principal(THE_SERVER)
    server.must_be_somebody()
    server.must_be_root()
    server.must_read(b"\0", b"\0")
    server.must_write(b"b")
    server.must_end(L1)
    server.must_read_keys_of(world.lessor.leases())


@pytest.mark.parametrize("count", [1, 2, KEYS_LOOKED_AT_MAX, MANY])
def test_one_key_that_it_may_not_write_keeps_a_user_from_a_lease(count: int) -> None:
    world = World()
    own = [b"a/%d" % number for number in range(count - 1)]
    world.lease(*own, b"b")
    ann = world.principal("ann")
    with pytest.raises(errors.PermissionDeniedError):
        ann.must_end(L1)
    with pytest.raises(errors.PermissionDeniedError):
        ann.must_read_keys_of(world.lessor.leases())
    world.principal(ROOT).must_end(L1)
    world.lessor.detach(L1, [b"b"])
    world.gate.verdicts.moved(b"b", L1, 0)
    ann.must_end(L1)
    ann.must_read_keys_of(world.lessor.leases())


def test_only_a_lease_with_many_keys_is_counted() -> None:
    world = World()
    world.lease(*(b"a/%d" % number for number in range(KEYS_LOOKED_AT_MAX)))
    world.principal("ann").must_end(L1)
    assert len(world.gate.verdicts) == 0
    world.lessor.attach(L1, [b"a/more"])
    world.principal("ann").must_end(L1)
    assert len(world.gate.verdicts) == 1
    world.principal(ROOT).must_end(L1)
    assert len(world.gate.verdicts) == 1


def test_a_lease_without_keys_is_anybodys_even_with_an_old_token() -> None:
    world = World()
    world.lease()
    world.principal("ann", 1).must_end(L1)
    world.principal("ann", 1).must_end(LeaseID(9))
    world.lessor.attach(L1, [b"a/1"])
    with pytest.raises(errors.OldAuthRevisionError):
        world.principal("ann", 1).must_end(L1)


def test_what_users_may_do_is_settled_once_it_is_durable() -> None:
    disk = Disk()
    disk.auth.durable_revision = disk.auth.revision
    assert disk.auth.is_settled
    disk.make(changes.add_role(disk.auth, "role"))
    assert not disk.auth.is_settled
    assert disk.backend.get(Column.AUTH_ROLES, b"role") is not None
