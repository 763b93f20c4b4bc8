"""A plain put and a guarded one have a short way: it does and says what the long one does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import example, given
from hypothesis import strategies as st

from etcdpb import rpc_pb2 as pb
from mvcc.backend.base import Column
from mvcc.backend.memory import MemoryBackend
from server.commands.plain import GuardedPut, PlainPut
from server.request_text import text_of_command
from server.services.plain import guarded_put, plain_put
from server.settings.config import Config
from server.status import Status
from server.transport.dispatch import UnaryMethod
from tests.support.calls import Answer
from tests.support.clock import FakeClock, settle
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess, bare_server
from tests.support.users import WRITE, permit, server_with_users

PATHS: Final = {
    pb.PutRequest: "/etcdserverpb.KV/Put",
    pb.TxnRequest: "/etcdserverpb.KV/Txn",
    pb.DeleteRangeRequest: "/etcdserverpb.KV/DeleteRange",
    pb.LeaseGrantRequest: "/etcdserverpb.Lease/LeaseGrant",
    pb.LeaseRevokeRequest: "/etcdserverpb.Lease/LeaseRevoke",
}
UNKNOWN: Final = b"\x78\x00"  # Field 15, which no request has: it means nothing.
LEASES: Final = (0, 1, 127, 128, 2**31, 2**63 - 1)


def guarded(
    key: bytes,
    mod_revision: int,
    value: bytes = b"",
    lease: int = 0,
    *,
    shows: bool = True,
) -> pb.TxnRequest:
    """As Kubernetes sends it."""
    return pb.TxnRequest(
        compare=[pb.Compare(key=key, target=pb.Compare.MOD, mod_revision=mod_revision)],
        success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))],
        failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))] if shows else [],
    )


sizes = st.sampled_from((0, 1, 2, 100, 101, 127, 128, 129, 16_383, 16_384))
keys = st.binary(max_size=3) | sizes.map(lambda size: b"k" * size)
values = st.binary(max_size=3) | sizes.map(lambda size: b"v" * size)
leases = st.sampled_from((*LEASES, -1, -(2**63)))
puts = st.builds(
    pb.PutRequest,
    key=keys,
    value=values,
    lease=leases,
    prev_kv=st.sampled_from((False, False, True)),
)
guards = st.builds(
    guarded, keys, st.sampled_from((0, 1, 127, 128, 2**63 - 1, -1)), values, leases,
    shows=st.booleans(),
)  # fmt: skip


@st.composite
def others(draw: st.DrawFn) -> pb.TxnRequest:
    """Transactions that a guarded put could be taken for."""
    txn = draw(guards)
    part: Any = draw(
        st.sampled_from((
            txn.compare[0], txn, txn.success[0], txn.success[0].request_put, *txn.failure,
        ))
    )  # fmt: skip
    field = draw(st.sampled_from(list(part.DESCRIPTOR.fields)))
    if field.is_repeated:
        if draw(st.booleans()):
            part.ClearField(field.name)
        else:
            getattr(part, field.name).add()
    elif field.message_type is not None:
        getattr(part, field.name).SetInParent()
    elif field.type == field.TYPE_BYTES:
        setattr(part, field.name, draw(st.sampled_from((b"", b"other"))))
    else:
        setattr(part, field.name, draw(st.sampled_from((0, 1))))
    return txn


@st.composite
def damaged(draw: st.DrawFn, messages: st.SearchStrategy[Any]) -> bytes:
    """A message with an octet changed, cut off or put in."""
    message = bytearray(draw(messages).SerializeToString())
    at = draw(st.integers(0, min(40, len(message))))
    message[at : at + draw(st.integers(0, 1))] = draw(st.binary(max_size=2))
    return bytes(message[: draw(st.sampled_from((None, None, -1, 3, 10)))])


def says(kind: type[Message], message: bytes) -> Message | None:
    try:
        return kind.FromString(message)
    except DecodeError:
        return None


@given(puts)
@example(pb.PutRequest(key=b"a"))
@example(pb.PutRequest(key=b"a", value=b"b", lease=1, prev_kv=True))
def test_a_put_is_plain_exactly_if_it_has_a_short_key_a_value_and_a_lease(
    request: pb.PutRequest,
) -> None:
    put = plain_put(request.SerializeToString())
    is_plain = 0 < len(request.key) < 128 and request.lease >= 0 and not request.prev_kv
    assert (put is not None) == is_plain
    if put is not None:
        assert put.request() == request


@given(guards)
@example(guarded(b"k" * 100, 2**63 - 1))
def test_a_put_is_guarded_exactly_if_its_key_is_short(request: pb.TxnRequest) -> None:
    put = guarded_put(request.SerializeToString())
    compare, inner = request.compare[0], request.success[0].request_put
    is_plain = 0 < len(compare.key) <= 100 and compare.mod_revision >= 0 and inner.lease >= 0
    assert (put is not None) == is_plain
    if put is not None:
        assert put.ordinary()._request == request


def test_a_guard_without_a_number_is_one_of_a_key_that_is_not_there() -> None:
    request = guarded(b"a", 0)
    request.compare[0].ClearField("mod_revision")
    put = guarded_put(request.SerializeToString())
    assert put is not None
    assert put._mod_revision == 0


@given(others())
@example(guarded(b"a", 1))
def test_no_other_transaction_is_taken_for_a_guarded_put(request: pb.TxnRequest) -> None:
    message = request.SerializeToString()
    put = guarded_put(message)
    if put is not None:
        made = put.ordinary()._request
        made.compare[0].mod_revision = made.compare[0].mod_revision  # Set, if it is 0.
        request.compare[0].mod_revision = request.compare[0].mod_revision
        assert made == request


@given(damaged(puts) | st.binary(max_size=8).map(lambda rest: b"\x0a\x01a" + rest))
@example(b"")
@example(b"\x0a")
@example(b"\x0a\x02a")
@example(b"\x0a\x01a\x12")
@example(b"\x0a\x01a\x12\x80")
@example(b"\x0a\x01a\x12\x81\x80\x00v")
@example(b"\x0a\x01a\x12\x81\x80\x80\x00v")
@example(b"\x0a\x01a\x18")
@example(b"\x0a\x01a\x18\x01\x18\x02")
@example(b"\x0a\x01a\x18\x80\x00")
@example(b"\x0a\x01a\x18" + b"\xff" * 9 + b"\x01")
def test_what_is_read_as_a_put_says_just_that(message: bytes) -> None:
    put = plain_put(message)
    if put is not None:
        assert says(pb.PutRequest, message) == put.request()


@given(damaged(guards))
@example(b"")
@example(guarded(b"a", 1).SerializeToString()[:-1])
@example(guarded(b"a", 1, shows=False).SerializeToString()[:-1])
def test_what_is_read_as_a_guarded_put_says_just_that(message: bytes) -> None:
    put = guarded_put(message)
    if put is not None:
        request = put.ordinary()._request
        said = says(pb.TxnRequest, message)
        assert isinstance(said, pb.TxnRequest)
        said.compare[0].mod_revision = said.compare[0].mod_revision  # As in `others`.
        assert said == request


# --- what they do ---

few_keys = st.sampled_from((b"a", b"b", b"\0"))
scripts = st.lists(
    st.builds(
        pb.PutRequest,
        key=few_keys,
        value=st.sampled_from((b"", b"v", b"w" * 200)),
        lease=st.sampled_from((0, 1, 2, 99)),
    )
    | st.builds(
        guarded,
        few_keys,
        st.integers(0, 12),
        st.sampled_from((b"", b"v", b"w" * 200)),
        st.sampled_from((0, 1, 2, 99)),
        shows=st.booleans(),
    )
    | st.builds(pb.DeleteRangeRequest, key=few_keys)
    | st.builds(pb.LeaseGrantRequest, ID=st.sampled_from((1, 2)), TTL=st.just(5))
    | st.builds(pb.LeaseRevokeRequest, ID=st.sampled_from((1, 2))),
    max_size=20,
)
EVERYTHING: Final = (
    guarded(b"a", 0, b"1"),
    guarded(b"a", 0, b"2"),
    guarded(b"a", 0, b"2", shows=False),
    guarded(b"a", 2, b"2", 1),
    pb.LeaseGrantRequest(ID=1, TTL=5),
    guarded(b"a", 2, b"2", 1),
    guarded(b"b", 1, b"2", 1),
    pb.PutRequest(key=b"a", value=b"3"),
    guarded(b"a", 2, b"4"),
    guarded(b"a", 4, b"4"),
    pb.PutRequest(key=b"b", value=b"3", lease=1),
    pb.PutRequest(key=b"b", value=b"3", lease=2),
    pb.DeleteRangeRequest(key=b"a"),
    guarded(b"a", 6, b"2"),
    guarded(b"a", 4, b"2"),
    guarded(b"a", 0, b"2"),
    pb.LeaseRevokeRequest(ID=1),
)


def hand_in(server: ServerInProcess, request: Message, rest: bytes, token: Any = None) -> Answer:
    method = server.core.methods.get(PATHS[type(request)])
    assert isinstance(method, UnaryMethod)
    answer = Answer()
    answer.token = token
    try:
        reply = method.handle(request.SerializeToString() + rest, answer)
        assert reply is None
    except Exception as error:  # noqa: BLE001  # `Answer` tells a refusal from a bug
        answer.fail(error)
    return answer


def heard(answers: Sequence[Answer]) -> list[bytes | Status | None]:
    return [each.message if each.error is None else each.status for each in answers]


async def run(script: Sequence[Message], rest: bytes, *, at_once: bool) -> list[Any]:
    """The answers, what is on disk, what is counted and which keys the leases have."""
    server = bare_server()
    answers = []
    for request in script:
        answers.append(hand_in(server, request, rest))
        if not at_once:
            await settle()
    await settle()
    assert server.fatal == []
    server.lessor.check_invariants(server.clock.now())
    server.store.index.check_invariants()
    tally = server.state.tally
    return [
        heard(answers),
        {column: list(server.backend.scan(column)) for column in Column},
        {name: getattr(tally, name) for name in tally.__slots__},
        {lease.id: lease.sorted_keys() for lease in server.lessor.granted()},
        server.store.in_use,
    ]


@given(scripts, st.booleans())
@example(EVERYTHING, False)
@example(EVERYTHING, True)
def test_both_ways_do_and_say_the_same(script: list[Message], at_once: bool) -> None:
    short = asyncio.run(run(script, b"", at_once=at_once))
    assert short == asyncio.run(run(script, UNKNOWN, at_once=at_once))


def test_the_long_way_is_taken_where_there_is_anything_else() -> None:
    for request in (pb.PutRequest(key=b"a"), guarded(b"a", 0)):
        message = request.SerializeToString()
        read = plain_put if isinstance(request, pb.PutRequest) else guarded_put
        assert read(message) is not None
        assert read(message + UNKNOWN) is None


async def said_to(server: ServerInProcess, request: Message, token: Any = None) -> Any:
    """What both ways say: the same, but for the revision."""
    answers = []
    for rest in (b"", UNKNOWN):
        answers.append(hand_in(server, request, rest, token))
        await settle()
    short, long = heard(answers)
    assert short == long or isinstance(short, bytes) is isinstance(long, bytes) is True
    return short


@pytest.mark.parametrize("request_", [pb.PutRequest(key=b"a"), guarded(b"a", 0)])
@in_loop
async def test_an_alarm_refuses_both(request_: Message) -> None:
    server = bare_server()
    await server.call(
        pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=1, alarm=pb.NOSPACE)
    )
    said = await said_to(server, request_)
    assert isinstance(said, Status)
    assert "space exceeded" in said.message
    assert server.store.current == 1


@pytest.mark.parametrize("quota", [0, 300])
@pytest.mark.parametrize("size", [0, 40, 80])
@pytest.mark.parametrize("make", [pb.PutRequest, lambda key, value: guarded(key, 0, value)])
@in_loop
async def test_the_quota_and_the_limit_of_a_request_are_the_same(
    make: Any, size: int, quota: int
) -> None:
    said = []
    for rest in (b"", UNKNOWN):
        config = Config(ephemeral=True, quota_backend_bytes=quota or -1, max_request_bytes=100)
        server = ServerInProcess(MemoryBackend(), FakeClock(), config, serve=False)
        # The unknown field makes the message longer, which the value makes up for.
        value = b"v" * (size - len(rest)) if size else b""
        answers = [hand_in(server, make(key=b"a", value=value), rest) for _ in range(2)]
        await settle()
        said.append([type(each) for each in heard(answers)])
    assert said[0] == said[1]


@in_loop
async def test_a_txn_that_may_have_no_operations_has_none() -> None:
    config = Config(ephemeral=True, max_txn_ops=0)
    server = ServerInProcess(MemoryBackend(), FakeClock(), config, serve=False)
    said = await said_to(server, guarded(b"a", 0))
    assert isinstance(said, Status)
    assert "too many operations" in said.message


@in_loop
async def test_rights_are_asked_for_on_both() -> None:
    server, now = await server_with_users(permit(WRITE, b"a"))
    for token in (None, "nobody", f"ann:{now - 1}", f"ann:{now}", f"root:{now}"):
        for key in (b"a", b"b"):
            for request in (pb.PutRequest(key=key), guarded(key, 0), guarded(key, 9)):
                said = await said_to(server, request, token)
                is_allowed = token == f"root:{now}" or (
                    token == f"ann:{now}" and key == b"a" and isinstance(request, pb.PutRequest)
                )
                assert isinstance(said, bytes) == is_allowed, (token, key, request)


def test_the_log_names_them_as_what_they_stand_for() -> None:
    put = PlainPut(b"a", b"123", 7)
    assert text_of_command(put) == text_of_command(put.ordinary())
    assert 'key:"a"' in text_of_command(put)
    guard = GuardedPut(put, 5, shows=True)
    assert text_of_command(guard) == text_of_command(guard.ordinary())
