"""What an ASGI app sends: a whole response, or one that goes on."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Send

from server.http.mapping import too_large

Fields = list[tuple[bytes, bytes]]

JSON: Final[Fields] = [(b"content-type", b"application/json")]
GRPC: Final = (b"grpc-metadata-content-type", b"application/grpc")  # grpc-gateway says so.
# Go's http.Error has these two.
TEXT: Final[Fields] = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"x-content-type-options", b"nosniff"),
]
CLOSE: Final = (b"connection", b"close")


class GoneError(Exception):
    """The client has left."""


async def answer(send: Send, status: int, body: bytes, fields: Fields) -> None:
    length = (b"content-length", b"%d" % len(body))
    await begin(send, status, [*fields, length])
    await send({"type": "http.response.body", "body": body})


async def begin(send: Send, status: int, fields: Fields) -> None:
    await send({"type": "http.response.start", "status": status, "headers": fields})


async def piece(send: Send, body: bytes) -> None:
    """One chunk of a response that goes on."""
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def end(send: Send) -> None:
    await send({"type": "http.response.body", "body": b""})


async def whole_body(receive: Receive, limit_bytes: int) -> bytes:
    """The body of a request.

    Raises:
        RpcError: it is above the limit.
        GoneError
    """
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        body = message.get("body", b"")
        pieces.append(body)
        size += len(body)
        if size > limit_bytes:
            raise too_large(limit_bytes)
        if not message.get("more_body", False):
            return b"".join(pieces)
