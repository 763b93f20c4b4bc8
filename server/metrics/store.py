"""The keys, their history, who watches them, and what they take on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from server.metrics.histogram import Histogram, histogram
from server.metrics.sources import Sources
from server.metrics.text import Family, counter, gauge
from server.quota import db_size

_WATCH: Final = "/etcdserverpb.Watch/Watch"


def families(sources: Sources) -> Iterator[Family]:
    yield from _operations(sources)
    yield from _contents(sources)
    yield from _watching(sources)
    yield from _disk(sources)


def _operations(sources: Sources) -> Iterator[Family]:
    tally = sources.state.tally
    yield counter("etcd_mvcc_put_total", "Puts, those in transactions too.", tally.puts)
    yield counter(
        "etcd_mvcc_delete_total",
        "Deletes, each of one key or range; a lease's end counts each of its keys.",
        tally.deletes,
    )
    yield counter("etcd_mvcc_range_total", "Ranges, those in transactions too.", tally.ranges)
    yield counter("etcd_mvcc_txn_total", "Transactions of more than one operation.", tally.txns)
    yield gauge(
        "etcd_debugging_mvcc_total_put_size_in_bytes",
        "Bytes of keys and values put since the start.",
        tally.put_bytes,
    )


def _contents(sources: Sources) -> Iterator[Family]:
    store = sources.state.store
    yield gauge("etcd_debugging_mvcc_keys_total", "Keys that exist now.", len(store.index))
    yield gauge(
        "etcd_debugging_mvcc_current_revision",
        "The newest revision that is durable.",
        store.published,
    )
    yield gauge(
        "etcd_debugging_mvcc_compact_revision",
        "The revision last compacted; -1 before the first compaction.",
        store.compact_revision,
    )
    yield gauge(
        "etcd_mvcc_db_total_size_in_bytes",
        "Size of the store's rows and of what compaction freed since it was last defragmented.",
        db_size(sources.state),
    )
    yield gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Size of its rows.", store.in_use)
    yield gauge(
        "etcd_server_quota_backend_bytes",
        "The size at which the store refuses writes.",
        sources.quota_bytes,
    )


def _watching(sources: Sources) -> Iterator[Family]:
    hub, streams = sources.hub, sources.calls.get(_WATCH)
    yield gauge(
        "etcd_debugging_mvcc_watch_stream_total",
        "Watch streams that are open.",
        0 if streams is None else streams.active,
    )
    yield gauge("etcd_debugging_mvcc_watcher_total", "Watchers on them.", len(hub))
    yield gauge(
        "etcd_debugging_mvcc_slow_watcher_total",
        "Watchers that are behind and read from history.",
        hub.behind_count,
    )


def _disk(sources: Sources) -> Iterator[Family]:
    observed = sources.observed
    yield _durations(
        "etcd_disk_wal_fsync_duration_seconds", "How long each fsync took.", observed.fsync_s
    )
    yield _durations(
        "etcd_disk_backend_commit_duration_seconds",
        "How long each group of changes waited for the disk, up to when its answers could leave.",
        observed.commit_s,
    )


def _durations(name: str, help: str, taken: Histogram) -> Family:
    return histogram(name, help, taken.bounds, taken.counts, taken.sum)
