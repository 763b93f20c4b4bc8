"""A refusal as HTTP says it.

The bodies have the keys of both lines of etcd's gateway: `code` and `message` of the newer, and
what the older had besides, which clients still read.
"""

from __future__ import annotations

import http
import json
from collections.abc import Mapping
from typing import Final

from server.status import Code, Status

# HTTPStatusFromCode of grpc-gateway v2, which etcd 3.6 has.
HTTP_STATUS: Final[Mapping[Code, int]] = {
    Code.OK: 200,
    Code.CANCELLED: 499,  # Of no RFC: the client closed the request.
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
_PHRASES: Final = {each.value: each.phrase for each in http.HTTPStatus}
_CLOSED_REQUEST: Final = "Client Closed Request"


def body(refusal: Status) -> bytes:
    """What a unary request is answered with."""
    text = refusal.message
    return _json({"error": text, "code": int(refusal.code), "message": text})


def chunk(refusal: Status) -> bytes:
    """What a stream ends with."""
    number = HTTP_STATUS[refusal.code]
    error = {
        "code": int(refusal.code),
        "message": refusal.message,
        "grpc_code": int(refusal.code),
        "http_code": number,
        "http_status": _PHRASES.get(number, _CLOSED_REQUEST),
    }
    return _json({"error": error}) + b"\n"


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
