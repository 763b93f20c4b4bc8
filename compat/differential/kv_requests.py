"""Random requests of KV: few keys and few values, so that they meet."""

from random import Random
from typing import Final

from compat.differential.world import World
from etcdpb import rpc_pb2 as rpc

KEYS: Final = (b"a", b"b", b"aa", b"ab", b"b/1", b"b/2", b"\0", b"\xff", b"\xff\xff", b"a\0")
ENDS: Final = (b"\0", b"a", b"b", b"aa", b"ac", b"b/", b"b0", b"c", b"\xff", b"\xff\xff", b"\1")
VALUES: Final = (b"", b"v", b"w", b"vv", b"\0", b"\xff")
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
LEASES: Final = (1, 2, 3, -1, INT64_MIN, INT64_MAX)
MAX_OPS: Final = 128  # etcd's --max-txn-ops.
DEPTH_MAX: Final = 3


class KVRequests:
    """Draws requests."""

    def __init__(self, random: Random, world: World) -> None:
        self._random = random
        self._world = world

    def chance(self, of_one: float) -> bool:
        return self._random.random() < of_one

    def key(self) -> bytes:
        return b"" if self.chance(0.02) else self._random.choice(KEYS)

    def end(self) -> bytes:
        """Nothing for one key; or a range, perhaps an empty or a reversed one."""
        if self.chance(0.45):
            return b""
        return b"\0" if self.chance(0.25) else self._random.choice(ENDS)

    def revision(self) -> int:
        """Of all kinds: none, past, compacted, present, future and absurd."""
        world, random = self._world, self._random
        return random.choice(
            (
                *(world.revision - random.randrange(6) for _ in range(4)),
                random.randint(1, world.revision),
                *(world.compacted + off for off in (-1, 0, 1)),
                world.revision + 1,
                world.revision + random.randint(2, 9),
                *(0, 1, -1, -2, INT64_MAX, INT64_MIN),
            )
        )

    def lease(self) -> int:
        """Most often none."""
        if self.chance(0.6):
            return 0
        known = tuple(sorted(self._world.leases))
        if known and self.chance(0.8):
            return self._random.choice(known)
        return self._random.choice(LEASES)

    def range(self, *, in_txn: bool = False) -> rpc.RangeRequest:
        random = self._random
        request = rpc.RangeRequest(
            key=self.key(),
            range_end=self.end(),
            keys_only=self.chance(0.15),
            count_only=self.chance(0.1),
            serializable=self.chance(0.2),
        )
        if self.chance(0.4 if not in_txn else 0.1):
            request.revision = self.revision()
        if self.chance(0.4):
            request.limit = random.choice((1, 1, 2, 3, 5, 100, -1, INT64_MAX, INT64_MIN))
        if self.chance(0.5):
            # A target out of the enum ends etcd 3.5.1's process.
            request.sort_target = random.randrange(5)  # type: ignore[assignment]
            request.sort_order = random.randrange(3)  # type: ignore[assignment]
        elif not in_txn and self.chance(0.02):
            request.sort_order = random.choice((3, 7, -1))  # type: ignore[assignment]
        for name in ("min_mod", "max_mod", "min_create", "max_create"):
            if self.chance(0.1):
                setattr(request, f"{name}_revision", self.revision())
        return request

    def put(self) -> rpc.PutRequest:
        request = rpc.PutRequest(
            key=self.key(),
            prev_kv=self.chance(0.3),
            ignore_value=self.chance(0.1),
            ignore_lease=self.chance(0.1),
        )
        if not request.ignore_value or self.chance(0.1):
            request.value = self._random.choice(VALUES)
        if not request.ignore_lease or self.chance(0.1):
            request.lease = self.lease()
        return request

    def delete(self) -> rpc.DeleteRangeRequest:
        return rpc.DeleteRangeRequest(
            key=self.key(),
            range_end=self.end() if self.chance(0.5) else b"",
            prev_kv=self.chance(0.5),
        )

    def compare(self) -> rpc.Compare:
        random = self._random
        request = rpc.Compare(key=self.key())
        request.result = random.randrange(4)  # type: ignore[assignment]
        request.target = random.randrange(5)  # type: ignore[assignment]
        if self.chance(0.05):
            request.result = random.choice((4, 9, -1))  # type: ignore[assignment]
        if self.chance(0.05):
            request.target = random.choice((5, 9, -1))  # type: ignore[assignment]
        if self.chance(0.4):
            request.range_end = self.end()
        # Which value is given need not be the one that is asked for.
        which = request.target if self.chance(0.9) else random.randrange(6)
        if which == rpc.Compare.VERSION:
            request.version = random.choice((0, 1, 2, 3, -1))
        elif which == rpc.Compare.CREATE:
            request.create_revision = self.revision()
        elif which == rpc.Compare.MOD:
            request.mod_revision = self.revision()
        elif which == rpc.Compare.VALUE:
            request.value = random.choice(VALUES)
        elif which == rpc.Compare.LEASE:
            request.lease = self.lease()
        return request

    def txn(self, *, nested: bool = True, depth: int = 0) -> rpc.TxnRequest:
        random = self._random
        request = rpc.TxnRequest()
        request.compare.extend(self.compare() for _ in range(random.choice((0, 0, 1, 1, 2, 3))))
        reads_only = self.chance(0.2)
        for branch in (request.success, request.failure):
            for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4))):
                self._operation(branch.add(), depth, nested=nested, reads_only=reads_only)
        if depth == 0 and self.chance(0.01):
            many = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a", count_only=True))
            count = random.choice((MAX_OPS - 1, MAX_OPS, MAX_OPS + 1))
            branch = random.choice((request.success, request.failure))
            branch.extend([many] * (count - len(branch)))
        return request

    def _operation(
        self, operation: rpc.RequestOp, depth: int, *, nested: bool, reads_only: bool
    ) -> None:
        drawn = self._random.random()
        if drawn < 0.01:
            return  # None at all.
        if reads_only or drawn < 0.3:
            operation.request_range.CopyFrom(self.range(in_txn=True))
        elif drawn < 0.6:
            operation.request_put.CopyFrom(self.put())
        elif drawn < 0.8 or not nested or depth == DEPTH_MAX:
            operation.request_delete_range.CopyFrom(self.delete())
        else:
            operation.request_txn.CopyFrom(self.txn(depth=depth + 1))

    def compact(self) -> rpc.CompactionRequest:
        """Seldom of all there is, or there would be no past to ask for."""
        world = self._world
        revision = self.revision()
        if revision > world.revision - 5 and self.chance(0.7):
            revision = world.compacted + self._random.randint(0, 5)
        return rpc.CompactionRequest(revision=revision, physical=self.chance(0.5))
