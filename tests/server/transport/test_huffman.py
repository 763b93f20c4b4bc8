"""Our Huffman decoder is the library's, but faster."""

from __future__ import annotations

import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given
from hypothesis import strategies as st

from server.transport import huffman

ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@given(st.binary(max_size=200))
def test_what_the_library_encodes_is_decoded(text: bytes) -> None:
    assert huffman.decoded(ENCODER.encode(text)) == text


@given(st.binary(max_size=40))
def test_any_octets_are_decoded_or_refused_as_by_the_library(raw: bytes) -> None:
    try:
        expected = bytes(decode_huffman(raw))
    except HPACKDecodingError:
        with pytest.raises(huffman.HuffmanError):
            huffman.decoded(raw)
    else:
        assert huffman.decoded(raw) == expected


def test_no_octets_are_no_text() -> None:
    assert huffman.decoded(b"") == b""


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff", "padding of 8 bits"),
        (b"\x1f\xff", "an octet of padding behind a whole symbol"),
        (b"\x00", "padding that is not all ones"),
        (b"\xff\xff\xff\xff", "the end-of-string symbol"),
    ],
)
def test_padding_is_short_and_of_ones(raw: bytes, reason: str) -> None:
    """RFC 7541 section 5.2."""
    with pytest.raises(huffman.HuffmanError):
        huffman.decoded(raw)
    assert reason
