"""Clients that write all at once, and remember what they were told.

Each worker is a thread with keys and leases of its own, so that it knows what every answer must
be, and one call under way at a time, so that a kill leaves it with at most one call of which it
cannot know whether it happened. What an answer acknowledged goes into the one `Ledger`, by
revision; so does what a watcher saw. Two stories about one revision are a failure at once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final, NamedTuple, Self

import grpc

from etcdpb import kv_pb2, rpc_pb2
from tests.process.client import Client

KEYS_PER_WORKER: Final = 8
LEASES_PER_WORKER: Final = 4
LEASE_TTL: Final = 3600  # Seconds; none of these expires.
VALUE_BYTES: Final = (0, 100, 2_000, 60_000)  # The largest so that memtables are flushed too.
VALUE_WEIGHTS: Final = (2, 10, 4, 1)
WITH_LEASE: Final = 0.5  # Of the puts, if there is a lease.

Key = bytes


class Written(NamedTuple):
    """What one event says. A deletion has neither value nor lease."""

    key: Key
    value: str | None  # Its fingerprint: a long run remembers many.
    lease: int = 0


Changes = tuple[Written, ...]  # Of one revision, in order.


class Hash(NamedTuple):
    """HashKV depends on what is compacted too."""

    revision: int
    compact_revision: int


class Ledger:
    """Everything that was acknowledged in the life of one data directory."""

    def __init__(self) -> None:
        self.revisions: dict[int, Changes] = {}
        self.leases: dict[int, bool] = {}  # Every id granted: does it exist? Acknowledged both.
        self.hashes: dict[Hash, int] = {}
        self.unknown: list[Changes] = []  # Calls without an answer: what they would have done.
        self.unknown_leases: set[int] = set()  # Granted or revoked without an answer.
        self.compacted = 0  # No history is expected below; nobody was told of more.
        self.compacted_for_sure = 0  # That it is gone has been acknowledged.
        self.acknowledged = 0  # Calls.
        self.failures: list[str] = []
        self._news = threading.Condition()

    def note(self, revision: int, changes: Changes) -> None:
        with self._news:
            told = self.revisions.setdefault(revision, changes)
            if told != changes:
                self.failures.append(f"revision {revision} was {told} and then {changes}")

    def count(self) -> None:
        with self._news:
            self.acknowledged += 1
            self._news.notify_all()

    def fail(self, what: str) -> None:
        with self._news:
            self.failures.append(what)
            self._news.notify_all()

    def wait_for_calls(self, number: int) -> None:
        """Return once so many calls have been acknowledged, or something was wrong."""
        with self._news:
            self._news.wait_for(lambda: self.acknowledged >= number or bool(self.failures), 30)
        assert not self.failures, self.failures[:3]


def fingerprint(value: bytes) -> str:
    """Tells one value from every other, and is short enough to be read in a failure."""
    return f"{len(value)} bytes, {sha256(value).hexdigest()[:12]}"


def of_events(events: Iterable[kv_pb2.Event]) -> dict[int, Changes]:
    """Events by revision, as the ledger writes them."""
    found: dict[int, Changes] = {}
    for event in events:
        kv = event.kv
        if event.type == kv_pb2.Event.DELETE:
            written = Written(kv.key, None)
        else:
            written = Written(kv.key, fingerprint(kv.value), kv.lease)
        found[kv.mod_revision] = (*found.get(kv.mod_revision, ()), written)
    return found


class Worker:
    """One client's keys and leases. They outlive the server, and so does this."""

    def __init__(self, number: int, ledger: Ledger, seed: int) -> None:
        self.prefix = b"%02d/" % number
        self.keys = [self.prefix + b"%02d" % each for each in range(KEYS_PER_WORKER)]
        self.live: dict[Key, Written] = {}
        self.leases: set[int] = set()
        self.newest_revision = 0
        self._number = number
        self._ledger = ledger
        self._random = random.Random(f"{seed}/{number}")
        self._values = 0
        self._grants = 0

    def learn(self, revision: int, kvs: Iterable[kv_pb2.KeyValue], leases: set[int]) -> None:
        """Take over what is there after a restart."""
        self.newest_revision = revision
        self.live = {
            kv.key: Written(kv.key, fingerprint(kv.value), kv.lease)
            for kv in kvs
            if kv.key.startswith(self.prefix)
        }
        self.leases = {each for each in leases if each % 100 == self._number}

    def run(self, client: Client, crew: Crew) -> None:
        """Call until the server is gone."""
        steps: list[tuple[int, Callable[[Client], None]]] = [
            (10, self._put),
            (3, self._delete),
            (4, self._txn),
            (3, self._grant),
            (2, self._revoke),
            (3, self._keep_alive),
        ]
        if self._number == 0:
            steps += [(2, crew.compact), (2, crew.hash)]
        weights = [weight for weight, _ in steps]
        try:
            while not self._ledger.failures:
                _, step = self._random.choices(steps, weights)[0]
                step(client)
                self._ledger.count()
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                self._ledger.fail(f"{self.prefix!r}: {error}")

    # --- the calls ---

    def _put(self, client: Client) -> None:
        value = self._new_value()
        written = self._about_to_write(self._random.choice(self.keys), value)
        with self._unknown((written,)):
            revision = client.put(written.key, value, written.lease)
        self._happened(revision, (written,))

    def _delete(self, client: Client) -> None:
        key = self._random.choice(self.keys)
        changes = (Written(key, None),) if key in self.live else ()
        with self._unknown(changes):
            reply = client.delete(key)
        if reply.deleted != len(changes):
            self._ledger.fail(f"{key!r}: {reply.deleted} deleted, not {len(changes)}")
        self._happened(reply.header.revision, changes)

    def _txn(self, client: Client) -> None:
        """Two puts and a deletion, of different keys, if a key is as it is known to be."""
        first, second, third = self._random.sample(self.keys, 3)
        values = [self._new_value(), self._new_value()]
        puts = [
            self._about_to_write(key, value)
            for key, value in zip((first, second), values, strict=True)
        ]
        changes: Changes = tuple(puts)
        if third in self.live:
            changes = (*changes, Written(third, None))
        compare = rpc_pb2.Compare(
            key=third,
            target=rpc_pb2.Compare.VERSION,
            result=rpc_pb2.Compare.GREATER if third in self.live else rpc_pb2.Compare.EQUAL,
            version=0,
        )
        request = rpc_pb2.TxnRequest(compare=[compare])
        for put, value in zip(puts, values, strict=True):
            message = rpc_pb2.PutRequest(key=put.key, value=value, lease=put.lease)
            request.success.add(request_put=message)
        request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=third))
        with self._unknown(changes):
            reply = client.call("KV", "Txn", request)
        if not reply.succeeded:
            self._ledger.fail(f"{third!r} is not as it was acknowledged")
        self._happened(reply.header.revision, changes)

    def _grant(self, client: Client) -> None:
        if len(self.leases) >= LEASES_PER_WORKER:
            return
        self._grants += 1
        lease_id = (self._random.getrandbits(40) * 1000 + self._grants % 10) * 100 + self._number
        self._ledger.unknown_leases.add(lease_id)
        client.grant(LEASE_TTL, lease_id)
        self._ledger.unknown_leases.discard(lease_id)
        self._ledger.leases[lease_id] = True
        self.leases.add(lease_id)

    def _revoke(self, client: Client) -> None:
        lease_id = self._some_lease()
        if not lease_id:
            return
        attached = sorted(key for key, written in self.live.items() if written.lease == lease_id)
        changes = tuple(Written(key, None) for key in attached)
        self._ledger.unknown_leases.add(lease_id)
        with self._unknown(changes):
            revision = client.revoke(lease_id)
        self._ledger.unknown_leases.discard(lease_id)
        self._ledger.leases[lease_id] = False
        self.leases.discard(lease_id)
        self._happened(revision, changes)

    def _keep_alive(self, client: Client) -> None:
        lease_id = self._some_lease()
        if lease_id and (ttl := client.keep_alive(lease_id)) != LEASE_TTL:
            self._ledger.fail(f"lease {lease_id} lives, but its renewal said {ttl}")

    # --- what they share ---

    def _some_lease(self) -> int:
        return self._random.choice(sorted(self.leases)) if self.leases else 0

    def _new_value(self) -> bytes:
        """One never used before, so that an event can be told from every other one."""
        self._values += 1
        size = self._random.choices(VALUE_BYTES, VALUE_WEIGHTS)[0]
        return b"%d" % self._values + self._random.randbytes(size)

    def _about_to_write(self, key: Key, value: bytes) -> Written:
        lease = self._some_lease() if self._random.random() < WITH_LEASE else 0
        return Written(key, fingerprint(value), lease)

    def _unknown(self, changes: Changes) -> _Unknown:
        return _Unknown(self._ledger, changes)

    def _happened(self, revision: int, changes: Changes) -> None:
        for written in changes:
            if written.value is None:
                del self.live[written.key]
            else:
                self.live[written.key] = written
        if changes:
            self._ledger.note(revision, changes)
        self.newest_revision = max(self.newest_revision, revision)


