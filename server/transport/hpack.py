"""HPACK for a server.

What a block means is cached by its owner: `Decoder.version` tells whether a block that was
decoded before still means the same. Strings are decoded once for clients that repeat themselves,
and a field is looked at once, when it first comes: what the table holds is known to be well made
or not. What is decoded is checked against the `hpack` library on random blocks.

Nothing is indexed when encoding, so the peer's table settings never matter to us, but for one:
a peer that makes its table smaller has to be told once that we obey (`EMPTY_TABLE`).

RFC 7541. An error here is a connection error: the two tables no longer agree.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from hpack.table import HeaderTable

from server.transport import huffman

TABLE_BYTES_MAX: Final = 4096  # Our SETTINGS_HEADER_TABLE_SIZE: the protocol's default.
FIELDS_MAX: Final = 256  # In a block. One octet can refer to 4 KiB, so octets alone bound nothing.
EMPTY_TABLE: Final = b"\x20"  # Before a block: a table of no bytes (section 6.3).
_INTEGER_MAX: Final = 1 << 28
_ENTRY_OVERHEAD: Final = 32
_TEXTS_MAX: Final = 1024  # Decoded Huffman strings kept, of clients that repeat themselves,
_TEXT_BYTES_MAX: Final = 128  # if they are no longer than this.
_NAME_OCTETS: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_NOT_IN_VALUES: Final = b"\0\r\n"


class HpackError(Exception):
    """A block that cannot be decoded. The connection ends with COMPRESSION_ERROR."""


class Field(NamedTuple):
    name: bytes
    value: bytes
    is_valid: bool  # By the octets that may stand in it (RFC 9113 section 8.2.1).


_STATIC: Final = (
    Field(b"", b"", False),  # There is no index 0.
    *(Field(name, value, True) for name, value in HeaderTable.STATIC_TABLE),
)
_NEWEST: Final = len(_STATIC)  # The index of the newest field in the dynamic table.

_NO_INDEX: Final = 1 << 30  # Beyond every table, as 0 is.

# What is one whole field, an index between 1 and 126, and which.
_INDEXED: Final = bytes(range(0x81, 0xFF))
_INDEX: Final = bytes(octet & 0x7F for octet in range(256))


def is_valid(name: bytes, value: bytes) -> bool:
    """May a message have this field? A colon may lead its name: what pseudo-headers are.

    White space around a value is let pass: clients of gRPC send it, and it cannot end a line.
    """
    bare = name[1:] if name[:1] == b":" else name
    return (
        bool(bare)
        and not bare.translate(None, _NAME_OCTETS)
        and len(value.translate(None, _NOT_IN_VALUES)) == len(value)
    )


class Decoder:
    """One direction of one connection."""

    __slots__ = ("_limit", "_size", "_table", "_texts", "version")

    def __init__(self) -> None:
        self._table = [*_STATIC]  # By index: behind the static table the dynamic one.
        self._size = 0
        self._limit = TABLE_BYTES_MAX
        self._texts: dict[bytes, bytes] = {}
        self.version = 0  # Grows with every change of the dynamic table.

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a header block, in order.

        Raises:
            HpackError
        """
        try:
            if len(block) <= FIELDS_MAX and not block.translate(None, _INDEXED):
                return list(map(self._table.__getitem__, block.translate(_INDEX)))
            return self._decode(block)
        except IndexError:
            raise HpackError("an index beyond the table") from None

    def _decode(self, block: bytes) -> list[Field]:
        table = self._table
        fields: list[Field] = []
        at, end = 0, len(block)
        while at < end:
            first = block[at]
            at += 1
            if first & 0x80:
                index = first & 0x7F
                if index == 0x7F:
                    index, at = _continued(block, at, index)
                fields.append(table[index or _NO_INDEX])
            elif first & 0xE0 == 0x20:
                limit = first & 0x1F
                if limit == 0x1F:
                    limit, at = _continued(block, at, limit)
                if limit > TABLE_BYTES_MAX or fields:
                    raise HpackError("a table size that was not allowed, or not here")
                self._resize(limit)
            else:
                is_indexed = first & 0x40
                mask = 0x3F if is_indexed else 0x0F
                index = first & mask
                if index == mask:
                    index, at = _continued(block, at, index)
                if index:
                    name = table[index].name
                else:
                    name, at = self._string(block, at)
                value, at = self._string(block, at)
                field = Field(name, value, is_valid(name, value))
                fields.append(field)
                if is_indexed:
                    self._insert(field)
            if len(fields) > FIELDS_MAX:
                raise HpackError("too many fields")
        return fields

    def _insert(self, field: Field) -> None:
        self.version += 1
        self._table.insert(_NEWEST, field)
        self._size += _size(field)
        if self._size > self._limit:
            self._evict()

    def _resize(self, limit: int) -> None:
        self.version += 1
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            self._size -= _size(self._table.pop())

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        """A string literal: (what it stands for, position behind it)."""
        if at >= len(block):
            raise HpackError("a block that ends before a string")
        first = block[at]
        at += 1
        length = first & 0x7F
        if length == 0x7F:
            length, at = _continued(block, at, length)
        end = at + length
        if end > len(block):
            raise HpackError("a block that ends within a string")
        raw = block[at:end]
        return self._huffman(raw) if first & 0x80 else raw, end

    def _huffman(self, raw: bytes) -> bytes:
        text = self._texts.get(raw)
        if text is None:
            try:
                text = huffman.decoded(raw)
            except huffman.HuffmanError as error:
                raise HpackError(str(error)) from error
            if len(raw) <= _TEXT_BYTES_MAX:
                if len(self._texts) >= _TEXTS_MAX:
                    self._texts.clear()
                self._texts[raw] = text
        return text


def _size(field: Field) -> int:
    """What it takes of the table (RFC 7541 section 4.1)."""
    return len(field.name) + len(field.value) + _ENTRY_OVERHEAD


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
