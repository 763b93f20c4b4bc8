"""Data directories that cannot be used, and two processes that want the same one.

Each refusal is one fatal line that names the path and the reason, exit code 1, and nothing changed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import grpc
import pytest

from tests.process.client import Client
from tests.process.conftest import Servers
from tests.process.test_disk import mount
from tests.support.process import READY, ServerProcess

NOBODY: Final = 65_534
TURNS: Final = 3
PUTS: Final = 50  # Of a turn, before its end.


def contents(path: Path) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}


def filled(servers: Servers) -> dict[Path, bytes]:
    """A data directory with a key, its server gone."""
    server, client = servers.start()
    client.put(b"k", b"v")
    server.kill()
    return contents(servers.data_dir)


@pytest.fixture
def read_only(servers: Servers) -> Iterator[dict[Path, bytes]]:
    """The data directory bound to itself so that nobody, root included, may write it."""
    before = filled(servers)
    path = str(servers.data_dir)
    mounted = mount("--bind", path, path)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        assert mount("-o", "remount,bind,ro", path).returncode == 0
        yield before
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def test_a_read_only_mount_is_refused_and_nothing_is_changed(
    servers: Servers, read_only: dict[Path, bytes]
) -> None:
    error = servers.refused()
    assert str(servers.data_dir) in error
    assert "Read-only file system" in error
    assert contents(servers.data_dir) == read_only


def as_nobody(servers: Servers) -> ServerProcess:
    """A server that runs as a user without rights of its own."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("only root can start a process as another user, by setpriv")
    socket = servers.new_socket()
    socket.parent.chmod(0o777)
    wrapper = (setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    return servers.adopt(ServerProcess(servers.data_dir, socket=socket, wrapper=wrapper))


def refusal_of(server: ServerProcess) -> str:
    assert server.wait() == 1, server.described()
    line = server.fatal()
    assert line["msg"] == "failed to start"
    return str(line["error"])


def test_the_data_dir_of_another_user_is_refused_and_nothing_is_changed(servers: Servers) -> None:
    before = filled(servers)
    error = refusal_of(as_nobody(servers))
    assert str(servers.data_dir) in error
    assert "Permission denied" in error
    assert contents(servers.data_dir) == before


def test_a_directory_that_may_not_be_made_is_refused_by_name(servers: Servers) -> None:
    servers.data_dir.parent.chmod(0o755)
    error = refusal_of(as_nobody(servers))
    assert "Permission denied" in error
    assert not servers.data_dir.exists()


def test_a_path_that_is_not_there_is_made_for_the_owner_alone(servers: Servers) -> None:
    """As etcd does, with all that leads to it."""
    path = servers.data_dir / "not" / "there"
    server = servers.spawn(data_dir=path).wait_until_ready()
    assert servers.client(server).put(b"k", b"v") == 2
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_path_below_a_file_is_refused_by_name(servers: Servers) -> None:
    servers.data_dir.write_bytes(b"mine")
    path = servers.data_dir / "below"
    error = servers.refused(path)
    assert str(path) in error
    assert "Not a directory" in error
    assert servers.data_dir.read_bytes() == b"mine"


def test_no_room_for_the_very_first_files_is_refused_and_a_later_start_goes_well(
    servers: Servers,
) -> None:
    path = servers.data_dir.parent
    mounted = mount("-t", "tmpfs", "-o", "size=8k", "tmpfs", str(path))
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        error = servers.refused()
        assert str(servers.data_dir) in error
        assert "No space left on device" in error
        assert mount("-o", "remount,size=64m", str(path)).returncode == 0
        _, client = servers.start()
        assert client.put(b"k", b"v") == 2
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


# --- two processes ---


@pytest.mark.slow
@pytest.mark.power
def test_of_two_processes_one_writes_and_the_other_takes_over_with_all_that_was_acknowledged(
    servers: Servers,
) -> None:
    """Again and again: the one that serves is killed or ended while it is written to."""
    revisions: list[int] = []
    serving = servers.spawn().wait_until_ready()
    for turn in range(TURNS):
        waiting = servers.spawn()
        lock = servers.data_dir / "tenure" / "lock"
        client = servers.client(serving)
        while not (waiting.catches(signal.SIGTERM) and waiting.has_open(lock)):
            revisions.append(client.put(b"k", b"%d" % len(revisions)))
        under_way = threading.Event()
        writer = threading.Thread(target=write, args=(client, revisions, under_way))
        writer.start()
        assert under_way.wait(30)
        assert READY not in waiting.messages
        if turn % 2:
            serving.terminate()
        else:
            serving.kill()
        writer.join(30)
        serving = waiting.wait_until_ready()
        kv = servers.client(serving).get(b"k")
        assert kv is not None
        assert kv.mod_revision in (revisions[-1], revisions[-1] + 1)
        if kv.mod_revision > revisions[-1]:  # It was made, and its answer was lost.
            revisions.append(kv.mod_revision)
    assert revisions == list(range(2, len(revisions) + 2)), "one history, and not two"


def write(client: Client, revisions: list[int], under_way: threading.Event) -> None:
    for number in count(1):
        try:
            revisions.append(client.put(b"k", b"%d" % len(revisions)))
        except grpc.RpcError:
            return  # It was ended; if not by us, the test finds it gone too soon.
        if number == PUTS:
            under_way.set()