class _Unknown:
    """While a call is under way, and for ever if no answer comes, it may have happened."""

    def __init__(self, ledger: Ledger, changes: Changes) -> None:
        self._ledger = ledger
        self._changes = changes

    def __enter__(self) -> Self:
        if self._changes:
            self._ledger.unknown.append(self._changes)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._changes:
            self._ledger.unknown.remove(self._changes)


class Crew:
    """All workers and the watcher, against one server at a time."""

    def __init__(self, workers: int, seed: int) -> None:
        self.ledger = Ledger()
        self.workers = [Worker(number, self.ledger, seed) for number in range(workers)]
        self._seen_revision = 0
        self._threads: list[threading.Thread] = []

    def begin(
        self, client: Client, revision: int, kvs: Iterable[kv_pb2.KeyValue], leases: set[int]
    ) -> None:
        """Start all of them on a server at that revision, which holds these keys and leases."""
        self._seen_revision = revision
        for worker in self.workers:
            worker.learn(revision, kvs, leases)
        self._threads = [
            threading.Thread(target=worker.run, args=(client, self), name=worker.prefix.decode())
            for worker in self.workers
        ]
        self._threads.append(threading.Thread(target=self._watch, args=(client, revision + 1)))
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until each has noticed that the server is gone."""
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a call was not ended by the end of the server"
        assert not self.ledger.failures, self.ledger.failures[:3]

    def compact(self, client: Client) -> None:
        """Up to where everybody has been told everything, so that no unknown is hidden."""
        told = [worker.newest_revision for worker in self.workers]
        target = min(self._seen_revision, *told)
        if target > self.ledger.compacted + 10:
            # Before it is known whether it happened: history below may be gone from now on.
            self.ledger.compacted = target
            client.compact(target)
            self.ledger.compacted_for_sure = target

    def hash(self, client: Client) -> None:
        reply = client.hash_kv()
        found = Hash(reply.hash_revision, reply.compact_revision)
        if self.ledger.hashes.setdefault(found, reply.hash) != reply.hash:
            self.ledger.fail(f"HashKV of {found} changed")

    def _watch(self, client: Client, start_revision: int) -> None:
        try:
            with client.watch(start_revision) as stream:
                while True:
                    for revision, changes in of_events(stream.receive().events).items():
                        self.ledger.note(revision, changes)
                        self._seen_revision = revision
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                self.ledger.fail(f"the watcher: {error}")
