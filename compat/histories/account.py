"""The server's own account of an episode, asked for over a connection that nothing disturbs."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

from compat.histories.api import EOF, Api, heard_of, kv_of
from compat.histories.record import Event, History
from etcdpb import rpc_pb2

ALL: Final = b"\0"
ACCOUNT_MAX_S: Final = 30.0


async def now(api: Api) -> rpc_pb2.RangeResponse:
    """All keys, and by the header the revision."""
    request = rpc_pb2.RangeRequest(key=ALL, range_end=ALL)
    range_keys = api.method("KV", "Range")
    keys: rpc_pb2.RangeResponse = await range_keys(
        request, timeout=ACCOUNT_MAX_S, wait_for_ready=True
    )
    return keys


async def complete(history: History, api: Api) -> None:
    """Fill in what the server says of it: keys, leases and events."""
    keys = await now(api)
    history.ended = time.monotonic()
    leases = await api.method("Lease", "LeaseLeases")(
        rpc_pb2.LeaseLeasesRequest(), timeout=ACCOUNT_MAX_S
    )
    history.leases = frozenset(lease.ID for lease in leases.leases)
    history.listed = time.monotonic()
    history.last_revision = keys.header.revision
    history.last = {kv.key: kv_of(kv) for kv in keys.kvs}
    events = await _events(api, history.base_revision + 1, history.last_revision)
    for event in events:
        history.log[event.revision] = (*history.log.get(event.revision, ()), event)


async def compact(api: Api, revision: int) -> None:
    request = rpc_pb2.CompactionRequest(revision=revision)
    await api.method("KV", "Compact")(request, timeout=ACCOUNT_MAX_S)


async def _events(api: Api, first: int, last: int) -> list[Event]:
    """All events from one revision to another, both included, as a new watcher hears them.

    What does not come in `ACCOUNT_MAX_S` is missing: the checker will say so.
    """
    found: list[Event] = []
    if first > last:
        return found
    stream = api.method("Watch", "Watch")()
    create = rpc_pb2.WatchCreateRequest(key=ALL, range_end=ALL, start_revision=first, prev_kv=True)
    await stream.write(rpc_pb2.WatchRequest(create_request=create))
    with suppress(TimeoutError):
        async with asyncio.timeout(ACCOUNT_MAX_S):
            while not found or found[-1].revision < last:
                response = await stream.read()
                assert response is not EOF, "the account broke off"
                assert not response.canceled, response.cancel_reason
                found += heard_of(response, 0.0).events
    stream.cancel()
    return [event for event in found if event.revision <= last]
