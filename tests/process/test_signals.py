"""How a server ends when it is told to: calls are answered, streams ended, all of it closed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Final

import grpc
import pytest

from etcdpb import rpc_pb2
from tests.process.client import Client, Exchange
from tests.process.conftest import ON_EACH_TRANSPORT, Servers
from tests.support.process import ServerProcess

pytestmark = ON_EACH_TRANSPORT

SHUTTING_DOWN: Final = "received signal; shutting down"
STOPPED: Final = "etcdserver: server stopped"
LEASE: Final = 7


def ended_with(stream: Exchange) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.RpcError) as end:
        stream.receive()
    return end.value.code(), end.value.details()


def code_at_the_end(stream: Exchange) -> grpc.StatusCode:
    try:
        while True:
            stream.receive()
    except grpc.RpcError as end:
        return end.code()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order_and_by_that_signal(
    servers: Servers, number: signal.Signals
) -> None:
    """So that a shell sees 143 or 130."""
    server, client = servers.start()
    client.put(b"k", b"v")
    server.signal(number)
    assert server.wait() == -number, server.described()
    assert server.wait_for(SHUTTING_DOWN)["signal"] == number.name
    assert server.messages[-1] == "closed"
    assert server.noise == []


def test_streams_end_as_etcd_s_do(servers: Servers) -> None:
    server, client = servers.start()
    client.grant(600, LEASE)
    with client.watch(1) as watch, client.stream("Lease", "LeaseKeepAlive") as renewals:
        renewals.send(rpc_pb2.LeaseKeepAliveRequest(ID=LEASE))
        assert renewals.receive().TTL == 600
        assert server.terminate() == -signal.SIGTERM
        assert ended_with(watch) == (grpc.StatusCode.UNAVAILABLE, STOPPED)
        assert ended_with(renewals) == (grpc.StatusCode.UNAVAILABLE, STOPPED)


def test_a_watcher_that_comes_back_at_once_is_never_told_that_it_cancelled(
    servers: Servers,
) -> None:
    """clientv3 opens the stream anew within milliseconds, and gives up on anything else."""
    server, client = servers.start()
    with client.watch(1):
        server.signal(signal.SIGTERM)
        codes = set()
        while server.is_running:
            with client.stream("Watch", "Watch") as stream:
                stream.send(rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest()))
                codes.add(code_at_the_end(stream))
    assert codes == {grpc.StatusCode.UNAVAILABLE}


def has_been_compacted(client: Client, revision: int) -> bool:
    call = client.method("KV", "Range").future(rpc_pb2.RangeRequest(key=b"k", revision=revision))
    if call.exception() is None:
        return False
    assert call.code() is grpc.StatusCode.OUT_OF_RANGE
    return True


def test_a_call_under_way_is_answered_before_the_end(servers: Servers) -> None:
    """A physical compaction is a call that takes a while: its sweep pauses between its steps."""
    server, client = servers.start("--max-txn-ops=1000")
    for _ in range(30):  # Steps of the sweep.
        request = rpc_pb2.TxnRequest()
        for number in range(1000):
            request.success.add(request_put=rpc_pb2.PutRequest(key=b"%d" % number))
        client.call("KV", "Txn", request)
    revision = client.everything().header.revision
    compaction = client.method("KV", "Compact").future(
        rpc_pb2.CompactionRequest(revision=revision, physical=True), timeout=20
    )
    while not has_been_compacted(client, revision - 1):
        continue
    assert not compaction.done(), "so it waits for the sweep"
    assert server.terminate() == -signal.SIGTERM
    assert compaction.result().header.revision == revision


def test_every_put_is_answered_or_refused_and_those_answered_are_there(servers: Servers) -> None:
    server, client = servers.start()
    put = client.method("KV", "Put")
    calls = [
        put.future(rpc_pb2.PutRequest(key=b"%d" % number), timeout=20) for number in range(500)
    ]
    calls[0].result()
    assert server.terminate() == -signal.SIGTERM
    answered = {}
    for number, call in enumerate(calls):
        if call.exception() is None:
            answered[b"%d" % number] = call.result().header.revision
        else:
            assert (call.code(), call.details()) == (grpc.StatusCode.UNAVAILABLE, STOPPED)
    _, client = servers.start()
    found = {kv.key: kv.mod_revision for kv in client.everything().kvs}
    assert answered.items() <= found.items()
    assert found.keys() - answered.keys() == set(), "a drain answers all that it has applied"


@pytest.mark.parametrize("number", ["-TERM", "-INT"])
def test_the_first_process_of_a_container_ends_with_0(servers: Servers, number: str) -> None:
    """Signals cannot kill it (pkg/osutil/interrupt_unix.go)."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    try:
        trial = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("a process id namespace is made by unshare, which is not installed")
    if trial.returncode:
        pytest.skip(f"no process id namespace can be made here: {trial.stderr.strip()}")
    server = servers.adopt(
        ServerProcess(servers.data_dir, socket=servers.new_socket(), wrapper=unshare)
    ).wait_until_ready()
    revision = servers.client(server).put(b"k", b"v")
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    subprocess.run(["kill", number, *children], check=True)
    assert server.wait() == 0, server.described()
    assert server.messages[-1] == "closed"

    _, client = servers.start()
    assert client.everything().header.revision == revision
