"""The machine's clock is set by an hour, forward and back, while the server runs.

By libfaketime, which reads from a file how far the wall clock is to be off. The monotonic clock is
left alone, as a change of the time by an administrator or by NTP leaves it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc
import pytest

from etcdpb import rpc_pb2 as pb
from tests.process.client import Client
from tests.process.conftest import Servers
from tests.support.process import ServerProcess

LIBRARIES: Final = (
    *Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"),
    *Path("/usr/lib").glob("faketime/libfaketimeMT.so.1"),
)
HOUR_S: Final = 3600
KEPT, SILENT = 1, 2
TTL: Final = 2
PASSWORD: Final = "rather-secret"

pytestmark = pytest.mark.skipif(
    not LIBRARIES, reason="the clock is set by libfaketime, which is not installed"
)
SetClock = Callable[[int], None]


def start(servers: Servers, tmp_path: Path, *flags: str) -> tuple[ServerProcess, Client, SetClock]:
    """A server, a client of it, and what puts its wall clock so many seconds off."""
    offset = tmp_path / "offset"

    def set_clock(seconds: int) -> None:
        whole = tmp_path / "offset.new"
        whole.write_text(f"{seconds:+d}s\n")
        whole.replace(offset)

    set_clock(0)
    server = ServerProcess(
        servers.data_dir,
        *flags,
        socket=servers.new_socket(),
        wrapper=(
            "env",
            f"LD_PRELOAD={LIBRARIES[0]}",
            f"FAKETIME_TIMESTAMP_FILE={offset}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ),
    )
    servers.adopt(server).wait_until_ready()
    return server, servers.client(server), set_clock


@pytest.mark.slow
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_leases_and_deadlines_do_not_notice(servers: Servers, tmp_path: Path, jump_s: int) -> None:
    """Set forward none expires early; set back none lives for an hour more."""
    flags = ("--heartbeat-interval=10", "--election-timeout=100")
    server, client, set_clock = start(servers, tmp_path, *flags)
    with client.watch(0) as watch, client.stream("Lease", "LeaseKeepAlive") as renewals:
        for lease_id in (KEPT, SILENT):
            client.grant(TTL, lease_id)
            client.put(b"%d" % lease_id, b"", lease_id)
            watch.receive()
        granted_s = time.monotonic()
        set_clock(jump_s)
        assert client.time_to_live(SILENT).TTL in (TTL - 1, TTL)
        gone_s = None
        while gone_s is None:
            renewals.send(pb.LeaseKeepAliveRequest(ID=KEPT))
            assert renewals.receive().TTL == TTL
            if client.get(b"%d" % SILENT) is None:
                gone_s = time.monotonic()
            time.sleep(0.05)
        assert gone_s - granted_s >= TTL - 0.1  # It was granted before it was looked at.
        (event,) = watch.receive().events
        assert (event.kv.key, event.type) == (b"%d" % SILENT, event.DELETE)
        assert client.leases() == {KEPT}
        set_clock(0)
        renewals.send(pb.LeaseKeepAliveRequest(ID=KEPT))
        assert renewals.receive().TTL == TTL
    assert client.put(b"k", b"v")
    assert server.terminate() < 0
    assert server.noise == []


def log_in(client: Client) -> str:
    request = pb.AuthenticateRequest(name="root", password=PASSWORD)
    return str(client.call("Auth", "Authenticate", request).token)


def told(client: Client, token: str) -> str:
    try:
        client.method("KV", "Put")(
            pb.PutRequest(key=b"k"), timeout=20, metadata=(("token", token),)
        )
    except grpc.RpcError as error:
        return str(error.details())
    return ""


def enable(client: Client) -> None:
    client.call("Auth", "UserAdd", pb.AuthUserAddRequest(name="root", password=PASSWORD))
    grant = pb.AuthUserGrantRoleRequest(user="root", role="root")
    client.call("Auth", "UserGrantRole", grant)
    client.call("Auth", "AuthEnable", pb.AuthEnableRequest())


def test_simple_tokens_do_not_notice(servers: Servers, tmp_path: Path) -> None:
    """They are good for five minutes of the monotonic clock, as Go's timers have it in etcd."""
    _, client, set_clock = start(servers, tmp_path, "--bcrypt-cost=4")
    enable(client)
    token = log_in(client)
    for jump_s in (HOUR_S, -HOUR_S, 0):
        set_clock(jump_s)
        assert told(client, token) == ""


def test_signed_tokens_say_a_time_of_day_and_are_judged_by_it(
    servers: Servers, tmp_path: Path
) -> None:
    """As in etcd: what is signed is the time of day, which other members read as well."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"a secret of more than thirty-two bytes")
    signed = f"--auth-token=jwt,sign-method=HS256,priv-key={secret},ttl=5m"
    _, client, set_clock = start(servers, tmp_path, "--bcrypt-cost=4", signed)
    enable(client)
    token = log_in(client)
    set_clock(HOUR_S)
    assert told(client, token) == "etcdserver: invalid auth token"
    assert told(client, log_in(client)) == ""
    set_clock(-HOUR_S)
    assert told(client, token) == ""
    assert told(client, log_in(client)) == ""
