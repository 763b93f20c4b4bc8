"""Huffman-coded strings of HPACK (RFC 7541 section 5.2), an octet at a time.

The code is the `hpack` library's table of states, which takes half an octet a step. Two of its
steps joined are one of ours, kept once it was needed: there are 256 states and 256 octets, so
what is kept is bounded, and a client's strings use a small part of it.
"""

from __future__ import annotations

from typing import Final

from hpack.huffman_table import (
    HUFFMAN_COMPLETE,
    HUFFMAN_EMIT_SYMBOL,
    HUFFMAN_FAIL,
    HUFFMAN_TABLE,
)

# State << 8 | octet -> the next state, what is emitted, may the string end here.
_steps: Final[dict[int, tuple[int, bytes, bool]]] = {}


class HuffmanError(Exception):
    """The string is of no such code, or ends within a symbol."""


def decoded(raw: bytes) -> bytes:
    """What `raw` stands for.

    Raises:
        HuffmanError
    """
    state, may_end = 0, True
    text = bytearray()
    for octet in raw:
        step = _steps.get(state << 8 | octet)
        if step is None:
            step = _step(state, octet)
        state, emitted, may_end = step
        text += emitted
    if not may_end:
        raise HuffmanError("a string that ends within a symbol")
    return bytes(text)


def _step(state: int, octet: int) -> tuple[int, bytes, bool]:
    at, flags, emitted = state, 0, b""
    for half in (octet >> 4, octet & 0xF):
        at, flags, symbol = HUFFMAN_TABLE[at << 4 | half]
        if flags & HUFFMAN_FAIL:
            raise HuffmanError("no Huffman code")
        if flags & HUFFMAN_EMIT_SYMBOL:
            emitted += bytes((symbol,))
    step = _steps[state << 8 | octet] = at, emitted, bool(flags & HUFFMAN_COMPLETE)
    return step
