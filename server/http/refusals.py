"""What a request that failed is told. What is no refusal is a bug, and is logged."""

from __future__ import annotations

import logging

from google.protobuf.message import DecodeError

from server import status
from server.status import Code, Status, status_of

logger = logging.getLogger(__name__)


def refusal_of(error: Exception) -> Status:
    known = status_of(error)
    if known is None and isinstance(error, DecodeError):
        known = status.unreadable_message(str(error))
    if known is None:
        logger.error("a request failed by a bug of the server", exc_info=error)
        known = Status(Code.UNKNOWN, f"{type(error).__name__}: {error}")
    return known
