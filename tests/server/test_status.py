"""Text is API: code and message of every refusal, held to what etcd sends."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Final

import pytest

import lease
import mvcc
import server.auth
from lease.errors import CorruptLeaseError, LeaseError
from mvcc.backend.errors import BackendError
from mvcc.errors import CorruptRecordError, MvccError
from server import status
from server.auth.errors import AuthError
from server.status import STATUS_OF, RpcError, Status, status_of

# Copied from etcd, not from the code: api/v3rpc/rpctypes/error.go of 3.6 for the texts and codes.
ETCD: Final = """
KEY_NOT_PROVIDED            3   etcdserver: key is not provided
KEY_NOT_FOUND               3   etcdserver: key not found
VALUE_PROVIDED              3   etcdserver: value is provided
LEASE_PROVIDED              3   etcdserver: lease is provided
TOO_MANY_OPS                3   etcdserver: too many operations in txn request
DUPLICATE_KEY               3   etcdserver: duplicate key given in txn request
INVALID_SORT_OPTION         3   etcdserver: invalid sort option
INVALID_CLIENT_API_VERSION  3   etcdserver: invalid client api version
REQUEST_TOO_LARGE           3   etcdserver: request is too large
COMPACTED                  11   etcdserver: mvcc: required revision has been compacted
FUTURE_REVISION            11   etcdserver: mvcc: required revision is a future revision
NO_SPACE                    8   etcdserver: mvcc: database space exceeded
CORRUPT                    15   etcdserver: corrupt cluster
LEASE_NOT_FOUND             5   etcdserver: requested lease not found
LEASE_EXISTS                9   etcdserver: lease already exists
LEASE_TTL_TOO_LARGE        11   etcdserver: too large lease TTL
MEMBER_NOT_FOUND            5   etcdserver: member not found
MEMBER_BAD_URLS             3   etcdserver: given member URLs are invalid
MEMBER_NOT_LEARNER          9   etcdserver: can only promote a learner member
PEER_URL_EXISTS             9   etcdserver: Peer URLs already exists
NOT_ENOUGH_STARTED  2  etcdserver: re-configuration failed due to not enough started members
BAD_LEADER_TRANSFEREE       9   etcdserver: bad leader transferee
DOWNGRADE_VERSION_FORMAT    3   etcdserver: wrong downgrade target version format
DOWNGRADE_VERSION           3   etcdserver: invalid downgrade target version
DOWNGRADE_IN_PROCESS        9   etcdserver: cluster has a downgrade job in progress
UNKNOWN_METHOD              2   etcdserver: unknown method
UNKNOWN_HEALTH_SERVICE      5   unknown service
ROOT_USER_NOT_EXIST         9   etcdserver: root user does not exist
ROOT_ROLE_NOT_EXIST         9   etcdserver: root user does not have root role
USER_EXISTS                 9   etcdserver: user name already exists
USER_EMPTY                  3   etcdserver: user name is empty
USER_NOT_FOUND              9   etcdserver: user name not found
ROLE_EXISTS                 9   etcdserver: role name already exists
ROLE_NOT_FOUND              9   etcdserver: role name not found
ROLE_EMPTY                  3   etcdserver: role name is empty
AUTH_FAILED                 3   etcdserver: authentication failed, invalid user ID or password
PERMISSION_NOT_GIVEN        3   etcdserver: permission not given
PERMISSION_DENIED           7   etcdserver: permission denied
ROLE_NOT_GRANTED            9   etcdserver: role is not granted to the user
PERMISSION_NOT_GRANTED      9   etcdserver: permission is not granted to the role
AUTH_NOT_ENABLED            9   etcdserver: authentication is not enabled
INVALID_AUTH_TOKEN         16   etcdserver: invalid auth token
INVALID_AUTH_MANAGEMENT     3   etcdserver: invalid auth management
OLD_AUTH_REVISION           3   etcdserver: revision of auth store is old
NO_PASSWORD_USER            2   auth: authentication failed, password was given for no password user
VERIFY_ONLY                 2   auth: token signing attempted with verify-only key
PASSWORD_TOO_LONG           2   bcrypt: password length exceeds 72 bytes
REQUEST_TIMED_OUT          14   etcdserver: request timed out
SERVER_STOPPED             14   etcdserver: server stopped
WATCH_CANCELED              1   etcdserver: watch canceled
TOO_MANY_REQUESTS           2   etcdserver: too many requests
NOT_PRIMARY                 2   not a primary lessor
STREAM_CUSTOM_SORT         12   RangeStream does not support custom sort orders
STREAM_FILTERS             12   RangeStream does not support revision filters
LOCK_SESSION_EXPIRED        2   mutex: session is expired
ELECTION_NOT_LEADER         2   election: not leader
ELECTION_NO_LEADER          2   election: no leader
ELECTION_LEADER_MISSING     2   "leader" field must be provided
DEADLINE_EXCEEDED           4   context deadline exceeded
NO_MESSAGE                 13   grpc: a unary call needs one whole message
"""
GOLDEN: Final = {
    name: (int(code), text)
    for name, code, text in (line.split(maxsplit=2) for line in ETCD.strip().splitlines())
}


def test_every_status_is_etcds_to_the_byte_and_none_is_missing_here() -> None:
    ours = {
        name: (int(value.code), value.message)
        for name, value in vars(status).items()
        if isinstance(value, Status)
    }
    assert ours == GOLDEN


def test_reasons_in_watch_responses_are_etcds() -> None:
    """server/storage/mvcc/watcher.go."""
    assert status.WATCH_EMPTY_RANGE == "mvcc: watcher range is empty"
    assert status.WATCH_DUPLICATE_ID == "mvcc: duplicate watch ID provided on the WatchStream"


@pytest.mark.parametrize(
    ("made", "code", "text"),
    [
        (
            status.message_too_large(3, 2),
            8,
            "grpc: received message larger than max (3 vs. 2)",
        ),
        (status.unknown_service("a.B"), 12, "unknown service a.B"),
        (status.unknown_method("C", "a.B"), 12, "unknown method C for service a.B"),
        (status.malformed_method("/c"), 12, 'malformed method name: "/c"'),
        (status.unreadable_message("why"), 13, "grpc: error unmarshalling request: why"),
        (
            status.unreadable_message("why", of_stream=True),
            13,
            "grpc: failed to unmarshal the received message: why",
        ),
    ],
)
def test_statuses_of_the_transport_are_grpc_gos(made: Status, code: int, text: str) -> None:
    assert (made.code, made.message) == (code, text)


def test_a_status_in_a_reason_reads_as_go_prints_it() -> None:
    text = status.go_text(status.OLD_AUTH_REVISION)
    assert text == (
        "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old"
    )


def _errors_of_the_core() -> Iterator[type[Exception]]:
    """Every exception class that `lease`, `mvcc` or `server.auth` defines."""
    for package in (lease, mvcc, server.auth):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            for _, value in inspect.getmembers(module, inspect.isclass):
                if issubclass(value, Exception) and value.__module__ == module.__name__:
                    yield value


def test_every_error_of_the_core_has_a_status_or_means_corruption() -> None:
    """A base class is never raised itself; corruption and the disk end the process."""
    errors = set(_errors_of_the_core())
    bases = {LeaseError, MvccError, AuthError}
    assert bases < errors
    fatal = {
        error
        for error in errors
        if issubclass(error, (CorruptRecordError, CorruptLeaseError, BackendError))
    }
    assert errors - fatal - bases <= set(STATUS_OF)
    assert not fatal & set(STATUS_OF)


def test_every_error_with_a_status_has_one_of_the_table() -> None:
    assert {(each.code, each.message) for each in STATUS_OF.values()} <= set(GOLDEN.values())


def test_a_refusal_has_its_own_status_and_a_bug_has_none() -> None:
    assert status_of(RpcError(status.NO_SPACE)) == status.NO_SPACE
    assert status_of(status.NoSpaceError()) == status.NO_SPACE
    assert status_of(KeyError("a bug")) is None
