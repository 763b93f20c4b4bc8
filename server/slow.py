"""One line of the log for a request that took too long, as etcd has it (warnOfExpensiveRequest).

What is timed is the work itself, which is all that a request can be blamed for: applying a change
in memory, and finding and encoding what a range asks for. Waiting for the disk is not in it; a
slow fsync has a line of its own, and histograms.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, cast

from google.protobuf.message import Message

from server.call import PeerCall
from server.log import fields
from server.request_text import text_of, text_of_command
from server.settings.values import go_duration
from server.status import status_of

logger = logging.getLogger(__name__)


class Slow:
    def __init__(self, threshold_s: float) -> None:
        self.threshold_s = threshold_s
        self.count = 0

    def change(self, command: object, call: PeerCall, took_s: float) -> PeerCall:
        """The call to answer instead of `call`: the line is written with the answer."""
        self.count += 1
        return cast(PeerCall, _SlowCall(self, command, call, took_s))

    def range(self, request: Message, keys: int, size_bytes: int, took_s: float) -> None:
        self.count += 1
        text = f"range_response_count:{keys} size:{size_bytes}"
        self.say(took_s, "read-only range ", text_of(request), text, None)

    def txn(self, request: Message, keys: Iterable[int], size_bytes: int, took_s: float) -> None:
        """`keys`: how many each of its ranges found."""
        self.count += 1
        counts = "".join(f"range_response_count:{each} " for each in keys)
        text = f"responses:<{counts}> size:{size_bytes}"
        self.say(took_s, "read-only txn ", text_of(request), text, None)

    def say(
        self, took_s: float, prefix: str, request: str, response: str, error: Exception | None
    ) -> None:
        told = {
            "took": go_duration(took_s),
            "expected_duration": go_duration(self.threshold_s),
            "prefix": prefix,
            "request": request,
            "response": response,
        }
        if error is not None:
            known = status_of(error)
            told["error"] = str(error) if known is None else known.message
        logger.warning("apply request took too long", extra=fields(**told))


class _SlowCall:
    """What it is not asked here, the call itself knows."""

    def __init__(self, slow: Slow, command: object, call: PeerCall, took_s: float) -> None:
        self._slow = slow
        self._command = command
        self._call = call
        self._took_s = took_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def reply(self, message: bytes) -> None:
        text = text_of_command(self._command)
        self._slow.say(self._took_s, "", text, f"size:{len(message)}", None)
        self._call.reply(message)

    def fail(self, error: Exception) -> None:
        self._slow.say(self._took_s, "", text_of_command(self._command), "", error)
        self._call.fail(error)
