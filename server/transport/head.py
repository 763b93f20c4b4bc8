"""The head of a request: pseudo-headers checked, the few headers that matter found.

RFC 9113 section 8: what is malformed is a stream error of type PROTOCOL_ERROR.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from server.transport.hpack import Field

_PSEUDO: Final = {b":method": 0, b":scheme": 1, b":path": 2, b":authority": 3}
_FORBIDDEN: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_TIMEOUT_UNITS_S: Final = {
    ord("H"): 3600.0,
    ord("M"): 60.0,
    ord("S"): 1.0,
    ord("m"): 1e-3,
    ord("u"): 1e-6,
    ord("n"): 1e-9,
}
_TIMEOUT_DIGITS_MAX: Final = 8


class Target:
    """What answers the requests of a head: filled in by its owner when the first of them comes."""

    __slots__ = ("route", "whole")

    def __init__(self) -> None:
        self.route: object = None  # See `NativeProtocol`.
        self.whole: Callable[..., Any] | None = None  # A `connection.Whole`.


class MalformedError(Exception):
    """A request that is none. The stream is reset with PROTOCOL_ERROR."""


class Head:
    """What the headers of a request say. Shared by all requests whose header block is the same."""

    __slots__ = (
        "authority",
        "content_length",
        "content_type",
        "encoding",
        "fields",
        "method",
        "path",
        "scheme",
        "target",
        "timeout_s",
    )

    def __init__(self, fields: list[Field]) -> None:
        """Raises MalformedError."""
        self.fields = fields
        self.method = self.scheme = self.path = self.authority = b""
        self.content_type = self.encoding = b""
        self.content_length = -1  # Not told.
        self.timeout_s: float | None = None
        self.target = Target()
        seen = 0
        is_regular = False
        for name, value, is_valid in fields:
            if not is_valid:
                raise MalformedError(f"header {name!r}")
            if name[:1] == b":":
                number = _PSEUDO.get(name)
                if number is None or is_regular or seen & 1 << number:
                    raise MalformedError(f"pseudo-header {name!r}")
                seen |= 1 << number
                if number == 0:
                    self.method = value
                elif number == 1:
                    self.scheme = value
                elif number == 2:
                    self.path = value
                else:
                    self.authority = value
                continue
            is_regular = True
            if name == b"content-type":
                self.content_type = value
            elif name == b"te":
                if value != b"trailers":
                    raise MalformedError("te other than trailers")
            elif name == b"grpc-timeout":
                self.timeout_s = parse_timeout(value)
            elif name == b"grpc-encoding":
                self.encoding = value
            elif name == b"content-length":
                length = _content_length(value)
                if self.content_length not in (-1, length):
                    raise MalformedError("two lengths")
                self.content_length = length
            elif name in _FORBIDDEN:
                raise MalformedError(f"header {name!r}")
        if seen & 0b111 != 0b111 or not self.path:
            raise MalformedError("a pseudo-header is missing")

    @property
    def token(self) -> str | None:
        """The token that the metadata carries, under either of its names."""
        value = self.get(b"token")
        if value is None:
            value = self.get(b"authorization")
        return None if value is None else value.decode("latin-1")

    @property
    def is_passed_on(self) -> bool:
        """Whether an HTTP gateway sends it for somebody else (grpc-gateway's own header)."""
        return self.get(b"grpcgateway-accept") is not None

    def with_timeout(self, timeout_s: float) -> Head:
        """The same but for its grpc-timeout, in seconds."""
        head = Head.__new__(Head)
        head.fields = self.fields
        head.method = self.method
        head.scheme = self.scheme
        head.path = self.path
        head.authority = self.authority
        head.content_type = self.content_type
        head.encoding = self.encoding
        head.content_length = self.content_length
        head.target = self.target
        head.timeout_s = timeout_s
        return head

    def metadata(self) -> list[tuple[bytes, bytes]]:
        """All headers, pseudo-headers left out, in order."""
        return [(field.name, field.value) for field in self.fields if field.name[:1] != b":"]

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name."""
        for field in self.fields:
            if field.name == name:
                return field.value
        return None


def parse_timeout(text: bytes) -> float:
    """A grpc-timeout in seconds.

    Raises:
        MalformedError: it is none. grpc-go does not serve such a call either.
    """
    unit = _TIMEOUT_UNITS_S.get(text[-1]) if text else None
    digits = text[:-1]
    if unit is None or not digits.isdigit() or len(digits) > _TIMEOUT_DIGITS_MAX:
        raise MalformedError(f"grpc-timeout {text!r}")
    return int(digits) * unit


def check_trailers(fields: list[Field]) -> None:
    """RFC 9113 section 8.1: no pseudo-headers, and nothing that no message may have.

    Raises:
        MalformedError
    """
    for name, _, is_valid in fields:
        if not is_valid or name[:1] == b":" or name in _FORBIDDEN:
            raise MalformedError(f"trailer {name!r}")


def _content_length(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise MalformedError(f"content-length {text!r}")
    return int(text)
