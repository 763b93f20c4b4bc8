"""gRPC on HTTP/2: messages in DATA, a status in the trailers.

The blocks of headers that every answer has are made once. Nothing is indexed, so they mean the
same on every connection.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from struct import Struct
from typing import Final

from server import status
from server.status import Code, RpcError, Status
from server.transport.frames import END_HEADERS, END_STREAM, HEADERS, header
from server.transport.hpack import encode

PREFIX_BYTES: Final = 5  # Of a message: is it compressed, and its length.
unpack_prefix: Final = Struct(">BI").unpack_from
_CONTENT_TYPE: Final = (b"content-type", b"application/grpc")
_HTTP_OK: Final = b"\x88"  # :status 200, by its index in the static table.
RESPONSE_HEADERS: Final = _HTTP_OK + encode((_CONTENT_TYPE,))
OK_TRAILERS: Final = encode(((b"grpc-status", b"0"),))
HELD_TOO_MUCH: Final = Status(
    Code.RESOURCE_EXHAUSTED, "grpc: too many unfinished messages on the connection"
)
TRUNCATED: Final = Status(Code.INTERNAL, "grpc: the request ended within a message")
_PRINTABLE: Final = frozenset(range(0x20, 0x7F)) - {0x25}
_GZIP_WINDOW: Final = 31  # zlib's code for a gzip header and the largest window.


# HEADERS, and the header of the one DATA frame; and, behind the body, the trailers. The length of
# DATA has three octets; its type is 0, so are its flags.
_END: Final = Struct(f">5sI{len(OK_TRAILERS)}s").pack
_BEGIN_FRAME: Final = header(HEADERS, END_HEADERS, 0, len(RESPONSE_HEADERS))[:5]
_END_FRAME: Final = header(HEADERS, END_HEADERS | END_STREAM, 0, len(OK_TRAILERS))[:5]
_DATA: Final = Struct(f">5sI{len(RESPONSE_HEADERS)}sIBI").pack
# Most answers are small, and few sizes are many answers'. One form for each size: all frames of an
# answer in one step, a quarter of the time less than in three.
FORM_BYTES_MAX: Final = 1024
_forms: dict[int, tuple[Callable[..., bytes], bytes, bytes]] = {}


def answer(stream_id: int, body: bytes) -> bytes:
    """All frames of an answer without a refusal, whose DATA fits in one."""
    begin = _DATA(_BEGIN_FRAME, stream_id, RESPONSE_HEADERS, len(body) << 8, 0, stream_id)
    return b"".join((begin, body, _END(_END_FRAME, stream_id, OK_TRAILERS)))


def answer_one(stream_id: int, message: bytes) -> bytes:
    """The same, of a body that is one message."""
    size = len(message)
    form = _forms.get(size)
    if form is None:
        if size > FORM_BYTES_MAX:
            data_bytes = size + PREFIX_BYTES
            begin = _DATA(_BEGIN_FRAME, stream_id, RESPONSE_HEADERS, data_bytes << 8, 0, stream_id)
            prefix = size.to_bytes(PREFIX_BYTES, "big")
            return b"".join((begin, prefix, message, _END(_END_FRAME, stream_id, OK_TRAILERS)))
        form = _forms[size] = _form(size)
    pack, between, prefix = form
    return pack(
        _BEGIN_FRAME, stream_id, between, stream_id, prefix, message,
        _END_FRAME, stream_id, OK_TRAILERS,
    )  # fmt: skip


def _form(size: int) -> tuple[Callable[..., bytes], bytes, bytes]:
    """How an answer of one message of so many bytes is packed, and what is the same in all."""
    data_header = (size + PREFIX_BYTES).to_bytes(3, "big") + bytes(2)  # Without the stream's id.
    between = RESPONSE_HEADERS + data_header
    layout = f">5sI{len(between)}sI{PREFIX_BYTES}s{size}s5sI{len(OK_TRAILERS)}s"
    return Struct(layout).pack, between, size.to_bytes(PREFIX_BYTES, "big")


def prefixed(message: bytes) -> bytes:
    """`message` as it stands in DATA, never compressed."""
    return len(message).to_bytes(PREFIX_BYTES, "big") + message


def joined(messages: list[bytes]) -> bytes:
    """Messages as they stand in DATA, one behind the other; at least one."""
    if len(messages) == 1:
        return prefixed(messages[0])
    size = len(messages[0])
    if set(map(len, messages)) != {size}:
        return b"".join(map(prefixed, messages))
    prefix = size.to_bytes(PREFIX_BYTES, "big")
    return prefix + prefix.join(messages)


def alike(body: bytes) -> list[bytes]:
    """The whole messages of `body`, if there is one and all are plain and as long as the first.

    That is what a stream of small requests is, and it is taken apart in a few steps whatever
    their number. An empty list otherwise, which says nothing: `body` may be in good order.
    """
    prefix = body[:PREFIX_BYTES]
    size = int.from_bytes(prefix, "big")  # More than there is, if it is compressed.
    stride = size + PREFIX_BYTES
    if stride == len(body):
        return [body[PREFIX_BYTES:]]
    count = len(body) // stride
    end = count * stride
    if count == 0 or any(
        body[at:end:stride] != prefix[at : at + 1] * count for at in range(PREFIX_BYTES)
    ):
        return []
    return [body[at : at + size] for at in range(PREFIX_BYTES, end + 1, stride)]


def percent_encoded(text: str) -> bytes:
    """A status message as grpc-message carries it."""
    raw = text.encode()
    if _PRINTABLE.issuperset(raw):
        return raw
    return b"".join(bytes((octet,)) if octet in _PRINTABLE else b"%%%02X" % octet for octet in raw)


def trailers(refusal: Status) -> bytes:
    """The trailers of a call that failed."""
    return encode(
        (
            (b"grpc-status", b"%d" % refusal.code),
            (b"grpc-message", percent_encoded(refusal.message)),
        )
    )


def trailers_only(refusal: Status) -> bytes:
    """The one header block of a call that failed before it said anything."""
    return RESPONSE_HEADERS + trailers(refusal)


def decompressed(message: bytes, encoding: bytes, limit: int) -> bytes:
    """A message whose prefix says that it is compressed.

    Raises:
        RpcError: by an encoding nobody knows, to more than `limit` bytes, or not at all.
    """
    if encoding != b"gzip":
        if not encoding or encoding == b"identity":
            text = "grpc: compressed flag set with identity or empty encoding"
            raise RpcError(Status(Code.INTERNAL, text))
        text = (
            f'grpc: Decompressor is not installed for grpc-encoding "{encoding.decode("latin-1")}"'
        )
        raise RpcError(Status(Code.UNIMPLEMENTED, text))
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = inflater.decompress(message, limit + 1)
    except zlib.error as error:
        text = f"grpc: failed to decompress the received message: {error}"
        raise RpcError(Status(Code.INTERNAL, text)) from error
    if len(plain) > limit:
        raise RpcError(status.message_too_large(len(plain), limit))
    if not inflater.eof or inflater.unused_data:
        text = "grpc: failed to decompress the received message: unexpected EOF"
        raise RpcError(Status(Code.INTERNAL, text))
    return plain
