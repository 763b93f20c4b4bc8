"""A bbolt file built in one pass from rows in order, in memory that does not grow with them.

A tree is filled from the left: leaves are written as they fill up, and a level above holds no more
than its one unfinished page. Pages are full, where bbolt would leave room for later keys: what is
written here is read or loaded whole. Every branch page has two children or more.

The head of a file names its root page and its size, which are known at the end only, and a stream
has to begin with its head. So a file is laid out twice from the same rows: `measure` allots the
page numbers and builds nothing, then `emit` builds the same pages. Two passes cost a second scan,
and spare a copy of the store on its own disk.

`Pages` is where pages go, `Tree` is one bucket, `layout` is all of a file.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from server.snapshot.pages import (
    BUCKET,
    BUCKET_HEADER,
    ELEMENT_BYTES,
    FIRST_PAGE,
    HEADER,
    INLINE_BYTES_MAX,
    KEY_BYTES_MAX,
    PAGE_BYTES,
    VALUE_BYTES_MAX,
    branch,
    file_header,
    leaf,
    pages_for,
)

SLICE_ROWS_MAX: Final = 500  # Laid out before the caller gets to do other work: some 1 ms.
SLICE_BYTES_MAX: Final = 256 << 10  # The same for large rows; what waits to be taken, but one row.

Row = tuple[bytes, bytes]


class UnwritableError(Exception):
    """A row that a bbolt file cannot hold. The text says which and why."""


class Pages:
    """Pages in the order of their numbers. Taken away by `take` as they are made."""

    def __init__(self, *, is_dry: bool) -> None:
        """`is_dry` for one that only counts."""
        self.is_dry = is_dry
        self.next = FIRST_PAGE  # At the end the high-water mark.
        self.waiting_bytes = 0
        self._waiting: list[bytes] = []

    def allot(self, size: int) -> int:
        """The number of the next page; it and as many behind it as `size` bytes need are used."""
        number = self.next
        self.next += pages_for(size)
        return number

    def put(self, page: bytes) -> None:
        """Append what was built for the number allotted last."""
        page = page.ljust(pages_for(len(page)) * PAGE_BYTES, b"\0")
        self._waiting.append(page)
        self.waiting_bytes += len(page)

    def take(self) -> bytes:
        """What was put since the last time."""
        taken = b"".join(self._waiting)
        self._waiting.clear()
        self.waiting_bytes = 0
        return taken


@dataclass(slots=True)
class _Branch:
    """The unfinished page of one level above the leaves."""

    children: list[tuple[bytes, int]] = field(default_factory=list)
    size: int = HEADER.size


class Tree:
    """One bucket: rows go in in order, its place in the file comes out."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._flags: list[int] = []
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._size = HEADER.size  # Of the unfinished leaf.
        self._has_nested = False
        self._last: bytes = b""  # The newest key; every key is above it.
        self._levels: list[_Branch] = []

    def add(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Append a row.

        Raises:
            UnwritableError: bbolt allows no such key or value.
        """
        if not key or len(key) > KEY_BYTES_MAX:
            reason = f"a key of {len(key)} bytes is not in 1..{KEY_BYTES_MAX}"
            raise UnwritableError(f"{key[:32]!r}: {reason}")
        if len(value) > VALUE_BYTES_MAX:
            raise UnwritableError(f"{key[:32]!r}: the value is above {VALUE_BYTES_MAX} bytes")
        assert key > self._last, "rows come in order"
        size = ELEMENT_BYTES + len(key) + len(value)
        if self._size + size > PAGE_BYTES and self._keys:
            self._write_leaf()
        self._flags.append(flags)
        self._keys.append(key)
        self._values.append(value)
        self._size += size
        self._has_nested |= bool(flags)
        self._last = key

    def end(self) -> int:
        """Write what is left; returns the number of the root page."""
        if self._keys or not self._levels:
            self._write_leaf()
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level].children) > 1:
            self._write_branch(level)
            level += 1
        return self._levels[level].children[0][1]

    def end_bucket(self) -> bytes:
        """`end` for a bucket that stands in another; returns its value there."""
        if not self._levels and not self._has_nested and self._size <= INLINE_BYTES_MAX:
            return BUCKET_HEADER.pack(0, 0) + leaf(0, self._flags, self._keys, self._values)
        return BUCKET_HEADER.pack(self.end(), 0)

    def _write_leaf(self) -> None:
        number = self._pages.allot(self._size)
        if not self._pages.is_dry:
            self._pages.put(leaf(number, self._flags, self._keys, self._values))
        self._hang(0, self._keys[0] if self._keys else b"", number)
        self._flags.clear()
        self._keys.clear()
        self._values.clear()
        self._size = HEADER.size

    def _write_branch(self, level: int) -> None:
        node = self._levels[level]
        number = self._pages.allot(node.size)
        if not self._pages.is_dry:
            self._pages.put(branch(number, node.children))
        self._hang(level + 1, node.children[0][0], number)
        node.children.clear()
        node.size = HEADER.size

    def _hang(self, level: int, key: bytes, number: int) -> None:
        """Name a finished page in the level above it."""
        if level == len(self._levels):
            self._levels.append(_Branch())
        node = self._levels[level]
        size = ELEMENT_BYTES + len(key)
        if node.size + size > PAGE_BYTES and len(node.children) > 2:
            # The last child goes with the new one: a page of one child would be no branch.
            kept = node.children.pop()
            node.size -= ELEMENT_BYTES + len(kept[0])
            self._write_branch(level)
            node.children.append(kept)
            node.size += ELEMENT_BYTES + len(kept[0])
        node.children.append((key, number))
        node.size += size


Content = Sequence[tuple[bytes, Iterable[Row]]]
"""Buckets by name, in order of the names, each with its rows in order."""


class Extent(NamedTuple):
    """What `measure` found: enough to write a file's first pages."""

    root: int
    high_water: int
    rows: int

    @property
    def file_bytes(self) -> int:
        return self.high_water * PAGE_BYTES

    def header(self) -> bytes:
        return file_header(self.root, self.high_water)


def measure(content: Content) -> Generator[None, None, Extent]:
    """Lay `content` out without building it; yields now and then so that others get a turn.

    Raises:
        UnwritableError: a row has no place in a bbolt file.
    """
    return _lay_out(Pages(is_dry=True), content)


def emit(content: Content, pages: Pages) -> Generator[None, None, Extent]:
    """Build the pages behind a file's header into `pages`; at each yield, take what is there."""
    return _lay_out(pages, content)


def _lay_out(pages: Pages, content: Content) -> Generator[None, None, Extent]:
    root = Tree(pages)
    rows = slice_rows = slice_bytes = 0
    for name, pairs in content:
        tree = Tree(pages)
        for key, value in pairs:
            tree.add(key, value)
            rows += 1
            slice_rows += 1
            slice_bytes += len(value)
            if slice_rows == SLICE_ROWS_MAX or slice_bytes >= SLICE_BYTES_MAX:
                slice_rows = slice_bytes = 0
                yield
        root.add(name, tree.end_bucket(), BUCKET)
    number = root.end()
    yield
    return Extent(number, pages.next, rows)
