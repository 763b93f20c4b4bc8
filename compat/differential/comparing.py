"""What of two answers must be the same.

Identities, terms, tokens, sizes and the rest of a TTL are a server's own, but for whether they are
there. A watcher that starts in the past is told of it in batches, whose sizes and headers depend
on when the server came to it: its events are compared, and not how they were packed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message

from compat.differential.kv_requests import LEASES
from compat.differential.operations import shown
from compat.differential.sides import Answer
from etcdpb import rpc_pb2 as rpc
from etcdpb.kv_pb2 import Event

TTL_TOLERANCE_S: Final = 3
_UNREADABLE: Final = (
    "grpc: error unmarshalling request: ",
    "grpc: failed to unmarshal the received message",
)
DELETE: Final = Event.DELETE


def masked(message: Message, request: Message | None) -> Message:
    """A copy without what is a server's own."""
    copy: Any = type(message)()
    copy.CopyFrom(message)
    if (header := getattr(copy, "header", None)) is not None and copy.HasField("header"):
        for name in ("cluster_id", "member_id", "raft_term"):
            setattr(header, name, int(getattr(header, name) != 0))
    if isinstance(copy, rpc.LeaseGrantResponse):
        if isinstance(request, rpc.LeaseGrantRequest) and request.ID == 0:
            copy.ID = int(copy.ID != 0)
    elif isinstance(copy, rpc.LeaseTimeToLiveResponse):
        if copy.TTL > 0:
            copy.TTL = round(copy.TTL, -1)
        keys = sorted(copy.keys)  # In no order, by etcd.
        del copy.keys[:]
        copy.keys.extend(keys)
    elif isinstance(copy, rpc.LeaseLeasesResponse):
        for lease in copy.leases:
            if lease.ID not in LEASES:
                lease.ID = 1 << 60  # The server gave it out.
    elif isinstance(copy, rpc.AuthenticateResponse):
        copy.token = "given" if copy.token else ""
    elif isinstance(copy, rpc.HashKVResponse):
        copy.hash_revision = 0  # etcd 3.6.
    return copy


def same(ours: Answer, theirs: Answer, request: Message | None) -> bool:
    """True if nothing of two answers differs that must not."""
    if (ours.code, _text(ours)) != (theirs.code, _text(theirs)):
        return False
    if len(ours.messages) != len(theirs.messages):
        return False
    pairs = zip(ours.messages, theirs.messages, strict=True)
    return all(_same_message(one, other, request) for one, other in pairs)


def _text(answer: Answer) -> str:
    """What bytes that are no message are called by the library that read them is left out."""
    begin = next((each for each in _UNREADABLE if answer.text.startswith(each)), None)
    return begin or answer.text


def _same_message(ours: Message, theirs: Message, request: Message | None) -> bool:
    if (
        isinstance(ours, rpc.LeaseTimeToLiveResponse)
        and isinstance(theirs, rpc.LeaseTimeToLiveResponse)
        and min(ours.TTL, theirs.TTL) > 0
    ):
        if abs(ours.TTL - theirs.TTL) > TTL_TOLERANCE_S:
            return False
        ours.TTL = theirs.TTL
    return masked(ours, request) == masked(theirs, request)


@dataclass
class Asked:
    """What was sent by one watch stream: enough to read what it says."""

    # Of each request to create a watcher, whether it was to start in the past.
    are_past: list[bool] = field(default_factory=list)
    newest_start: int = 0  # The newest revision that a watcher was to start at.
    has_loose_progress: bool = False  # Progress was asked for, of which 3.5.1 knew too much.


Story = dict[int, list[object]]
PROGRESS: Final = -(2**63) - 1  # No watcher. Its order among what is of no watcher is free.


def story(
    heard: Sequence[rpc.WatchResponse], end: Answer | None, asked: Asked, compactions: set[int]
) -> Story:
    """By watcher, what a stream has said; under -1 what is of no watcher."""
    told: Story = {-1: []}
    past: dict[int, bool] = {}
    created = 0
    for response in heard:
        if response.created:
            past[response.watch_id] = asked.are_past[created]
            created += 1
        said = _refusal(response) or response
        lines = told.setdefault(said.watch_id, [])
        if response.events and past.get(response.watch_id):
            lines.extend(
                shown(event)
                for event in response.events
                # See `tombstone-at-compact-revision`.
                if not (event.type == DELETE and event.kv.mod_revision in compactions)
            )
        elif not _is_progress(response):
            lines.append(shown(masked(said, None)))
        elif not asked.has_loose_progress:
            told.setdefault(PROGRESS, []).append(shown(masked(said, None)))
    if end is not None:
        told[-1].append((end.code, _text(end)))
    return {watch_id: lines for watch_id, lines in told.items() if lines}


def _refusal(response: rpc.WatchResponse) -> rpc.WatchResponse | None:
    """What a caller is told that may not watch, whoever tells it: see `watch-refusal`."""
    if not (response.created and response.cancel_reason.startswith("rpc error: ")):
        return None
    told = rpc.WatchResponse()
    told.CopyFrom(response)
    told.watch_id, told.cancel_reason = -1, "refused"
    return told


def _is_progress(response: rpc.WatchResponse) -> bool:
    return response.watch_id == -1 and not (
        response.created or response.canceled or response.events
    )
