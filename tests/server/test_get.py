"""A Range of one key and nothing else has a short way: what it says is what the long one says."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from etcdpb import rpc_pb2 as pb
from server import status
from server.services.plain import only_key
from server.status import Status
from server.transport.dispatch import UnaryMethod
from tests.support.calls import Answer
from tests.support.client import refusal
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess, bare_server
from tests.support.serving import Running, served
from tests.support.users import READ, permit, server_with_users

RANGE = "/etcdserverpb.KV/Range"
SAYS_SO = b"\x18\x00"  # A limit of 0, spelled out: it means nothing, and is not left out.

requests = st.builds(
    pb.RangeRequest,
    key=st.binary(max_size=130),
    range_end=st.just(b"") | st.binary(max_size=3),
    limit=st.integers(0, 2),
    serializable=st.booleans(),
)


def is_only_a_key(message: bytes) -> bytes:
    """The plain way to find out, but for how the message is spelled."""
    request = pb.RangeRequest.FromString(message)
    key = request.key
    is_plain = pb.RangeRequest(key=key).SerializeToString() == message
    return key if is_plain and 0 < len(key) < 128 else b""


@given(requests)
@example(pb.RangeRequest())
@example(pb.RangeRequest(key=b"a"))
@example(pb.RangeRequest(key=b"a", range_end=b"b"))
def test_a_key_is_found_exactly_where_there_is_nothing_else(request: pb.RangeRequest) -> None:
    message = request.SerializeToString()
    assert only_key(message) == is_only_a_key(message)
    assert (only_key(message) != b"") == (
        request == pb.RangeRequest(key=request.key) and 0 < len(request.key) < 128
    )


@given(st.binary(max_size=6) | st.binary(max_size=4).map(lambda rest: b"\x0a" + rest))
@example(b"\x0a\x01a\x0a\x01b")
@example(b"\x0a\x00")
@example(b"\x0a\x81\x00a")
@example(b"\x0a\x80\x01" + b"k" * 127)
def test_of_octets_that_are_no_request_no_key_is_taken(message: bytes) -> None:
    try:
        pb.RangeRequest.FromString(message)
    except DecodeError:
        assert only_key(message) == b""
    else:
        assert only_key(message) == is_only_a_key(message)


@pytest.mark.parametrize(("size", "found"), [(0, 0), (1, 1), (126, 126), (127, 127), (128, 0)])
def test_a_key_is_taken_up_to_the_length_that_one_octet_says(size: int, found: int) -> None:
    message = pb.RangeRequest(key=b"k" * size).SerializeToString()
    assert only_key(message) == b"k" * found


@pytest.mark.parametrize("size", [1, 126, 127, 128, 129, 16_384])
@served()
async def test_a_key_of_any_length_is_found_and_its_neighbour_is_not(
    server: Running, size: int
) -> None:
    key = b"k" * size
    assert (await server.client.get(key)).count == 0
    await server.client.put(key, b"1")
    reply = await server.client.get(key)
    assert [(kv.key, kv.value) for kv in reply.kvs] == [(key, b"1")]
    assert (reply.count, reply.more) == (1, False)
    assert (await server.client.get(key[:-1] + b"j")).count == 0


@served()
async def test_no_key_is_refused(server: Running) -> None:
    assert await refusal(server.client.get(b"")) == status.KEY_NOT_PROVIDED


def ask(server: ServerInProcess, message: bytes, token: Any = None) -> bytes | Status:
    """The reply to a Range as it stands on the wire, or the refusal."""
    method = server.core.methods.get(RANGE)
    assert isinstance(method, UnaryMethod)
    answer = Answer()
    answer.token = token
    try:
        reply = method.handle(message, answer)
    except Exception as error:  # noqa: BLE001  # `Answer` tells a refusal from a bug
        answer.fail(error)
        return answer.status
    assert reply is not None
    return reply


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
@in_loop
async def test_both_ways_say_the_same_octets(writes: int) -> None:
    server = bare_server()
    for act in (
        pb.PutRequest(key=b"a", value=b"v" * 300),
        pb.DeleteRangeRequest(key=b"a"),
        pb.PutRequest(key=b"a"),
    )[:writes]:
        await server.call(act)
    message = pb.RangeRequest(key=b"a").SerializeToString()
    assert only_key(message)
    assert not only_key(message + SAYS_SO)
    before = server.state.tally.ranges
    assert ask(server, message) == ask(server, message + SAYS_SO)
    assert server.state.tally.ranges == before + 2


@in_loop
async def test_both_ways_refuse_the_same_whoever_asks() -> None:
    server, now = await server_with_users(permit(READ, b"a"))
    said = {}
    for token in (
        None,
        "nobody",
        *(f"{who}:{now + by}" for who in ("ann", "root", "bob") for by in (-1, 0, 1)),
    ):
        for key in (b"a", b"b"):
            message = pb.RangeRequest(key=key).SerializeToString()
            said[token, key] = ask(server, message, token)
            assert said[token, key] == ask(server, message + SAYS_SO, token), (token, key)
    assert isinstance(said[f"ann:{now}", b"a"], bytes)
    assert isinstance(said[f"root:{now}", b"b"], bytes)
    assert sum(isinstance(each, bytes) for each in said.values()) == 3, "Ann's key, and all to root"
    assert said[f"ann:{now + 1}", b"a"] == said[f"ann:{now - 1}", b"a"] == status.OLD_AUTH_REVISION
    assert said[f"root:{now + 1}", b"b"] == status.OLD_AUTH_REVISION
