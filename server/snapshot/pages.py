"""The pages of a bbolt file, byte for byte as bbolt lays them out (page.go, meta in db.go).

A file is a row of pages of one size. A page begins with 16 bytes: its own number u64, what it is
u16, how many elements it has u16, and how many pages behind it belong to it u32, the overflow.
All numbers are little-endian. Then, by kind:

    meta      magic, version, page size, flags; root page and sequence of the root bucket; the
              page of the freelist; the high-water mark, which is the number of the first page
              that does not exist; the transaction; FNV-1a of all these. Pages 0 and 1: the one
              of the newer transaction counts, if its checksum is right
    freelist  the numbers of the pages nobody uses
    branch    elements of 16 bytes: where the key is, how long, the page below; then the keys.
              A key is the first one of the page below
    leaf      elements of 16 bytes: flags, where the key is, how long, how long the value behind
              it; then keys and values

"Where" counts from the element's own first byte. A bucket is a leaf element with a flag; its value
is the number of its root page u64 and a sequence u64. If that number is 0 the bucket is so small
that its one leaf page stands right behind, within the value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

PAGE_BYTES: Final = 4096  # Of the files written here; a reader takes the size from the meta page.
PAGE_BYTES_MIN: Final = 1024  # What bbolt itself looks for when the first meta page is damaged.
PAGE_BYTES_MAX: Final = 1 << 25
HEADER: Final = struct.Struct("<QHHI")
BRANCH: Final = 0x01
LEAF: Final = 0x02
META: Final = 0x04
FREELIST: Final = 0x10
ELEMENT_BYTES: Final = 16
BUCKET: Final = 0x01  # A leaf element's flag: the value is a bucket.
BUCKET_HEADER: Final = struct.Struct("<QQ")

KEY_BYTES_MAX: Final = 32_768  # bbolt's MaxKeySize; it takes no empty key either.
VALUE_BYTES_MAX: Final = (1 << 31) - 2
INLINE_BYTES_MAX: Final = PAGE_BYTES // 4  # A larger bucket gets a page of its own (bucket.go).

MAGIC: Final = 0xED0CDAED
VERSION: Final = 2
NO_FREELIST: Final = 0xFFFF_FFFF_FFFF_FFFF  # None was written; bbolt looks for free pages itself.
FIRST_PAGE: Final = 3  # Behind two meta pages and the freelist.
_META: Final = struct.Struct("<IIIIQQQQQ")
_CHECKSUM: Final = struct.Struct("<Q")
META_BYTES: Final = _META.size + _CHECKSUM.size
_FNV_OFFSET: Final = 0xCBF2_9CE4_8422_2325
_FNV_PRIME: Final = 0x100_0000_01B3

_BRANCH_ELEMENT: Final = struct.Struct("<IIQ")


class Meta(NamedTuple):
    page_bytes: int
    root: int
    freelist: int
    high_water: int
    transaction: int


def fnv1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash."""
    number = _FNV_OFFSET
    for byte in data:
        number = (number ^ byte) * _FNV_PRIME & 0xFFFF_FFFF_FFFF_FFFF
    return number


def meta_page(number: int, meta: Meta) -> bytes:
    """One of the two meta pages, whole."""
    body = _META.pack(
        *(MAGIC, VERSION, meta.page_bytes, 0, meta.root, 0),
        *(meta.freelist, meta.high_water, meta.transaction),
    )
    page = HEADER.pack(number, META, 0, 0) + body + _CHECKSUM.pack(fnv1a(body))
    return page.ljust(meta.page_bytes, b"\0")


def parse_meta(body: bytes) -> Meta | str:
    """What stands behind the header of a meta page, or what is wrong with it."""
    if len(body) < META_BYTES:
        return "it is cut short"
    magic, version, page_bytes, _, root, _, freelist, high_water, transaction = _META.unpack_from(
        body
    )
    if magic != MAGIC:
        return "it does not begin as a bbolt file does"
    if version != VERSION:
        return f"it is of version {version} of the format, and only {VERSION} is known"
    (checksum,) = _CHECKSUM.unpack_from(body, _META.size)
    if checksum != fnv1a(body[: _META.size]):
        return "its checksum is wrong"
    if page_bytes & (page_bytes - 1) or not PAGE_BYTES_MIN <= page_bytes <= PAGE_BYTES_MAX:
        return f"a page size of {page_bytes} is impossible"
    return Meta(page_bytes, root, freelist, high_water, transaction)


def file_header(root: int, high_water: int) -> bytes:
    """The first three pages of a file whose root bucket and size are known: metas and freelist.

    Two meta pages that say the same, as after bbolt's own WriteTo; the first is the newer one.
    No page is free.
    """
    metas = [
        meta_page(number, Meta(PAGE_BYTES, root, FIRST_PAGE - 1, high_water, 2 - number))
        for number in (0, 1)
    ]
    freelist = HEADER.pack(FIRST_PAGE - 1, FREELIST, 0, 0)
    return b"".join((*metas, freelist.ljust(PAGE_BYTES, b"\0")))


def pages_for(size: int) -> int:
    """How many pages `size` bytes, header included, take up."""
    return -(-size // PAGE_BYTES)


def leaf(
    number: int, flags: Sequence[int], keys: Sequence[bytes], values: Sequence[bytes]
) -> bytes:
    """A leaf page without what fills it up to whole pages; number 0 for one within a value."""
    count = len(keys)
    numbers: list[int] = []
    where = ELEMENT_BYTES * count
    parts: list[bytes] = []
    for flag, key, value in zip(flags, keys, values, strict=True):
        key_bytes, value_bytes = len(key), len(value)
        numbers += (flag, where, key_bytes, value_bytes)
        where += key_bytes + value_bytes - ELEMENT_BYTES
        parts.append(key)
        parts.append(value)
    size = HEADER.size + where + ELEMENT_BYTES * count
    overflow = pages_for(size) - 1 if number else 0
    head = HEADER.pack(number, LEAF, count, overflow)
    return b"".join((head, struct.pack(f"<{4 * count}I", *numbers), *parts))


def branch(number: int, children: Sequence[tuple[bytes, int]]) -> bytes:
    """A branch page without what fills it up; a child is its first key and its page."""
    where = ELEMENT_BYTES * len(children)
    elements = []
    for key, page in children:
        elements.append(_BRANCH_ELEMENT.pack(where, len(key), page))
        where += len(key) - ELEMENT_BYTES
    size = HEADER.size + where + ELEMENT_BYTES * len(children)
    head = HEADER.pack(number, BRANCH, len(children), pages_for(size) - 1)
    return b"".join((head, *elements, *(key for key, _ in children)))
