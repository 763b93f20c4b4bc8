"""The dull etcd of the checker: keys at one revision, and what a transaction does to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compat.histories.record import KV, Delete, Event, Get, Guard, Operation, Put

Keys = Mapping[bytes, KV]


def covers(begin: bytes, end: bytes, key: bytes) -> bool:
    """Whether a request's key and range_end take in `key`."""
    if not end:
        return key == begin
    return key >= begin and (end == b"\0" or key < end)


def select(keys: Keys, begin: bytes, end: bytes) -> tuple[KV, ...]:
    """What a Range shows, in the order of the keys."""
    if not end:
        return (keys[begin],) if begin in keys else ()
    return tuple(keys[key] for key in sorted(keys) if covers(begin, end, key))


def holds(guards: Sequence[Guard], keys: Keys) -> bool:
    return all((keys[key].mod if key in keys else 0) == mod for key, mod in guards)


def run(
    keys: Keys, revision: int, operations: Sequence[Operation]
) -> tuple[tuple[tuple[KV, ...], ...], tuple[Event, ...]]:
    """What `operations` show and what they change, applied to `keys` at `revision`.

    `keys` is left as it is. `Get.revision` is not looked at: the caller gives the right keys.
    """
    changed = dict(keys)
    shown: list[tuple[KV, ...]] = []
    events: list[Event] = []
    for operation in operations:
        match operation:
            case Get():
                shown.append(select(changed, operation.key, operation.end))
            case Put():
                old = changed.get(operation.key)
                shown.append((old,) if old is not None else ())
                kv = KV(
                    operation.key,
                    operation.value,
                    old.create if old is not None else revision,
                    revision,
                    old.version + 1 if old is not None else 1,
                    operation.lease,
                )
                changed[operation.key] = kv
                events.append(Event(revision, operation.key, kv, keys.get(operation.key)))
            case Delete():
                gone = select(changed, operation.key, operation.end)
                shown.append(gone)
                for kv in gone:
                    del changed[kv.key]
                    events.append(Event(revision, kv.key, None, keys.get(kv.key)))
    return tuple(shown), tuple(events)


def change(keys: dict[bytes, KV], events: Sequence[Event]) -> None:
    """Make `keys` what they are after `events`."""
    for event in events:
        if event.kv is None:
            keys.pop(event.key, None)
        else:
            keys[event.key] = event.kv
