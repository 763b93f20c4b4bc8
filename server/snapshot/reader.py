"""Reading a bbolt file that nobody vouches for.

Pages carry no checksum, so nothing that a page says is believed before it is checked: its number,
its kind, that its elements and what they point at lie within it, that the pages it names exist.
Every page is reached at most once in the life of a `BoltFile`, across all buckets; so whatever
the bytes are, reading ends, and no page is counted twice. Keys must rise from row to row. What is
wrong is said with the page it is wrong on.

The file is read page by page with `pread`. A mapping would be no faster here, and would kill the
process with SIGBUS if the file shrank or its device failed; this way both are errors.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from server.snapshot.pages import (
    BRANCH,
    BUCKET,
    BUCKET_HEADER,
    ELEMENT_BYTES,
    HEADER,
    LEAF,
    META,
    META_BYTES,
    PAGE_BYTES_MAX,
    PAGE_BYTES_MIN,
    Meta,
    parse_meta,
)
from server.snapshot.writer import Row


class BoltError(Exception):
    """The file is no bbolt file, or is damaged. The text says what is wrong and where."""


class Bucket(NamedTuple):
    """Where a bucket's rows are: below a page, or all in the page that `inline` is."""

    root: int
    inline: bytes | None = None


class BoltFile:
    """A bbolt file open for reading. Made by `open`; each of its buckets can be read once."""

    def __init__(self, descriptor: int, file_bytes: int) -> None:
        """`file_bytes` is the part of the file that belongs to bbolt.

        Raises:
            BoltError: it is no bbolt file, or ends before its last page.
        """
        self._descriptor = descriptor
        meta = _newest_meta(descriptor, file_bytes)
        self.page_bytes = meta.page_bytes
        self.high_water = meta.high_water
        self._root = Bucket(meta.root)
        needed = meta.high_water * meta.page_bytes
        if needed > file_bytes:
            raise BoltError(
                f"it is cut short: {file_bytes} bytes of at least {needed}"
                f" ({meta.high_water} pages of {meta.page_bytes})"
            )
        self.size_bytes = needed
        self._claimed = bytearray(meta.high_water)  # A byte for each page: 1 MiB for 4 GiB of file.
        self.pages_read = 0  # Reached so far.
        self._claim(0, 2, "a meta page")

    @classmethod
    def open(cls, path: Path, file_bytes: int) -> Self:
        """Open the first `file_bytes` bytes of `path`.

        Raises:
            BoltError: as the constructor.
            OSError: it cannot be opened or read.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return cls(descriptor, file_bytes)
        except BaseException:
            os.close(descriptor)
            raise

    def lock(self) -> bool:
        """Keep bbolt, which locks what it opens, away until `close`. False if it is there."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def buckets(self) -> dict[bytes, Bucket]:
        """The buckets at the top, by name.

        Raises:
            BoltError
        """
        found = {}
        for key, value, flags in self._walk(self._root):
            if not flags & BUCKET:
                raise BoltError(f"{key[:32]!r} at the top is no bucket")
            found[key] = _bucket(key, value)
        return found

    def rows(self, bucket: Bucket) -> Iterator[Row]:
        """The rows of a bucket that holds no others, in order.

        Raises:
            BoltError
        """
        for key, value, flags in self._walk(bucket):
            if flags & BUCKET:
                raise BoltError(f"{key[:32]!r} is a bucket within a bucket, which etcd never makes")
            yield key, value

    def nested(self, bucket: Bucket) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """All that is in a bucket, whichever it is.

        Raises:
            BoltError
        """
        for key, value, flags in self._walk(bucket):
            yield key, _bucket(key, value) if flags & BUCKET else value

    def _walk(self, bucket: Bucket) -> Iterator[tuple[bytes, bytes, int]]:
        """Key, value and flags of each row below a bucket's root, left to right."""
        if bucket.inline is not None:
            yield from _in_order(_leaf_rows(bucket.inline, "an inline bucket"), b"")
            return
        ahead = [bucket.root]  # Pages to be read; the next one is last.
        last = b""
        while ahead:
            number = ahead.pop()
            page, kind = self._page(number)
            if kind == BRANCH:
                ahead.extend(reversed(_children(page, number)))
                continue
            for row in _in_order(_leaf_rows(page, f"page {number}"), last):
                yield row
                last = row[0]

    def _page(self, number: int) -> tuple[bytes, int]:
        """A branch or leaf page with its overflow, and which of the two it is."""
        self._claim(number, 1, "a branch page or a bucket")
        page = self._read(number, 1)
        said, kind, _, overflow = HEADER.unpack_from(page)
        if said != number:
            raise BoltError(f"page {number} says that it is page {said}")
        if kind not in (BRANCH, LEAF):
            raise BoltError(f"page {number} is neither branch nor leaf (its flags are {kind:#x})")
        if overflow:
            self._claim(number + 1, overflow, f"the overflow of page {number}")
            page = self._read(number, 1 + overflow)
        return page, kind

    def _claim(self, number: int, count: int, by: str) -> None:
        if number + count > self.high_water:
            past = number + count - 1
            raise BoltError(f"{by} names page {past}, and the last one is {self.high_water - 1}")
        if any(self._claimed[number : number + count]):
            raise BoltError(f"{by} names page {number}, which belongs to something else already")
        self._claimed[number : number + count] = b"\1" * count
        self.pages_read += count

    def _read(self, number: int, count: int) -> bytes:
        wanted = count * self.page_bytes
        page = os.pread(self._descriptor, wanted, number * self.page_bytes)
        while len(page) < wanted:  # One call gives 2 GiB at most.
            more = os.pread(
                self._descriptor, wanted - len(page), number * self.page_bytes + len(page)
            )
            if not more:
                raise BoltError(f"it ends within page {number}: it has become shorter meanwhile")
            page += more
        return page


