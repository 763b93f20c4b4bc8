"""How large a request, and how large the store, may be."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from etcdpb import rpc_pb2 as pb
from mvcc.backend.memory import MemoryBackend
from server import status
from server.status import message_too_large
from tests.support.client import Client, refusal
from tests.support.ops import delete, get, nested, put, txn
from tests.support.serving import Running, running, served

ALL: Final = b"\0"
REQUEST_MAX: Final = 1_572_864  # The default of --max-request-bytes.
MESSAGE_MAX: Final = REQUEST_MAX + 524_288
QUOTA: Final = 10_000


# --- one request ---


@served()
async def test_a_value_near_the_limit_passes_and_one_above_it_is_too_large(
    server: Running,
) -> None:
    """TestKVPutError and TestV3LargeRequests: 50 below passes, the limit itself does not."""
    await server.client.put(b"k", b"v" * (REQUEST_MAX - 50))
    for size in (REQUEST_MAX, REQUEST_MAX + 100, 1624 * 1024):
        refused = await refusal(server.client.put(b"k", b"v" * size))
        assert refused == status.REQUEST_TOO_LARGE
    assert len((await server.client.get(b"k")).kvs[0].value) == REQUEST_MAX - 50


@served(max_request_bytes=10_000)
async def test_the_limit_is_on_the_entry_that_etcd_would_log(server: Running) -> None:
    """Measured on etcd 3.5: at 10,000 a put with a 1-byte key takes 9,978 bytes of value."""
    await server.client.put(b"k", b"v" * 9978)
    assert await refusal(server.client.put(b"k", b"v" * 9979)) == status.REQUEST_TOO_LARGE


@pytest.mark.parametrize(
    ("limit", "fits", "too_large"),
    [(256, 200, 1024), (10 << 20, 9 << 20, 10 << 20), (10 << 20, 1 << 10, (10 << 20) + 5)],
)
def test_the_limit_is_a_setting(limit: int, fits: int, too_large: int) -> None:
    """TestV3LargeRequests; what fits can be read back."""

    async def scenario() -> None:
        async with running(max_request_bytes=limit) as server:
            await server.client.put(b"k", b"v" * fits)
            refused = await refusal(server.client.put(b"k", b"v" * too_large))
            assert refused == status.REQUEST_TOO_LARGE
            assert len((await server.client.get(b"k")).kvs[0].value) == fits

    asyncio.run(scenario())


@served(max_request_bytes=1000)
async def test_every_write_is_limited_and_no_read_is(server: Running) -> None:
    """A read-only transaction is no write, whatever it compares; one nested makes it a write."""
    large = b"x" * 2000
    refused = status.REQUEST_TOO_LARGE
    assert await refusal(server.client.delete(large)) == refused
    assert await refusal(server.client.kv.Txn(txn([put(large)]))) == refused
    assert await refusal(server.client.kv.Txn(txn([], failure=[delete(large)]))) == refused
    assert (await server.client.get(large)).count == 0
    compare = [pb.Compare(key=large)]
    await server.client.kv.Txn(txn([get(large)], compare=compare))
    await server.client.kv.Txn(txn([], compare=compare))
    assert await refusal(server.client.kv.Txn(txn([nested([get(large)])]))) == refused


@served(max_request_bytes=1000)
async def test_of_a_large_request_what_is_wrong_with_its_form_is_told_first(
    server: Running,
) -> None:
    """The request is checked, then its size, and only then whether its lease exists."""
    large = b"x" * 2000
    client = server.client
    assert await refusal(client.put(b"", large)) == status.KEY_NOT_PROVIDED
    assert await refusal(client.kv.Txn(txn([put(large), put(large)]))) == status.DUPLICATE_KEY
    assert await refusal(client.put(b"a", large, lease=9)) == status.REQUEST_TOO_LARGE


# --- one message ---


@served()
async def test_a_message_above_the_receive_limit_is_refused_with_grpc_gos_text(
    server: Running,
) -> None:
    """Client messages of TestV3LargeRequests: 512 KiB above the request limit, before any check."""
    exact = b"v" * (MESSAGE_MAX - 7)
    assert pb.PutRequest(key=b"k", value=exact).ByteSize() == MESSAGE_MAX
    assert await refusal(server.client.put(b"k", exact)) == status.REQUEST_TOO_LARGE
    refused = await refusal(server.client.put(b"k", exact + b"v"))
    assert refused == message_too_large(MESSAGE_MAX + 1, MESSAGE_MAX)
    assert refused.message == "grpc: received message larger than max (2097153 vs. 2097152)"
    without_key = await refusal(server.client.put(b"", b"v" * MESSAGE_MAX))
    assert without_key.code == status.Code.RESOURCE_EXHAUSTED


@served()
async def test_a_read_is_limited_by_the_message_alone(server: Running) -> None:
    assert (await server.client.get(b"k" * REQUEST_MAX)).count == 0
    refused = await refusal(server.client.get(b"k" * MESSAGE_MAX))
    assert refused.code == status.Code.RESOURCE_EXHAUSTED


@served()
async def test_a_message_far_above_the_limit_is_refused_with_the_same_code(
    server: Running,
) -> None:
    refused = await refusal(server.client.put(b"k", b"v" * (5 * MESSAGE_MAX)))
    assert refused.code == status.Code.RESOURCE_EXHAUSTED
    await server.client.put(b"k")  # The connection goes on.


@pytest.mark.parametrize("bound", ["QUEUE_COMMANDS_MAX", "QUEUE_BYTES_MAX"])
@served()
async def test_more_requests_than_may_wait_are_refused_as_etcd_refuses_them(
    server: Running, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code Unknown, by a slip of etcd's; its client knows the error by the text."""
    monkeypatch.setattr(f"server.engine.{bound}", 0)
    assert await refusal(server.client.put(b"a")) == status.TOO_MANY_REQUESTS
    assert (await server.client.get(b"a")).count == 0
    monkeypatch.undo()
    await server.client.put(b"a")


