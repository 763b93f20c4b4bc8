"""Where Tenure is not to be like etcd 3.5.1, each by name.

Tenure follows the newest patch of etcd's 3.6 line, but where its own design or the safety of its
clients asks for something else. Any other difference that a test shows is a fault.
"""

from dataclasses import dataclass
from typing import Final

from compat.targets import Target


@dataclass(frozen=True)
class Difference:
    """What is done otherwise than by 3.5.1, and since when by etcd."""

    what: str
    since: str


DIFFERENCES: Final = {
    "lease-id-range": Difference(
        "A lease whose id is negative or the largest survives a restart; before, it was forgotten, "
        "and its keys stayed for ever.",
        "etcd 3.5.2, server/lease/lessor.go: unsafeGetAllLeases",
    ),
    "hashkv-at-compact-revision": Difference(
        "HashKV at the very revision of the last compaction answers; before, it was refused.",
        "etcd 3.5.10, server/storage/mvcc/kvstore.go: hashByRev",
    ),
    "tombstone-at-compact-revision": Difference(
        "A delete at the very revision of a compaction is kept, and a watch from there sees it.",
        "etcd 3.5.16, server/storage/mvcc/key_index.go: keep",
    ),
    "permission-replaced": Difference(
        "Granting a permission on the very range of another takes its place, so that it can be "
        "made less. etcd adds it beside the old one if a different range begins at the same key.",
        "not in etcd: RoleGrantPermission in server/auth/store.go looks at the first of a key only",
    ),
    "root-role-permission": Difference(
        "The role root is told with the permission that it always has.",
        "etcd 3.6.0, server/auth/store.go: RoleGet",
    ),
    "negative-watch-revision": Difference(
        "A watch from a revision below zero is refused as compacted; before, it started now.",
        "etcd 3.6.6, server/etcdserver/api/v3rpc/watch.go: recvLoop",
    ),
    "invalid-sort-option": Difference(
        "A range in an order that there is not is refused; before, it was answered in none.",
        "etcd 3.6.0, server/etcdserver/api/v3rpc/key.go: checkRangeRequest",
    ),
    "watch-refusal": Difference(
        "A watch that its caller may not have is refused under the id -1, with the reason; before, "
        "with the id that was asked for, and always as denied.",
        "a later patch of 3.5, server/etcdserver/api/v3rpc/watch.go: recvLoop",
    ),
    "auth-of-leases": Difference(
        "Who may not read or write a lease's keys is not told of them, nor of the other leases, "
        "and cannot renew it; before, everybody was, and could.",
        "CVE-2023-32082 in etcd 3.5.9, CVE-2026-33413 in 3.5.28 and 3.6.9",
    ),
    "order-of-equals": Difference(
        "Rows of a sorted range that are equal stay in the order of their keys; before, that was "
        "so of up to six.",
        "Go 1.19, package sort, of which etcd 3.5.1 has an older one",
    ),
    "token-while-disabled": Difference(
        "While users do not count, a token is not looked at; before, one that had run out was "
        "refused.",
        "a later patch of 3.5, server/auth/store.go: AuthInfoFromCtx",
    ),
    "unreadable-groups": Difference(
        "A message with a group that does not end as it began is refused as unreadable; etcd does "
        "not look at how unknown groups end.",
        "not in etcd: the generated skipRpc in api/etcdserverpb/rpc.pb.go",
    ),
    "first-refusal-of-txn": Difference(
        "Of what stands against a transaction's operations the first is told; before, what stood "
        "against a put was told before what stood against a read.",
        "etcd 3.6.0, server/etcdserver/txn/txn.go: checkTxn",
    ),
    "wrong-wire-type": Difference(
        "A field that comes as another type than its own is passed over, as protobuf's own "
        "libraries do; etcd refuses the message.",
        "not in etcd: the generated Unmarshal in api/etcdserverpb/rpc.pb.go",
    ),
    "rights-to-nothing": Difference(
        "To a range that ends before it begins has a right who may use the key that it begins "
        "with; in etcd it depends on the user's other rights too.",
        "not in etcd: Contains in pkg/adt/interval_tree.go prunes by the range's end",
    ),
    "rights-before-bytes": Difference(
        "Who may not call a method is told so, even if its message cannot be read.",
        "no etcd; grpc-go reads the message first",
    ),
    "auth-of-maintenance": Difference(
        "Maintenance refuses a caller by a status that clients know; before, by the code Unknown.",
        "etcd 3.6.0, server/etcdserver/api/v3rpc/maintenance.go: authMaintenanceServer",
    ),
    "campaign-without-a-lease": Difference(
        "A candidate whose lease ended while it waited is told that it does not lead; etcd tells "
        "it that it does, by a key that is gone.",
        "no etcd; client/v3/concurrency/election.go: Campaign",
    ),
    "downgrade-cancel": Difference(
        "Cancelling a downgrade where none is enabled is answered; before, it was refused.",
        "etcd 3.6.0, server/etcdserver/v3_server.go: downgradeCancel",
    ),
    "one-message-by-websocket": Difference(
        "A method that takes one message answers the first that comes by WebSocket. The gateway of "
        "3.5 waits for the end of the request, which by WebSocket is the end of the connection.",
        "no etcd of the 3.5 line: IOReaderFactory in api/etcdserverpb/gw/rpc.pb.gw.go",
    ),
    "second-member": Difference(
        "A second member or learner is refused, since none could ever start; etcd adds it, and "
        "waits for it without a quorum.",
        "no etcd; Tenure is one server",
    ),
}


def differs(name: str, target: Target) -> bool:
    """True if `target` has the newer behaviour of that name.

    Raises:
        KeyError: no such difference is meant.
    """
    if name not in DIFFERENCES:
        raise KeyError(name)
    return target.is_tenure
