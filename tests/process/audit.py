"""Holds a restarted server to everything that was acknowledged before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import pytest

from etcdpb import kv_pb2, rpc_pb2
from tests.process.client import Client
from tests.process.load import LEASE_TTL, Changes, Ledger, fingerprint, of_events


@dataclass(frozen=True)
class Version:
    """A key as a Range shows it."""

    value: str  # Its fingerprint.
    lease: int
    create_revision: int
    mod_revision: int
    version: int


class Audit:
    """Goes over a server after each restart, and adds to the ledger what has become known."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.revision = 1  # Of the server, when last checked.
        self._state: dict[bytes, Version] = {}
        self.kvs: Sequence[kv_pb2.KeyValue] = ()
        self.leases: set[int] = set()
        self.hashes_compared = 0
        self.unanswered_found = 0  # Calls without an answer that did happen.

    def check(self, client: Client) -> int:
        """Returns the server's revision."""
        everything = client.everything()
        revision = int(everything.header.revision)
        self.kvs = everything.kvs
        self._check_history(client, revision)
        self._check_compaction(client)
        self._check_state(revision)
        self._check_leases(client)
        self._check_hashes(client)
        self._forget()
        return revision

    def _check_history(self, client: Client, revision: int) -> None:
        """Every acknowledged revision is as it was told, and others are calls without answer."""
        revisions = self._ledger.revisions
        assert revision >= max(revisions, default=1), "acknowledged revisions are gone"
        first = max(2, self._ledger.compacted + 1)
        found = of_events(client.history(first, revision))
        assert sorted(found) == list(range(first, revision + 1)), "revisions are dense"
        surprises: Counter[Changes] = Counter()
        for each, changes in found.items():
            if each in revisions:
                assert changes == revisions[each], f"revision {each} was given twice"
            else:
                revisions[each] = changes
                surprises[changes] += 1
        assert surprises <= Counter(self._ledger.unknown), "what nobody asked for has happened"
        self.unanswered_found += surprises.total()
        self._ledger.unknown.clear()

    def _check_compaction(self, client: Client) -> None:
        compacted = self._ledger.compacted_for_sure
        if compacted:
            request = rpc_pb2.RangeRequest(key=b"k", revision=compacted - 1)
            with pytest.raises(grpc.RpcError, match="required revision has been compacted"):
                client.call("KV", "Range", request)

    def _check_state(self, revision: int) -> None:
        """The keys are what all the revisions, one after the other, made of them."""
        state = self._state
        for each in range(self.revision + 1, revision + 1):
            for key, value, lease in self._ledger.revisions[each]:
                if value is None:
                    del state[key]
                    continue
                before = state.get(key)
                created, version = (before.create_revision, before.version) if before else (each, 0)
                state[key] = Version(value, lease, created, each, version + 1)
        self.revision = revision
        found = {
            kv.key: Version(
                fingerprint(kv.value), kv.lease, kv.create_revision, kv.mod_revision, kv.version
            )
            for kv in self.kvs
        }
        assert found == state

    def _check_leases(self, client: Client) -> None:
        """Those acknowledged are there, those revoked are not, and each has its keys."""
        ledger = self._ledger
        self.leases = client.leases()
        granted = {each for each, exists in ledger.leases.items() if exists}
        unknown = ledger.unknown_leases
        assert granted - unknown <= self.leases <= granted | unknown
        attached: dict[int, list[bytes]] = {each: [] for each in self.leases}
        for kv in self.kvs:
            if kv.lease:
                attached[kv.lease].append(kv.key)
        for lease_id, keys in attached.items():
            reply = client.time_to_live(lease_id)
            assert reply.grantedTTL == LEASE_TTL
            assert LEASE_TTL - 60 < reply.TTL <= LEASE_TTL
            assert list(reply.keys) == sorted(keys)
        ledger.leases = dict.fromkeys(self.leases, True)
        unknown.clear()

    def _check_hashes(self, client: Client) -> None:
        for (revision, compacted), expected in self._ledger.hashes.items():
            if revision < self._ledger.compacted:
                continue
            reply = client.hash_kv(revision)
            if reply.compact_revision == compacted:
                assert reply.hash == expected, f"HashKV of {revision}"
                self.hashes_compared += 1
        self._ledger.hashes.clear()

    def _forget(self) -> None:
        """What is compacted cannot be asked for again."""
        compacted = self._ledger.compacted
        for each in [each for each in self._ledger.revisions if each <= compacted]:
            del self._ledger.revisions[each]
