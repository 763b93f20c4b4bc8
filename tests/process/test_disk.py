"""A disk that is full or fails ends the process, and what it had acknowledged is there after it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
import pytest

from etcdpb import rpc_pb2
from tests.process.client import Client
from tests.process.conftest import Servers
from tests.process.tools import tampered
from tests.support.process import ServerProcess

pytestmark = pytest.mark.power

VALUE: Final = b"v" * 1000
PUTS_MAX: Final = 20_000  # Before them, every disk of these tests has refused.
STOPPING: Final = "cannot go on; stopping at once"


def put_until_it_dies(client: Client) -> list[int]:
    """Put until the server is gone; the revisions that it acknowledged."""
    revisions: list[int] = []
    while len(revisions) < PUTS_MAX:
        number = len(revisions)
        try:
            revisions.append(client.put(b"%d" % (number % 100), b"%d " % number + VALUE))
        except grpc.RpcError as end:
            if end.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return revisions
    raise AssertionError("the disk took it all")


def assert_it_said_why(server: ServerProcess, reason: str) -> None:
    assert server.wait() == 1, server.described()
    line = server.fatal()
    assert line["msg"] == STOPPING
    assert reason in line["error"]
    assert str(server.data_dir) in line["error"]


def assert_all_is_there(client: Client, revisions: list[int]) -> None:
    """And perhaps the one that was never answered, but no other."""
    assert revisions == list(range(2, len(revisions) + 2))
    assert client.everything().header.revision in (revisions[-1], revisions[-1] + 1)
    events = list(client.history(2, revisions[-1]))
    assert [event.kv.mod_revision for event in events] == revisions
    assert [event.kv.value for event in events] == [
        b"%d " % number + VALUE for number in range(len(revisions))
    ]


def test_a_write_that_does_not_fit_ends_the_process_and_loses_nothing(servers: Servers) -> None:
    server, client = servers.start()
    limit_bytes = 300_000
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    revisions = put_until_it_dies(client)
    assert_it_said_why(server, "File too large")
    assert len(revisions) > 100

    _, client = servers.start()
    assert_all_is_there(client, revisions)
    assert client.put(b"k", b"v") > revisions[-1]


# --- a small file system ---


@pytest.fixture
def disk(servers: Servers) -> Iterator[Path]:
    """One of 4 MB, mounted where the data directory will be."""
    path = servers.data_dir.parent
    mounted = mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path))
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        # The servers may go on until the test has ended, and this ends before them.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def mount(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


def fill(path: Path) -> None:
    """Write a file until not a page is left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(descriptor, bytes(4096)):
            continue
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(descriptor)


def make_room(disk: Path) -> None:
    assert mount("-o", "remount,size=64m", str(disk)).returncode == 0


def test_a_full_disk_ends_the_process_and_loses_nothing(servers: Servers, disk: Path) -> None:
    server, client = servers.start()
    revisions = put_until_it_dies(client)
    assert_it_said_why(server, "No space left on device")
    assert len(revisions) > 100

    assert "No space left on device" in servers.refused(), "and it does not start on a full disk"

    make_room(disk)
    _, client = servers.start()
    assert_all_is_there(client, revisions)


def test_a_disk_that_is_full_at_the_end_does_not_keep_it_from_ending(
    servers: Servers, disk: Path
) -> None:
    server, client = servers.start()
    revision = client.put(b"k", VALUE)
    fill(disk / "filler")
    assert server.terminate() == -signal.SIGTERM, server.described()
    assert server.noise == []
    error = server.wait_for("the store could not be written out; the next start replays its log")
    assert "No space left on device" in error["error"]

    make_room(disk)
    _, client = servers.start()
    assert client.everything().header.revision == revision


def test_a_data_dir_that_cannot_be_written_is_refused_by_name(servers: Servers, disk: Path) -> None:
    server, client = servers.start()
    client.put(b"k", VALUE)
    server.kill()
    assert mount("-o", "remount,ro", str(disk)).returncode == 0
    error = servers.refused()
    assert str(servers.data_dir) in error
    assert "Read-only file system" in error


# --- an fsync that fails ---


@pytest.mark.slow
def test_while_an_fsync_takes_long_renewals_are_answered_and_changes_wait(
    servers: Servers, strace: str
) -> None:
    server, client = servers.start()
    client.grant(60, 7)
    client.put(b"k", b"0", 7)
    with tampered(strace, server.pid, "delay_enter=2000000"):
        client.put(b"k", b"found slow")  # One that waits alone may be on the loop; not the next.
        request = rpc_pb2.PutRequest(key=b"k", value=b"1", lease=7)
        slow = client.method("KV", "Put").future(request, timeout=20)
        with client.stream("Lease", "LeaseKeepAlive") as renewals:
            for _ in range(10):
                renewals.send(rpc_pb2.LeaseKeepAliveRequest(ID=7))
                assert renewals.receive().TTL == 60
        assert not slow.done()
        revision = slow.result().header.revision
    server.kill()
    _, client = servers.start()
    kv = client.get(b"k")
    assert kv is not None
    assert (kv.value, kv.mod_revision) == (b"1", revision)


def test_an_fsync_that_fails_ends_the_process_and_loses_nothing(
    servers: Servers, strace: str
) -> None:
    """After a failed fsync nobody knows what is on the disk: it must not be tried again."""
    server, client = servers.start()
    before = [client.put(b"0", b"0 " + VALUE)]
    with tampered(strace, server.pid, "error=EIO"):
        with pytest.raises(grpc.RpcError) as end:
            client.put(b"lost or not", VALUE)
        assert end.value.code() is grpc.StatusCode.UNAVAILABLE
        assert_it_said_why(server, "Input/output error")

    _, client = servers.start()
    assert client.everything().header.revision in (before[-1], before[-1] + 1)
    kv = client.get(b"0")
    assert kv is not None
    assert kv.value == b"0 " + VALUE
