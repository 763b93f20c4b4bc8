"""How a process starts, or refuses to, and what it leaves behind."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mvcc.backend import rocks_options
from server.datadir import LOCK_REMARK
from tests.process.client import Client
from tests.process.conftest import Servers
from tests.support.process import READY, ROOT, ServerProcess, environment


def listening_socket() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_version_is_told_in_etcd_s_form() -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("etcd Version: 3.6.14\n")
    assert "Tenure Version: " in done.stdout


def test_a_flag_that_does_not_exist_ends_with_2_and_the_usage() -> None:
    done = run("--nope")
    assert done.returncode == 2
    assert "flag provided but not defined: -nope\n" in done.stderr
    assert "Usage:" in done.stderr


def test_it_serves_on_a_tcp_port_and_again_after_a_kill(servers: Servers) -> None:
    """What is left of the first process's connections must not keep the port."""
    with listening_socket() as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    for expected in (2, 3):
        server = servers.spawn(url=url).wait_until_ready()
        with servers.client(server) as client:
            assert client.put(b"k", b"v") == expected
            server.kill()


def test_a_socket_left_by_a_killed_process_is_taken_over(servers: Servers) -> None:
    path = servers.new_socket()
    for expected in (2, 3):
        server = servers.adopt(ServerProcess(servers.data_dir, socket=path)).wait_until_ready()
        with servers.client(server) as client:
            assert client.put(b"k", b"v") == expected
        server.kill()
        assert stat.S_ISSOCK(path.stat().st_mode)


def test_a_port_that_is_in_use_is_named_and_ends_with_1(servers: Servers) -> None:
    with listening_socket() as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        server = servers.spawn(url=url)
        assert server.wait() == 1
    line = server.fatal()
    assert line["msg"] == "failed to start"
    assert url in line["error"]
    assert READY not in server.messages


def test_an_ephemeral_server_leaves_no_file(servers: Servers, tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))
    server, client = servers.start("--ephemeral")
    assert client.put(b"k", b"v") == 2
    assert server.terminate() < 0
    assert set(tmp_path.rglob("*")) == before


def second_at_the_lock(servers: Servers, client: Client) -> ServerProcess:
    """Another process on the data directory that `client`'s server uses, waiting for it."""
    second = servers.spawn()
    lock = servers.data_dir / "tenure" / "lock"
    while not (second.catches(signal.SIGTERM) and second.has_open(lock)):
        assert client.get(b"k") is not None  # The first one goes on; and it paces this loop.
        assert second.is_running, second.described()
    return second


def test_a_second_process_waits_for_the_data_dir_and_serves_when_the_first_has_ended(
    servers: Servers,
) -> None:
    first, client = servers.start()
    revision = client.put(b"k", b"v")
    second = second_at_the_lock(servers, client)
    for _ in range(100):
        assert client.get(b"k") is not None
    assert second.is_running
    assert READY not in second.messages
    assert LOCK_REMARK not in second.messages, "that is said after 10 s only"
    first.kill()
    second.wait_until_ready()
    kv = servers.client(second).get(b"k")
    assert kv is not None
    assert (kv.value, kv.mod_revision) == (b"v", revision)


def test_a_signal_ends_a_process_that_waits_for_the_data_dir(servers: Servers) -> None:
    first, client = servers.start()
    client.put(b"k", b"v")
    second = second_at_the_lock(servers, client)
    assert second.terminate() == -signal.SIGTERM, second.described()
    assert "received signal; shutting down" in second.messages
    assert READY not in second.messages
    assert first.is_running


def test_rocksdb_s_own_logs_do_not_pile_up_over_restarts(servers: Servers) -> None:
    for revision in range(2, 10):
        server, client = servers.start()
        assert client.put(b"k", b"v") == revision
        server.kill()
    logs = [path.name for path in (servers.data_dir / "tenure" / "store").glob("LOG*")]
    assert "LOG" in logs
    assert len(logs) <= rocks_options.INFO_LOGS_MAX


def test_a_file_in_the_place_of_the_data_dir_is_refused_by_name(servers: Servers) -> None:
    servers.data_dir.write_bytes(b"mine")
    error = servers.refused()
    assert str(servers.data_dir) in error
    assert servers.data_dir.read_bytes() == b"mine"


@pytest.mark.parametrize("mark", ["member/snap/db", "member/wal/0.wal"])
def test_the_data_dir_of_an_etcd_is_refused_by_name_and_left_alone(
    servers: Servers, mark: str
) -> None:
    path = servers.data_dir / mark
    path.parent.mkdir(parents=True)
    path.write_bytes(b"etcd's")
    error = servers.refused()
    assert f"{servers.data_dir} is the data directory of an etcd" in error
    assert "tenure snapshot restore" in error
    assert [each for each in servers.data_dir.rglob("*") if each.is_file()] == [path]


@pytest.mark.parametrize(("setting", "is_told"), [("simple", True), ("", False)])
def test_simple_tokens_are_warned_of_before_anybody_is_served(
    servers: Servers, setting: str, *, is_told: bool
) -> None:
    """NewTokenProvider, server/auth/store.go."""
    server = servers.spawn(f"--auth-token={setting}").wait_until_ready()
    told = [
        line["level"]
        for line in server.lines
        if line["msg"] == "simple token is not cryptographically signed"
    ]
    assert told == (["warn"] if is_told else [])
