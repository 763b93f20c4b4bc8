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