def _newest_meta(descriptor: int, file_bytes: int) -> Meta:
    """The valid meta page of the newest transaction."""
    found = [_meta_at(descriptor, 0, file_bytes)]
    if isinstance(found[0], Meta):
        found.append(_meta_at(descriptor, found[0].page_bytes, file_bytes))
    else:
        # Where the second one is follows from the size of a page, which only it tells now.
        size = PAGE_BYTES_MIN
        while size <= PAGE_BYTES_MAX and size < file_bytes:
            second = _meta_at(descriptor, size, file_bytes)
            if isinstance(second, Meta) and second.page_bytes == size:
                found.append(second)
                break
            size *= 2
    valid = [each for each in found if isinstance(each, Meta)]
    if not valid:
        raise BoltError(f"it is no database of etcd: its first page is no meta page, {found[0]}")
    return max(valid, key=lambda meta: meta.transaction)


def _meta_at(descriptor: int, position: int, file_bytes: int) -> Meta | str:
    size = min(HEADER.size + META_BYTES, max(file_bytes - position, 0))
    head = os.pread(descriptor, size, position)
    if len(head) < HEADER.size + META_BYTES:
        return "for the file is too short"
    _, kind, _, _ = HEADER.unpack_from(head)
    parsed = parse_meta(head[HEADER.size :])
    if isinstance(parsed, Meta) and kind != META:
        return f"its flags are {kind:#x}"
    return parsed


def _bucket(key: bytes, value: bytes) -> Bucket:
    if len(value) < BUCKET_HEADER.size:
        raise BoltError(f"bucket {key[:32]!r} has a header of {len(value)} bytes")
    root, _ = BUCKET_HEADER.unpack_from(value)
    if not root and len(value) < BUCKET_HEADER.size + HEADER.size:
        raise BoltError(f"bucket {key[:32]!r} is inline and has no page")
    return Bucket(root, None if root else value[BUCKET_HEADER.size :])


def _in_order(
    rows: Iterator[tuple[bytes, bytes, int]], last: bytes
) -> Iterator[tuple[bytes, bytes, int]]:
    for row in rows:
        key = row[0]
        if key <= last:
            raise BoltError(f"key {key[:32]!r} does not come after key {last[:32]!r}")
        yield row
        last = key


def _leaf_rows(page: bytes, where: str) -> Iterator[tuple[bytes, bytes, int]]:
    _, kind, count, _ = HEADER.unpack_from(page)
    if kind != LEAF:
        raise BoltError(f"{where} is no leaf (its flags are {kind:#x})")
    numbers = _elements(page, f"<{4 * count}I", where)
    base, size = HEADER.size, len(page)
    for flags, offset, key_bytes, value_bytes in zip(*[iter(numbers)] * 4, strict=True):
        start = base + offset
        middle = start + key_bytes
        end = middle + value_bytes
        if end > size:
            raise BoltError(f"{where}: an element reaches {end - size} bytes beyond it")
        yield page[start:middle], page[middle:end], flags
        base += ELEMENT_BYTES


def _children(page: bytes, number: int) -> list[int]:
    """The pages below a branch page. Its keys are not needed: rows come in order or not at all."""
    _, _, count, _ = HEADER.unpack_from(page)
    if not count:
        raise BoltError(f"page {number} is a branch without a child")
    numbers = _elements(page, "<" + "IIQ" * count, f"page {number}")
    return list(numbers[2::3])


def _elements(page: bytes, form: str, where: str) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, page, HEADER.size)
    except struct.error:
        raise BoltError(f"{where} is too small for the elements it says it has") from None
