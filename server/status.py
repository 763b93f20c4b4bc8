"""Error -> gRPC status: the only place where wire text is written.

Clients match on the text as well as on the code (etcd's own Go client finds the error's
identity by its message), so each message is byte for byte that of etcd's
api/v3rpc/rpctypes/error.go; `tests/server/test_status.py` holds them to it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from lease.errors import (
    LeaseDueError,
    LeaseExistsError,
    LeaseNotFoundError,
    NotPrimaryError,
    TTLTooLargeError,
)
from mvcc.backend.errors import BackendCorruptError
from mvcc.errors import CompactedError, FutureRevisionError, KeyNotFoundError
from mvcc.overlap import DuplicateKeyError
from server.auth import errors as auth_errors


class Code(enum.IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Status:
    code: Code
    message: str


class RpcError(Exception):
    """A request refused with this very status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


def _etcd(code: Code, text: str) -> Status:
    return Status(code, f"etcdserver: {text}")


KEY_NOT_PROVIDED: Final = _etcd(Code.INVALID_ARGUMENT, "key is not provided")
KEY_NOT_FOUND: Final = _etcd(Code.INVALID_ARGUMENT, "key not found")
VALUE_PROVIDED: Final = _etcd(Code.INVALID_ARGUMENT, "value is provided")
LEASE_PROVIDED: Final = _etcd(Code.INVALID_ARGUMENT, "lease is provided")
TOO_MANY_OPS: Final = _etcd(Code.INVALID_ARGUMENT, "too many operations in txn request")
DUPLICATE_KEY: Final = _etcd(Code.INVALID_ARGUMENT, "duplicate key given in txn request")
INVALID_SORT_OPTION: Final = _etcd(Code.INVALID_ARGUMENT, "invalid sort option")
INVALID_CLIENT_API_VERSION: Final = _etcd(Code.INVALID_ARGUMENT, "invalid client api version")
REQUEST_TOO_LARGE: Final = _etcd(Code.INVALID_ARGUMENT, "request is too large")
COMPACTED: Final = _etcd(Code.OUT_OF_RANGE, "mvcc: required revision has been compacted")
FUTURE_REVISION: Final = _etcd(Code.OUT_OF_RANGE, "mvcc: required revision is a future revision")
NO_SPACE: Final = _etcd(Code.RESOURCE_EXHAUSTED, "mvcc: database space exceeded")
CORRUPT: Final = _etcd(Code.DATA_LOSS, "corrupt cluster")
LEASE_NOT_FOUND: Final = _etcd(Code.NOT_FOUND, "requested lease not found")
LEASE_EXISTS: Final = _etcd(Code.FAILED_PRECONDITION, "lease already exists")
LEASE_TTL_TOO_LARGE: Final = _etcd(Code.OUT_OF_RANGE, "too large lease TTL")
MEMBER_NOT_FOUND: Final = _etcd(Code.NOT_FOUND, "member not found")
MEMBER_BAD_URLS: Final = _etcd(Code.INVALID_ARGUMENT, "given member URLs are invalid")
MEMBER_NOT_LEARNER: Final = _etcd(Code.FAILED_PRECONDITION, "can only promote a learner member")
PEER_URL_EXISTS: Final = _etcd(Code.FAILED_PRECONDITION, "Peer URLs already exists")
BAD_LEADER_TRANSFEREE: Final = _etcd(Code.FAILED_PRECONDITION, "bad leader transferee")
DOWNGRADE_VERSION_FORMAT: Final = _etcd(
    Code.INVALID_ARGUMENT, "wrong downgrade target version format"
)
DOWNGRADE_VERSION: Final = _etcd(Code.INVALID_ARGUMENT, "invalid downgrade target version")
DOWNGRADE_IN_PROCESS: Final = _etcd(
    Code.FAILED_PRECONDITION, "cluster has a downgrade job in progress"
)
UNKNOWN_METHOD: Final = _etcd(Code.UNKNOWN, "unknown method")
ROOT_USER_NOT_EXIST: Final = _etcd(Code.FAILED_PRECONDITION, "root user does not exist")
ROOT_ROLE_NOT_EXIST: Final = _etcd(Code.FAILED_PRECONDITION, "root user does not have root role")
USER_EXISTS: Final = _etcd(Code.FAILED_PRECONDITION, "user name already exists")
USER_EMPTY: Final = _etcd(Code.INVALID_ARGUMENT, "user name is empty")
USER_NOT_FOUND: Final = _etcd(Code.FAILED_PRECONDITION, "user name not found")
ROLE_EXISTS: Final = _etcd(Code.FAILED_PRECONDITION, "role name already exists")
ROLE_EMPTY: Final = _etcd(Code.INVALID_ARGUMENT, "role name is empty")
ROLE_NOT_FOUND: Final = _etcd(Code.FAILED_PRECONDITION, "role name not found")
ROLE_NOT_GRANTED: Final = _etcd(Code.FAILED_PRECONDITION, "role is not granted to the user")
AUTH_FAILED: Final = _etcd(
    Code.INVALID_ARGUMENT, "authentication failed, invalid user ID or password"
)
AUTH_NOT_ENABLED: Final = _etcd(Code.FAILED_PRECONDITION, "authentication is not enabled")
INVALID_AUTH_TOKEN: Final = _etcd(Code.UNAUTHENTICATED, "invalid auth token")
INVALID_AUTH_MANAGEMENT: Final = _etcd(Code.INVALID_ARGUMENT, "invalid auth management")
OLD_AUTH_REVISION: Final = _etcd(Code.INVALID_ARGUMENT, "revision of auth store is old")
PERMISSION_DENIED: Final = _etcd(Code.PERMISSION_DENIED, "permission denied")
PERMISSION_NOT_GIVEN: Final = _etcd(Code.INVALID_ARGUMENT, "permission not given")
PERMISSION_NOT_GRANTED: Final = _etcd(
    Code.FAILED_PRECONDITION, "permission is not granted to the role"
)
REQUEST_TIMED_OUT: Final = _etcd(Code.UNAVAILABLE, "request timed out")
SERVER_STOPPED: Final = _etcd(Code.UNAVAILABLE, "server stopped")
WATCH_CANCELED: Final = _etcd(Code.CANCELLED, "watch canceled")
# Real etcd sends these with code Unknown: the first two map to client-side error values that have
# no gRPC status, the others stand in no map at all.
NOT_ENOUGH_STARTED: Final = _etcd(
    Code.UNKNOWN, "re-configuration failed due to not enough started members"
)
TOO_MANY_REQUESTS: Final = _etcd(Code.UNKNOWN, "too many requests")
NOT_PRIMARY: Final = Status(Code.UNKNOWN, "not a primary lessor")
# Of Lock and Election: errors of etcd's client/v3/concurrency, which have no code either.
LOCK_SESSION_EXPIRED: Final = Status(Code.UNKNOWN, "mutex: session is expired")
ELECTION_NOT_LEADER: Final = Status(Code.UNKNOWN, "election: not leader")
ELECTION_NO_LEADER: Final = Status(Code.UNKNOWN, "election: no leader")
ELECTION_LEADER_MISSING: Final = Status(Code.UNKNOWN, '"leader" field must be provided')
NO_PASSWORD_USER: Final = Status(
    Code.UNKNOWN, "auth: authentication failed, password was given for no password user"
)
VERIFY_ONLY: Final = Status(Code.UNKNOWN, "auth: token signing attempted with verify-only key")
PASSWORD_TOO_LONG: Final = Status(Code.UNKNOWN, "bcrypt: password length exceeds 72 bytes")
DEADLINE_EXCEEDED: Final = Status(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
UNKNOWN_HEALTH_SERVICE: Final = Status(Code.NOT_FOUND, "unknown service")
NO_MESSAGE: Final = Status(Code.INTERNAL, "grpc: a unary call needs one whole message")
STREAM_CUSTOM_SORT: Final = Status(
    Code.UNIMPLEMENTED, "RangeStream does not support custom sort orders"
)
STREAM_FILTERS: Final = Status(Code.UNIMPLEMENTED, "RangeStream does not support revision filters")

# Reasons that stand in WatchResponse.cancel_reason, and nowhere else.
WATCH_EMPTY_RANGE: Final = "mvcc: watcher range is empty"
WATCH_DUPLICATE_ID: Final = "mvcc: duplicate watch ID provided on the WatchStream"


class NoSpaceError(Exception):
    """The quota is used up, or a NOSPACE alarm stands."""


class CorruptAlarmError(Exception):
    """A CORRUPT alarm stands: nothing may be written."""


class DowngradeInProcessError(Exception):
    """A downgrade is enabled already."""


class TooManyRequestsError(Exception):
    """The engine's queue is full."""


STATUS_OF: Final[Mapping[type[Exception], Status]] = {
    CompactedError: COMPACTED,
    FutureRevisionError: FUTURE_REVISION,
    KeyNotFoundError: KEY_NOT_FOUND,
    DuplicateKeyError: DUPLICATE_KEY,
    LeaseNotFoundError: LEASE_NOT_FOUND,
    LeaseExistsError: LEASE_EXISTS,
    TTLTooLargeError: LEASE_TTL_TOO_LARGE,
    LeaseDueError: LEASE_NOT_FOUND,
    NotPrimaryError: NOT_PRIMARY,
    NoSpaceError: NO_SPACE,
    CorruptAlarmError: CORRUPT,
    DowngradeInProcessError: DOWNGRADE_IN_PROCESS,
    TooManyRequestsError: TOO_MANY_REQUESTS,
    auth_errors.RootUserMissingError: ROOT_USER_NOT_EXIST,
    auth_errors.RootRoleMissingError: ROOT_ROLE_NOT_EXIST,
    auth_errors.UserExistsError: USER_EXISTS,
    auth_errors.UserEmptyError: USER_EMPTY,
    auth_errors.UserNotFoundError: USER_NOT_FOUND,
    auth_errors.RoleExistsError: ROLE_EXISTS,
    auth_errors.RoleEmptyError: ROLE_EMPTY,
    auth_errors.RoleNotFoundError: ROLE_NOT_FOUND,
    auth_errors.RoleNotGrantedError: ROLE_NOT_GRANTED,
    auth_errors.AuthFailedError: AUTH_FAILED,
    auth_errors.AuthNotEnabledError: AUTH_NOT_ENABLED,
    auth_errors.InvalidTokenError: INVALID_AUTH_TOKEN,
    auth_errors.InvalidManagementError: INVALID_AUTH_MANAGEMENT,
    auth_errors.OldAuthRevisionError: OLD_AUTH_REVISION,
    auth_errors.PermissionDeniedError: PERMISSION_DENIED,
    auth_errors.PermissionNotGivenError: PERMISSION_NOT_GIVEN,
    auth_errors.PermissionNotGrantedError: PERMISSION_NOT_GRANTED,
    auth_errors.NoPasswordError: NO_PASSWORD_USER,
    auth_errors.VerifyOnlyError: VERIFY_ONLY,
    auth_errors.PasswordTooLongError: PASSWORD_TOO_LONG,
}


def status_of(error: Exception) -> Status | None:
    """What the client reads, or None if `error` is no refusal but a bug."""
    if isinstance(error, RpcError):
        return error.status
    return STATUS_OF.get(type(error))


def failure_of(error: Exception, *, of_stream: bool = False) -> Status:
    """What the client reads, whatever the error is; a bug is told by its type and text."""
    known = status_of(error)
    if known is not None:
        return known
    if isinstance(error, DecodeError):
        return unreadable_message(str(error), of_stream=of_stream)
    if isinstance(error, BackendCorruptError):
        return damaged()
    return Status(Code.UNKNOWN, f"{type(error).__name__}: {error}")


def go_text(status: Status) -> str:
    """How a Go program prints a status: so it stands in a watch's cancel reason."""
    name = "".join(word.capitalize() for word in status.code.name.split("_"))
    return f"rpc error: code = {name} desc = {status.message}"


def message_too_large(size: int, limit: int) -> Status:
    """grpc-go's text for a message above the receive limit, in bytes."""
    return Status(
        Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {limit})"
    )


def unknown_service(service: str) -> Status:
    return Status(Code.UNIMPLEMENTED, f"unknown service {service}")


def unknown_method(method: str, service: str) -> Status:
    return Status(Code.UNIMPLEMENTED, f"unknown method {method} for service {service}")


def malformed_method(path: str) -> Status:
    return Status(Code.UNIMPLEMENTED, f'malformed method name: "{path}"')


def no_snapshot(reason: str) -> Status:
    """A snapshot that cannot be made; etcd, which keeps the same limits on keys, has no text."""
    return Status(Code.FAILED_PRECONDITION, f"snapshot: {reason}")


def damaged() -> Status:
    """Bytes of the store are not those that were written. etcd does not look, and has no text."""
    return Status(Code.DATA_LOSS, "etcdserver: what is to be read is damaged on the disk")


def unreadable_message(reason: str, *, of_stream: bool = False) -> Status:
    """grpc-go's text, up to the reason, for a message that is not the protobuf it should be.

    It is another one for what comes by a stream (its rpc_util.go: recv).
    """
    what = (
        "failed to unmarshal the received message" if of_stream else "error unmarshalling request"
    )
    return Status(Code.INTERNAL, f"grpc: {what}: {reason}")
