"""Which differences between two answers are meant, by their names in `compat.differences`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from compat.differences import DIFFERENCES
from compat.differential.comparing import masked
from compat.differential.operations import Operation, messages_within
from compat.differential.sides import Answer
from compat.differential.world import ROOT, World
from etcdpb import rpc_pb2 as rpc

_LEASE_ANSWERS: Final = ("Lease/LeaseTimeToLive", "Lease/LeaseLeases", "Lease/LeaseKeepAlive")
_REFUSALS: Final = (
    "etcdserver: permission denied",
    "etcdserver: user name is empty",
    "etcdserver: invalid auth token",
)
_COMPACTED: Final = "etcdserver: mvcc: required revision has been compacted"
_SORTED_ALIKE_MAX: Final = 6  # Rows; from seven on, Go's older sort begins with steps of six.
_OF_RANGES: Final = (
    _COMPACTED,
    "etcdserver: mvcc: required revision is a future revision",
)
_OF_PUTS: Final = ("etcdserver: requested lease not found", "etcdserver: key not found")
_UNREADABLE: Final = "grpc: error unmarshalling request: "


@dataclass(frozen=True)
class Pair:
    """An operation, and how it was answered."""

    operation: Operation
    request: Message | None
    ours: Answer
    theirs: Answer
    world: World

    @property
    def is_refused_by_us(self) -> bool:
        """True if rights are the reason."""
        return self.world.auth_enabled and self.ours.text in _REFUSALS


def _invalid_sort(pair: Pair) -> bool:
    orders = rpc.RangeRequest.SortOrder.values()
    is_invalid = (
        isinstance(pair.request, rpc.RangeRequest) and pair.request.sort_order not in orders
    )
    return is_invalid and pair.ours.text == "etcdserver: invalid sort option"


def _hashkv(pair: Pair) -> bool:
    return (
        isinstance(pair.request, rpc.HashKVRequest)
        and pair.request.revision == pair.world.compacted
        and pair.ours.code == "OK"
        and pair.theirs.text == _COMPACTED
    )


def _auth_of_leases(pair: Pair) -> bool:
    is_question = pair.operation.method in _LEASE_ANSWERS
    return pair.is_refused_by_us and is_question and pair.theirs.code == "OK"


def _auth_of_maintenance(pair: Pair) -> bool:
    return (
        pair.is_refused_by_us
        and pair.operation.method.startswith("Maintenance/")
        and pair.theirs.code == "UNKNOWN"
        and pair.theirs.text.removeprefix("auth: ") == pair.ours.text.removeprefix("etcdserver: ")
    )


def _root_role(pair: Pair) -> bool:
    is_root = isinstance(pair.request, rpc.AuthRoleGetRequest) and pair.request.role == ROOT
    return is_root and pair.ours.code == pair.theirs.code == "OK"


def _unread(pair: Pair) -> bool:
    return pair.is_refused_by_us and pair.theirs.text.startswith(_UNREADABLE)


def _first_of_txn(pair: Pair) -> bool:
    return (
        isinstance(pair.request, rpc.TxnRequest)
        and pair.ours.text in _OF_RANGES
        and pair.theirs.text in _OF_PUTS
    )


def _rights_to_nothing(pair: Pair) -> bool:
    if pair.request is None or not pair.world.auth_enabled:
        return False
    codes = {pair.ours.code, pair.theirs.code}
    return "PERMISSION_DENIED" in codes and any(
        isinstance(each, rpc.RangeRequest | rpc.DeleteRangeRequest | rpc.Compare)
        and each.range_end not in (b"", b"\0")
        and each.range_end <= each.key
        for each in messages_within(pair.request)
    )


def _unreadable_groups(pair: Pair) -> bool:
    return pair.ours.text.startswith(_UNREADABLE) and pair.theirs.code != "INTERNAL"


def _order_of_equals(pair: Pair) -> bool:
    if pair.request is None or pair.ours.code != "OK" or pair.theirs.code != "OK":
        return False
    return any(
        isinstance(each, rpc.RangeRequest) and (each.sort_target or each.sort_order)
        for each in messages_within(pair.request)
    ) and all(
        _without_many_rows(one) == _without_many_rows(other)
        for one, other in zip(pair.ours.messages, pair.theirs.messages, strict=True)
    )


def _without_many_rows(message: Message) -> Message:
    """Without the rows of ranges that etcd 3.5.1 may have sorted otherwise."""
    copy = masked(message, None)
    for each in messages_within(copy):
        if isinstance(each, rpc.RangeResponse) and each.count > _SORTED_ALIKE_MAX:
            del each.kvs[:]
    return copy


RULES: Final[dict[str, Callable[[Pair], bool]]] = {
    "invalid-sort-option": _invalid_sort,
    "hashkv-at-compact-revision": _hashkv,
    "auth-of-leases": _auth_of_leases,
    "auth-of-maintenance": _auth_of_maintenance,
    "root-role-permission": _root_role,
    "rights-before-bytes": _unread,
    "order-of-equals": _order_of_equals,
    "rights-to-nothing": _rights_to_nothing,
    "first-refusal-of-txn": _first_of_txn,
    "unreadable-groups": _unreadable_groups,
}
# Only one of the two may have changed its data.
ENDING: Final = ("unreadable-groups", "rights-to-nothing")
assert RULES.keys() <= DIFFERENCES.keys()


def meant(operation: Operation, ours: Answer, theirs: Answer, world: World) -> str | None:
    """The name of the difference, if it is one that is meant."""
    pair = Pair(operation, operation.request(), ours, theirs, world)
    return next((name for name, applies in RULES.items() if applies(pair)), None)
