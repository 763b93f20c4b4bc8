"""A request that failed: what its client is told, and what the log says."""

from __future__ import annotations

import logging

from google.protobuf.message import DecodeError

from mvcc.backend.errors import BackendCorruptError
from server.log import fields
from server.status import Status, failure_of, status_of

logger = logging.getLogger(__name__)


def told(error: Exception, *, of_stream: bool = False) -> Status:
    """What the client reads. What is no refusal is logged: damage by its place, a bug in full."""
    if status_of(error) is None and not isinstance(error, DecodeError):
        if isinstance(error, BackendCorruptError):
            logger.error(
                "the store is damaged; a request failed by it", extra=fields(error=str(error))
            )
        else:
            logger.error("a request failed by a bug of the server", exc_info=error)
    return failure_of(error, of_stream=of_stream)
