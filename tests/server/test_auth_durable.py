"""Rights in the order of the one writer: what a group decides holds behind it, and no sooner."""

from __future__ import annotations

from etcdpb import rpc_pb2 as pb
from etcdpb.auth_pb2 import Permission
from server import status
from server.auth.caller import SERVER
from tests.support.calls import Pipe
from tests.support.clock import settle
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess, bare_server, parsed
from tests.support.users import add_user_within, ask_as

ENABLE = pb.AuthEnableRequest()
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"


async def _with_ann() -> tuple[ServerInProcess, str]:
    """A server whose users count; Ann may write `a`, and has a token."""
    server = bare_server()
    await add_user_within(server, "root")
    await add_user_within(server, "ann")
    grant = pb.AuthRoleGrantPermissionRequest(name="role")
    grant.perm.CopyFrom(Permission(permType=Permission.READWRITE, key=b"a"))
    for request in (
        pb.AuthRoleAddRequest(name="role"),
        grant,
        pb.AuthUserGrantRoleRequest(user="ann", role="role"),
        pb.AuthUserGrantRoleRequest(user="root", role="root"),
        ENABLE,
    ):
        ask_as(server, SERVER, request)
    await settle()
    assert server.state.auth.enabled
    return server, server.state.gate.issue("ann", 1)


@in_loop
async def test_within_a_group_each_command_sees_what_those_before_it_decided() -> None:
    server, ann = await _with_ann()
    put = pb.PutRequest(key=b"a")
    groups = server.engine.stats().groups
    before = ask_as(server, ann, put)
    ask_as(server, SERVER, pb.AuthRoleDeleteRequest(role="role"))
    behind = ask_as(server, ann, put)
    await settle()
    assert parsed(put, before).header.revision == 2
    assert behind.status == status.PERMISSION_DENIED
    assert server.engine.stats().groups == groups + 1


@in_loop
async def test_no_refusal_leaves_before_what_it_rests_on_is_durable() -> None:
    server, ann = await _with_ann()
    server.flusher.hold()
    ask_as(server, SERVER, pb.AuthUserDeleteRequest(name="ann"))
    await settle()
    asked = [
        ask_as(server, ann, request)
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
    ask_as(server, SERVER, pb.LeaseGrantRequest(ID=1, TTL=60))
    ask_as(server, SERVER, pb.PutRequest(key=b"b", lease=1))
    await settle()
    pipe = Pipe()
    pipe.token = ann
    server.flusher.hold()
    grant = pb.AuthRoleGrantPermissionRequest(name="role")
    grant.perm.CopyFrom(Permission(permType=Permission.READWRITE, key=b"b"))
    ask_as(server, SERVER, grant)
    await settle()
    server.open(KEEP_ALIVE, pipe)
    pipe.write(pb.LeaseKeepAliveRequest(ID=1).SerializeToString())
    read = ask_as(server, ann, pb.RangeRequest(key=b"b"))
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
    ask_as(server, SERVER, pb.LeaseGrantRequest(ID=1, TTL=60))
    await settle()
    server.flusher.hold()
    ask_as(server, SERVER, pb.PutRequest(key=b"x"))
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
    ask_as(server, SERVER, pb.AuthDisableRequest())
    await settle()
    read = pb.RangeRequest(key=b"a")
    assert ask_as(server, None, read).message is not None
    server.flusher.hold()
    ask_as(server, SERVER, ENABLE)
    await settle()
    behind = ask_as(server, None, read)
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
    assert ask_as(server, ann, put).error is None
    await settle()
    late = ask_as(server, ann, put)
    await settle()
    assert late.status == status.INVALID_AUTH_TOKEN
    again = ask_as(server, server.state.gate.issue("ann", 1), put)
    await settle()
    assert again.message is not None
    await server.stop()
