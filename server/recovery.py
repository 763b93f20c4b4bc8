"""From what is on disk to a running state, or a refusal that names what is wrong.

The order is fixed here and nowhere else: what kind of store it is, the rows of the key column,
the leases, which keys belong to which lease, the alarms, users and roles; and last whether all
that was ever acknowledged is there. Nothing is repaired in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lease.deadlines import Deadlines
from lease.errors import CorruptLeaseError
from lease.lessor import Lessor
from mvcc.backend.base import Backend, Column
from mvcc.backend.errors import BackendError
from mvcc.backend.mark import Mark
from mvcc.compaction import META_FINISHED, META_FREED, META_SCHEDULED, Compactor
from mvcc.errors import CorruptRecordError
from mvcc.restore import restore
from mvcc.slicing import chunks
from mvcc.store import Store, read_meta
from server.alarms import Alarms
from server.auth.gate import Gate
from server.auth.rows import StoreRows
from server.auth.store import AuthStore
from server.commands.base import State
from server.identity import Identity
from server.settings.config import StartError

# Of what is on disk; a store with a higher number is refused.
#   1: RocksDB with a log of its own. 2: RocksDB behind a journal (`mvcc.backend.journal`).
# Whoever raises it keeps a data directory of it: tools/make_datadir.py.
FORMAT: Final = 2
META_FORMAT: Final = b"format"
_META_CLUSTER: Final = b"clusterId"
_META_MEMBER: Final = b"memberId"
META_TERM: Final = b"term"
META_IDENTITY: Final = (META_FORMAT, _META_CLUSTER, _META_MEMBER)  # There together or not at all.
_FIRST_TERM: Final = 2  # What a fresh etcd of one member answers.
_SIGNED: Final = 1 << 63
_ROWS_AT_ONCE: Final = 1000  # Whose size is taken as one.


class RecoveryError(StartError):
    """The store cannot be served. The text says what is wrong with it."""


class DamageError(RecoveryError):
    """Rows are missing, or are none that this program wrote. `tenure repair` is the way on."""


@dataclass(frozen=True, slots=True)
class Recovered:
    state: State
    identity: Identity
    term: int  # Counts the starts on this store, so it never goes back.
    is_new: bool


_LEASE: Final = Column.LEASE  # To find it in its class takes 50 ns.


class StoreLeaseBucket:
    """The lessor's records, in the store's open batch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, key: bytes, value: bytes) -> None:
        store = self._store
        assert store.batch is not None
        store.batch.put(_LEASE, key, value)
        store.in_use += len(key) + len(value)

    def delete(self, key: bytes, value_bytes: int) -> None:
        store = self._store
        assert store.batch is not None
        store.batch.delete(_LEASE, key)
        store.in_use -= len(key) + value_bytes

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Every row. The store's size counts the rows that pass: it was restored without them."""
        for some in chunks(self._store.backend.scan(Column.LEASE), _ROWS_AT_ONCE):
            for column in zip(*some, strict=True):
                self._store.in_use += sum(map(len, column))
            yield from some


def recover(
    backend: Backend,
    bootstrap: Callable[[], Identity],
    *,
    ttl_min: int,
    revoke_rate: int,
    mark: Mark | None,
    gate: Callable[[AuthStore, Lessor], Gate],
    deadlines: Deadlines | None = None,
) -> Recovered:
    """Read everything, and write and sync the identity and the new term.

    `bootstrap` gives a new store its identity; an old one keeps its own, whatever the flags say.
    `mark` refuses a store that is shorter than it once was. `deadlines` is the lessor's.

    Raises:
        RecoveryError: it cannot be served; `DamageError` if it is damaged.
        And what `bootstrap` raises.
    """
    try:
        return _recover(backend, bootstrap, ttl_min, revoke_rate, mark, gate, deadlines)
    except (CorruptRecordError, CorruptLeaseError, BackendError) as error:
        raise DamageError(str(error)) from error


def _recover(
    backend: Backend,
    bootstrap: Callable[[], Identity],
    ttl_min: int,
    revoke_rate: int,
    mark: Mark | None,
    gate: Callable[[AuthStore, Lessor], Gate],
    deadlines: Deadlines | None,
) -> Recovered:
    number = read_meta(backend, META_FORMAT, 0)
    if number > FORMAT:
        raise RecoveryError(
            f"the store has format {number}, written by a newer version; this one knows {FORMAT}"
        )
    store = Store(backend)
    restore(store)
    if mark is not None:
        mark.check(recovered_revision=store.current, recovered_sequence=backend.sequence())
    lessor = Lessor(
        StoreLeaseBucket(store),
        store.write_txn,
        ttl_min=ttl_min,
        revoke_rate=revoke_rate,
        deadlines=deadlines,
    )
    lessor.recover()
    # Which keys a lease has is a fact of each key's newest record.
    lessor.adopt_all(store.index.entries.items())
    alarms = Alarms()
    alarms.recover(backend)
    auth = AuthStore(StoreRows(store))
    auth.recover(backend)
    state = State(store, lessor, Compactor(store), alarms, auth, gate(auth, lessor))
    state.membership.recover(backend)
    if number:
        identity = Identity(
            cluster_id=read_meta(backend, _META_CLUSTER, 0) % (1 << 64),
            member_id=read_meta(backend, _META_MEMBER, 0) % (1 << 64),
        )
    else:
        identity = bootstrap()
    term = read_meta(backend, META_TERM, _FIRST_TERM - 1) + 1
    _note_start(store, auth, identity, term)
    for column in (Column.META, Column.ALARM, Column.CLUSTER):
        store.in_use += sum(len(key) + len(value) for key, value in backend.scan(column))
    return Recovered(state, identity, term, is_new=number == 0)


def _note_start(store: Store, auth: AuthStore, identity: Identity, term: int) -> None:
    """Every number there is is written, so that later ones only take the place of these."""
    batch = store.begin()
    store.put_meta(META_SCHEDULED, store.compact_revision)
    store.put_meta(META_FINISHED, store.swept_revision)
    store.put_meta(META_FREED, store.freed)
    store.put_meta(META_FORMAT, FORMAT)
    store.put_meta(_META_CLUSTER, _as_signed(identity.cluster_id))
    store.put_meta(_META_MEMBER, _as_signed(identity.member_id))
    store.put_meta(META_TERM, term)
    if not auth.revision:
        auth.bump()
    store.take_batch()
    store.backend.write(batch)
    store.backend.sync()
    auth.durable_revision = auth.revision


def _as_signed(number: int) -> int:
    return number - (1 << 64) if number >= _SIGNED else number
