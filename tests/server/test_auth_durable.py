"""Rights in the order of the one writer: what a group decides holds behind it, and no sooner."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from etcdpb import rpc_pb2 as pb
from etcdpb.auth_pb2 import Permission
from server import status
from server.auth.caller import SERVER
from tests.support.calls import Answer, Pipe
from tests.support.clock import settle
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess, bare_server, parsed

ENABLE = pb.AuthEnableRequest()
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
ADD = "/etcdserverpb.Auth/UserAdd"


def _as(token: Any) -> Answer:
    answer = Answer()
    answer.token = token
    return answer


def _ask(server: ServerInProcess, token: Any, request: Message) -> Answer:
    return server.ask(request, _as(token))


async def _add_user(server: ServerInProcess, name: str) -> None:
    pipe = Pipe()
    pipe.token = SERVER
    request = pb.AuthUserAddRequest(name=name)
    request.options.no_password = True
    pipe.write(request.SerializeToString())
    task = server.open(ADD, pipe)
    await task


async def _with_ann() -> tuple[ServerInProcess, str]:
    """A server whose users count; Ann may write `a`, and has a token."""
    server = bare_server()
    await _add_user(server, "root")
    await _add_user(server, "ann")
    grant = pb.AuthRoleGrantPermissionRequest(name="role")
    grant.perm.CopyFrom(Permission(permType=Permission.READWRITE, key=b"a"))
    for request in (
        pb.AuthRoleAddRequest(name="role"),
        grant,
        pb.AuthUserGrantRoleRequest(user="ann", role="role"),
        pb.AuthUserGrantRoleRequest(user="root", role="root"),
        ENABLE,
    ):
        _ask(server, SERVER, request)
    await settle()
    assert server.state.auth.enabled
    return server, server.state.gate.issue("ann", 1)


@in_loop
async def test_within_a_group_each_command_sees_what_those_before_it_decided() -> None:
    server, ann = await _with_ann()
    put = pb.PutRequest(key=b"a")
    groups = server.engine.stats().groups
    before = _ask(server, ann, put)
    _ask(server, SERVER, pb.AuthRoleDeleteRequest(role="role"))
    behind = _ask(server, ann, put)
    await settle()
    assert parsed(put, before).header.revision == 2
    assert behind.status == status.PERMISSION_DENIED
    assert server.engine.stats().groups == groups + 1


@in_loop
async def test_no_refusal_leaves_before_what_it_rests_on_is_durable() -> None:
    server, ann = await _with_ann()
    server.flusher.hold()
    _ask(server, SERVER, pb.AuthUserDeleteRequest(name="ann"))
    await settle()
    asked = [
        _ask(server, ann, request)
        for request in (
            pb.RangeRequest(key=b"a"),
            pb.PutRequest(key=b"a"),
            pb.TxnRequest(),
            pb.MemberListRequest(),
            pb.StatusRequest(),
            pb.AuthUserListRequest(),
        )
    ]
    await settle()
    assert not any(answer.is_done for answer in asked)
    server.flusher.let_go()
    await settle()
    assert {answer.status for answer in asked} == {status.INVALID_AUTH_TOKEN}


@in_loop
async def test_nobody_is_let_in_by_a_change_that_may_be_lost() -> None:
    server, ann = await _with_ann()
    _ask(server, SERVER, pb.LeaseGrantRequest(ID=1, TTL=60))
    _ask(server, SERVER, pb.PutRequest(key=b"b", lease=1))
    await settle()
    pipe = Pipe()
    pipe.token = ann
    server.flusher.hold()
    grant = pb.AuthRoleGrantPermissionRequest(name="role")
    grant.perm.CopyFrom(Permission(permType=Permission.READWRITE, key=b"b"))
    _ask(server, SERVER, grant)
    await settle()
    server.open(KEEP_ALIVE, pipe)
    pipe.write(pb.LeaseKeepAliveRequest(ID=1).SerializeToString())
    read = _ask(server, ann, pb.RangeRequest(key=b"b"))
    await settle()
    assert not pipe.sent
    assert not read.is_done
    server.flusher.let_go()
    await settle()
    assert pb.LeaseKeepAliveResponse.FromString(pipe.sent[0]).TTL == 60
    assert read.message is not None


@in_loop
async def test_a_keepalive_does_not_wait_for_a_group_that_is_not_about_it() -> None:
    server, ann = await _with_ann()
    _ask(server, SERVER, pb.LeaseGrantRequest(ID=1, TTL=60))
    await settle()
    server.flusher.hold()
    _ask(server, SERVER, pb.PutRequest(key=b"x"))
    await settle()
    pipe = Pipe()
    pipe.token = ann
    server.open(KEEP_ALIVE, pipe)
    pipe.write(pb.LeaseKeepAliveRequest(ID=1).SerializeToString())
    await settle()
    assert len(pipe.sent) == 1
    server.flusher.let_go()


@in_loop
async def test_reads_behind_the_group_that_enables_are_asked_and_those_before_are_not() -> None:
    server, _ = await _with_ann()
    _ask(server, SERVER, pb.AuthDisableRequest())
    await settle()
    read = pb.RangeRequest(key=b"a")
    assert _ask(server, None, read).message is not None
    server.flusher.hold()
    _ask(server, SERVER, ENABLE)
    await settle()
    behind = _ask(server, None, read)
    server.flusher.let_go()
    await settle()
    assert behind.status == status.USER_EMPTY


@in_loop
async def test_users_and_what_they_may_do_outlive_the_process_and_simple_tokens_do_not() -> None:
    server, ann = await _with_ann()
    size = server.store.in_use
    await server.restart()
    assert server.state.auth.enabled
    assert server.store.in_use == size
    put = pb.PutRequest(key=b"a")
    assert _ask(server, ann, put).error is None
    await settle()
    late = _ask(server, ann, put)
    await settle()
    assert late.status == status.INVALID_AUTH_TOKEN
    again = _ask(server, server.state.gate.issue("ann", 1), put)
    await settle()
    assert again.message is not None
    await server.stop()