# --- the store ---


async def _fill(client: Client) -> int:
    """Put until the store is full; returns how many puts went in."""
    for number in range(1000):
        try:
            await client.put(b"fill%03d" % number, b"v" * 500)
        except Exception:  # noqa: BLE001  # told below which it was
            assert await refusal(client.put(b"x")) == status.NO_SPACE
            return number
    raise AssertionError("the store is never full")


async def _alarms(client: Client) -> list[tuple[int, int]]:
    reply = await client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.GET))
    return [(alarm.memberID, alarm.alarm) for alarm in reply.alarms]


async def _disarm(client: Client) -> None:
    for member_id, alarm in await _alarms(client):
        request = pb.AlarmRequest(
            action=pb.AlarmRequest.DEACTIVATE,
            memberID=member_id,
            alarm=alarm,  # type: ignore[arg-type]  # an int is right
        )
        await client.maintenance.Alarm(request)


@served(quota_backend_bytes=QUOTA)
async def test_a_full_store_refuses_what_needs_space_and_raises_the_alarm(
    server: Running,
) -> None:
    """TestAlarm (tests/common/alarm_test.go) and TestV3StorageQuotaAPI."""
    client = server.client
    lease = (await client.grant(60)).ID
    assert await _fill(client) > 10
    member = (await client.get(b"x")).header.member_id
    assert await _alarms(client) == [(member, pb.AlarmType.NOSPACE)]
    reply = await client.maintenance.Status(pb.StatusRequest())
    assert list(reply.errors) == [f"memberID:{member} alarm:NOSPACE "]
    assert reply.dbSize < reply.dbSizeQuota == QUOTA
    refused = status.NO_SPACE
    assert await refusal(client.put(b"x")) == refused
    assert await refusal(client.grant(60)) == refused
    assert await refusal(client.kv.Txn(txn([put(b"x")]))) == refused
    assert await refusal(client.kv.Txn(txn([], failure=[nested([put(b"x")])]))) == refused
    # And all that frees space, reads, or costs nothing goes on.
    await client.kv.Txn(txn([get(b"x"), delete(b"fill000")]))
    assert (await client.delete(b"fill001")).deleted == 1
    assert (await client.get(ALL, ALL, count_only=True)).count > 5
    await client.compact(await client.revision(), physical=True)
    await client.revoke(lease)
    await client.maintenance.HashKV(pb.HashKVRequest())


