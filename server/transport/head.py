"""The head of a request: pseudo-headers checked, the few headers that matter found.

RFC 9113 section 8: what is malformed is a stream error of type PROTOCOL_ERROR.
"""

from __future__ import annotations

from typing import Final

from server.transport.hpack import Decoder, Field

_PSEUDO: Final = {b":method": 0, b":scheme": 1, b":path": 2, b":authority": 3}
_FORBIDDEN: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_UPPER: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TIMEOUT_UNITS_S: Final = {
    ord("H"): 3600.0,
    ord("M"): 60.0,
    ord("S"): 1.0,
    ord("m"): 1e-3,
    ord("u"): 1e-6,
    ord("n"): 1e-9,
}
_TIMEOUT_DIGITS_MAX: Final = 8


class MalformedError(Exception):
    """A request that is none. The stream is reset with PROTOCOL_ERROR."""


class Head:
    """What the headers of a request say. Shared by all requests whose header block is the same."""

    __slots__ = (
        "_decoder",
        "authority",
        "content_length",
        "content_type",
        "encoding",
        "fields",
        "method",
        "path",
        "route",
        "scheme",
        "timeout_s",
    )

    def __init__(self, fields: list[Field], decoder: Decoder) -> None:
        """Raises MalformedError, and HpackError for a value that is no Huffman string."""
        self.fields = fields
        self._decoder = decoder
        self.method = self.scheme = self.path = self.authority = b""
        self.content_type = self.encoding = b""
        self.content_length = -1  # Not told.
        self.timeout_s: float | None = None
        self.route: object = None  # Whatever the owner found for it; see `Connection`.
        text = decoder.text
        seen = 0
        is_regular = False
        for field in fields:
            name = field.name
            if name[:1] == b":":
                number = _PSEUDO.get(name)
                if number is None or is_regular or seen & 1 << number:
                    raise MalformedError(f"pseudo-header {name!r}")
                seen |= 1 << number
                if number == 0:
                    self.method = text(field)
                elif number == 1:
                    self.scheme = text(field)
                elif number == 2:
                    self.path = text(field)
                else:
                    self.authority = text(field)
                continue
            is_regular = True
            if name == b"content-type":
                self.content_type = text(field)
            elif name == b"te":
                if text(field) != b"trailers":
                    raise MalformedError("te other than trailers")
            elif name == b"grpc-timeout":
                self.timeout_s = parse_timeout(text(field))
            elif name == b"grpc-encoding":
                self.encoding = text(field)
            elif name == b"content-length":
                self.content_length = _content_length(text(field))
            elif name in _FORBIDDEN or not name or not _UPPER.isdisjoint(name):
                raise MalformedError(f"header {name!r}")
        if seen & 0b111 != 0b111 or not self.path:
            raise MalformedError("a pseudo-header is missing")

    def metadata(self) -> list[tuple[bytes, bytes]]:
        """All headers, pseudo-headers left out, in order."""
        text = self._decoder.text
        return [(field.name, text(field)) for field in self.fields if field.name[:1] != b":"]

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name."""
        for field in self.fields:
            if field.name == name:
                return self._decoder.text(field)
        return None


def parse_timeout(text: bytes) -> float | None:
    """A grpc-timeout in seconds; None if it is not one, which is then ignored as grpc-go does not.

    Raises:
        MalformedError
    """
    unit = _TIMEOUT_UNITS_S.get(text[-1]) if text else None
    digits = text[:-1]
    if unit is None or not digits.isdigit() or len(digits) > _TIMEOUT_DIGITS_MAX:
        raise MalformedError(f"grpc-timeout {text!r}")
    return int(digits) * unit


def _content_length(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise MalformedError(f"content-length {text!r}")
    return int(text)
