"""What a stream of small requests is answered with at once, and counted by."""

from __future__ import annotations

from server.call import AtOnce
from server.call_counts import CallCounts
from server.transport.wire import PREFIX_BYTES, alike, joined, prefixed, unpack_prefix


def answers_to(at_once: AtOnce, counts: CallCounts, data: bytes) -> tuple[bytes, bytes]:
    """What there is at once to the messages of `data`, as it stands in DATA; and the rest of it."""
    size = len(data) - PREFIX_BYTES
    if size >= 0 and unpack_prefix(data) == (0, size):
        reply = at_once.alone(data[PREFIX_BYTES:])
        if reply is None:
            return b"", data
        counts.messages_received += 1
        counts.messages_sent += 1
        counts.received_bytes += size
        counts.sent_bytes += len(reply)
        return prefixed(reply), b""
    messages = alike(data)
    replies = at_once(messages) if messages else messages
    if not replies:
        return b"", data
    count = len(replies)
    counts.messages_received += count
    counts.messages_sent += count
    size = len(messages[0])
    counts.received_bytes += size * count
    answers = joined(replies)
    counts.sent_bytes += len(answers) - PREFIX_BYTES * count
    return answers, data[(size + PREFIX_BYTES) * count :]