@served(quota_backend_bytes=QUOTA)
async def test_a_disarmed_alarm_is_raised_again_while_the_store_is_full(
    server: Running,
) -> None:
    """Space comes back by defragmentation only; until then the next put raises it anew."""
    await _fill(server.client)
    await _disarm(server.client)
    assert await _alarms(server.client) == []
    assert await refusal(server.client.put(b"x", b"v" * 500)) == status.NO_SPACE
    assert len(await _alarms(server.client)) == 1


def test_the_alarm_survives_a_restart_and_ends_only_by_request() -> None:
    """TestV3AlarmDeactivate; with a larger quota it still stands."""

    async def scenario() -> None:
        backend = MemoryBackend()
        async with running(backend=backend, quota_backend_bytes=QUOTA) as server:
            await _fill(server.client)
            before = await _alarms(server.client)
        async with running(backend=backend, quota_backend_bytes=10 * QUOTA) as server:
            assert await _alarms(server.client) == before != []
            assert await refusal(server.client.put(b"x")) == status.NO_SPACE
            await _disarm(server.client)
            await server.client.put(b"x")

    asyncio.run(scenario())


@served(quota_backend_bytes=QUOTA)
async def test_a_full_store_says_so_before_it_looks_at_the_request(server: Running) -> None:
    """The quota interceptor comes before the service (server/etcdserver/api/v3rpc/quota.go)."""
    await _fill(server.client)
    large = b"v" * QUOTA
    assert await refusal(server.client.put(b"", large)) == status.NO_SPACE
    request = txn([put(b"", large)], compare=[pb.Compare()])
    assert await refusal(server.client.kv.Txn(request)) == status.NO_SPACE


@served(quota_backend_bytes=QUOTA)
async def test_one_write_that_would_overfill_an_empty_store_raises_the_alarm(
    server: Running,
) -> None:
    """TestV3StorageQuotaAPI's big put, and a transaction whose puts only together are too big."""
    halves = txn([put(b"a", b"v" * 5000), put(b"b", b"v" * 5000)])
    assert await refusal(server.client.kv.Txn(halves)) == status.NO_SPACE
    assert len(await _alarms(server.client)) == 1
    assert await refusal(server.client.put(b"a", b"v")) == status.NO_SPACE


@served(quota_backend_bytes=QUOTA)
async def test_a_write_may_not_reach_the_quota(server: Running) -> None:
    """A put costs 256 bytes and its key and value (server/etcdserver/quota.go)."""
    used = (await server.client.maintenance.Status(pb.StatusRequest())).dbSize
    fits = b"v" * (QUOTA - used - 256 - len(b"a") - 1)
    assert await refusal(server.client.put(b"a", fits + b"v")) == status.NO_SPACE
    await _disarm(server.client)
    used_by_disarming = (await server.client.maintenance.Status(pb.StatusRequest())).dbSize - used
    await server.client.put(b"a", fits[used_by_disarming:])


@served(quota_backend_bytes=QUOTA)
async def test_of_two_branches_the_dearer_counts_and_not_their_sum(server: Running) -> None:
    await server.client.kv.Txn(
        txn([put(b"a", b"v" * 5000)], failure=[nested([put(b"a", b"v" * 5000)])])
    )
    assert await _alarms(server.client) == []


@served(quota_backend_bytes=-1)
async def test_a_negative_quota_is_none(server: Running) -> None:
    await server.client.put(b"a", b"v" * 100_000)
    assert (await server.client.maintenance.Status(pb.StatusRequest())).dbSizeQuota == 0


@served()
async def test_the_default_quota_is_2_gib(server: Running) -> None:
    reply = await server.client.maintenance.Status(pb.StatusRequest())
    assert reply.dbSizeQuota == 2 << 30
