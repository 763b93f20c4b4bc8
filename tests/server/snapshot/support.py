"""bbolt files, made in memory and taken from real etcds, and what a reader finds in one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.snapshot.pages import BUCKET, PAGE_BYTES
from server.snapshot.reader import BoltFile, Bucket
from server.snapshot.writer import Content, Extent, Pages, Tree, emit, measure

Nested = Mapping[bytes, "bytes | Nested"]


def finished(steps: Iterator[None]) -> Extent:
    """The result of a generator that yields between slices."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            extent: Extent = end.value
            return extent


def written(content: Content) -> bytes:
    """A bbolt file with these buckets. The rows of `content` are iterated twice."""
    extent = finished(measure(content))
    pages = Pages(is_dry=False)
    assert finished(emit(content, pages)) == extent
    data = extent.header() + pages.take()
    assert len(data) == extent.file_bytes
    return data


def with_hash(data: bytes) -> bytes:
    """The file as a snapshot of it is."""
    return data + hashlib.sha256(data).digest()


def write_nested(pages: Pages, rows: Nested) -> Tree:
    """A bucket, and the buckets in it before it."""
    tree = Tree(pages)
    for key, value in sorted(rows.items()):
        if isinstance(value, bytes):
            tree.add(key, value)
        else:
            tree.add(key, write_nested(pages, value).end_bucket(), BUCKET)
    return tree


def read_nested(file: BoltFile, bucket: Bucket) -> Nested:
    return {
        key: read_nested(file, value) if isinstance(value, Bucket) else value
        for key, value in file.nested(bucket)
    }


def read_all(path: Path, data: bytes) -> dict[bytes, list[tuple[bytes, bytes]]]:
    """Write `data` to `path`, and read every bucket of it."""
    path.write_bytes(data)
    with BoltFile.open(path, len(data)) as file:
        return {name: list(file.rows(bucket)) for name, bucket in file.buckets().items()}


def page_at(data: bytes, number: int) -> bytes:
    return data[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]


@dataclass(frozen=True)
class Taken:
    """A snapshot taken from a real etcd, and what that etcd said of itself at the time.

    Both hold the same: apples of three colours, a pear with a lease, a key put and deleted, all
    compacted up to 5; then a key with the lease, a fig, users root and eve, and auth enabled.
    """

    path: Path
    hash_kv: int
    lease: int


_TESTDATA: Final = Path(__file__).parent / "testdata"
ETCD_3_5: Final = Taken(_TESTDATA / "etcd-3.5.1.snapshot", 1520091121, 0x694DA206B4D94605)
ETCD_3_4: Final = Taken(_TESTDATA / "etcd-3.4.23.snapshot", 470860106, 0x694DA206B4E6B405)
