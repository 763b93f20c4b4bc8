"""HPACK for a server that reads few of the headers it is sent.

Decoding is lazy: a field keeps its value as it stood on the wire, Huffman-coded or not, until
somebody asks. And it is cached: a block that only *refers* to the tables means the same until
some other block changes the dynamic table, so the blocks of a client that repeats itself are
looked up whole. What is decoded is checked against the `hpack` library on random blocks.

Nothing is indexed when encoding, so the peer's table settings never matter to us.

RFC 7541. An error here is a connection error: the two tables no longer agree.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

TABLE_BYTES_MAX: Final = 4096  # Our SETTINGS_HEADER_TABLE_SIZE: the protocol's default.
FIELDS_MAX: Final = 256  # In a block. One octet can refer to 4 KiB, so octets alone bound nothing.
_INTEGER_MAX: Final = 1 << 28
_ENTRY_OVERHEAD: Final = 32  # RFC 7541 section 4.1.
_TEXTS_MAX: Final = 1024  # Decoded Huffman strings kept, of clients that repeat themselves.
_STATIC_LENGTH: Final = 61


class HpackError(Exception):
    """A block that cannot be decoded. The connection ends with COMPRESSION_ERROR."""


class Field(NamedTuple):
    name: bytes
    raw: bytes  # As on the wire.
    is_huffman: bool


_STATIC: Final = (
    Field(b"", b"", False),
    *(Field(name, value, False) for name, value in HeaderTable.STATIC_TABLE),
)


class Decoder:
    """One direction of one connection."""

    __slots__ = ("_dynamic", "_limit", "_size", "_texts", "version")

    def __init__(self) -> None:
        self._dynamic: deque[tuple[Field, int]] = deque()  # Newest first, with its size.
        self._size = 0
        self._limit = TABLE_BYTES_MAX
        self._texts: dict[bytes, bytes] = {}
        self.version = 0  # Grows with every change of the dynamic table.

    def text(self, field: Field) -> bytes:
        """A field's value.

        Raises:
            HpackError: it is no valid Huffman string.
        """
        return self._huffman(field.raw) if field.is_huffman else field.raw

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a header block, in order.

        Raises:
            HpackError
        """
        fields: list[Field] = []
        at, end = 0, len(block)
        may_resize = True
        while at < end:
            first = block[at]
            at += 1
            if first & 0x80:
                index = first & 0x7F
                if index == 0x7F:
                    index, at = _continued(block, at, index)
                fields.append(self._entry(index))
            elif first & 0xE0 == 0x20:
                limit = first & 0x1F
                if limit == 0x1F:
                    limit, at = _continued(block, at, limit)
                if limit > TABLE_BYTES_MAX or not may_resize:
                    raise HpackError("a table size that was not allowed, or not here")
                self._resize(limit)
                continue
            else:
                is_indexed = first & 0x40
                mask = 0x3F if is_indexed else 0x0F
                index = first & mask
                if index == mask:
                    index, at = _continued(block, at, index)
                if index:
                    name = self._entry(index).name
                else:
                    raw, is_huffman, at = _string(block, at)
                    name = self._huffman(raw) if is_huffman else raw
                raw, is_huffman, at = _string(block, at)
                field = Field(name, raw, is_huffman)
                fields.append(field)
                if is_indexed:
                    self._insert(field)
            may_resize = False
            if len(fields) > FIELDS_MAX:
                raise HpackError("too many fields")
        return fields

    def _entry(self, index: int) -> Field:
        if index <= _STATIC_LENGTH:
            if index == 0:
                raise HpackError("index 0")
            return _STATIC[index]
        try:
            return self._dynamic[index - _STATIC_LENGTH - 1][0]
        except IndexError:
            raise HpackError("an index beyond the table") from None

    def _insert(self, field: Field) -> None:
        self.version += 1
        size = len(field.name) + len(self.text(field)) + _ENTRY_OVERHEAD
        self._dynamic.appendleft((field, size))
        self._size += size
        if self._size > self._limit:
            self._evict()

    def _resize(self, limit: int) -> None:
        self.version += 1
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            self._size -= self._dynamic.pop()[1]

    def _huffman(self, raw: bytes) -> bytes:
        text = self._texts.get(raw)
        if text is None:
            try:
                text = bytes(decode_huffman(raw))
            except HPACKDecodingError as error:
                raise HpackError("no Huffman string") from error
            if len(self._texts) >= _TEXTS_MAX:
                self._texts.clear()
            self._texts[raw] = text
        return text


def _continued(block: bytes, at: int, number: int) -> tuple[int, int]:
    """The rest of an integer whose first octet was all ones: (number, position behind it)."""
    shift = 0
    try:
        while True:
            octet = block[at]
            at += 1
            number += (octet & 0x7F) << shift
            if number > _INTEGER_MAX or shift > 28:
                raise HpackError("an integer too large")
            if octet < 0x80:
                return number, at
            shift += 7
    except IndexError:
        raise HpackError("a block that ends within an integer") from None


def _string(block: bytes, at: int) -> tuple[bytes, bool, int]:
    """A string literal: (octets, are they Huffman-coded, position behind them)."""
    try:
        first = block[at]
    except IndexError:
        raise HpackError("a block that ends before a string") from None
    at += 1
    length = first & 0x7F
    if length == 0x7F:
        length, at = _continued(block, at, length)
    end = at + length
    if end > len(block):
        raise HpackError("a block that ends within a string")
    return block[at:end], first >= 0x80, end


def encode(fields: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """`fields` as literals that are in nobody's table and stay out of it."""
    out = bytearray()
    for name, value in fields:
        out.append(0)
        for text in (name, value):
            if len(text) < 0x7F:
                out.append(len(text))
            else:
                out.append(0x7F)
                rest = len(text) - 0x7F
                while rest > 0x7F:
                    out.append(rest & 0x7F | 0x80)
                    rest >>= 7
                out.append(rest)
            out += text
    return bytes(out)
