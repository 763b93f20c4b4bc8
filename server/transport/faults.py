"""What ends a stream or a connection before its time (RFC 9113 section 5.4)."""

from __future__ import annotations

from server.transport.frames import ErrorCode


class ConnectionFault(Exception):  # noqa: N818  # an ending, by RFC 9113's word "error"
    """Ends the connection."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class StreamFault(Exception):  # noqa: N818  # as above
    """Ends one stream."""

    def __init__(self, stream_id: int, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.stream_id = stream_id
        self.code = code


def check_size(payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame of a wrong size")


def check_connection_wide(stream_id: int) -> None:
    if stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame that belongs to no stream")
