"""Very many clients of one process: each is served, and what each costs is known.

The memory of a connection and of a stream stands in docs/testing.md; here is what it may not pass.
`-o log_cli=true --log-cli-level=info` shows what was measured.
"""

from __future__ import annotations

import logging
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from etcdpb.rpc_pb2 import DefragmentRequest, RangeRequest
from server.transport.frames import DATA, END_STREAM, HEADERS
from server.transport.room import FILES_RESERVED
from tests.process.conftest import Servers
from tests.process.lines import Line, Lines, memory_bytes
from tests.process.tools import free_url
from tests.server.transport.sockets import WIDE, request, watch
from tests.support.process import ServerProcess

logger = logging.getLogger(__name__)

CONNECTIONS: Final = 10_000
CONNECTION_BYTES_MAX: Final = 16 << 10
STREAMS: Final = 5_000
STREAMS_A_CONNECTION: Final = 1_000
STREAM_BYTES_MAX: Final = 16 << 10
VALUE_BYTES: Final = 64 << 10
FLUSHED_BYTES: Final = 48 << 20  # Three times what memory keeps of it.


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for the sockets of the test itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + FILES_RESERVED + 100:
        pytest.skip(f"a process may have {hard} open files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_answered(line: Line) -> bool:
    line.next(HEADERS)
    line.next(DATA)
    return bool(line.next(HEADERS).flags & END_STREAM)


@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
def test_ten_thousand_connections_are_served(servers: Servers, stack: ExitStack) -> None:
    server = servers.spawn("--transport=native", url=free_url()).wait_until_ready()
    client = servers.client(server)
    client.put(b"k", b"v")
    lines = Lines(server, stack)
    before = memory_bytes(server)
    opened = [lines.open() for _ in range(CONNECTIONS)]
    assert all(line.is_served() for line in opened)
    each = (memory_bytes(server) - before) / CONNECTIONS
    logger.info("%d bytes for a connection", each)
    assert each < CONNECTION_BYTES_MAX
    found = request(1, "KV/Range", RangeRequest(key=b"k"))
    for line in opened:
        line.send(found)
    client.put(b"k", b"v")
    assert all(is_answered(line) for line in opened)
    each = (memory_bytes(server) - before) / CONNECTIONS
    logger.info("%d bytes for a connection that was used", each)
    stack.close()
    client.put(b"k", b"v")
    assert server.terminate() < 0
    assert not server.noise


@pytest.mark.slow
def test_five_thousand_idle_streams_are_served(servers: Servers, stack: ExitStack) -> None:
    server = servers.spawn("--transport=native", url=free_url()).wait_until_ready()
    client = servers.client(server)
    client.put(b"other", b"v")
    lines = Lines(server, stack)
    opened = [lines.open(WIDE) for _ in range(STREAMS // STREAMS_A_CONNECTION)]
    before = memory_bytes(server)
    for line in opened:
        for number in range(STREAMS_A_CONNECTION):
            line.send(watch(1 + 2 * number, b"k"))
            line.next(DATA)
    each = (memory_bytes(server) - before) / STREAMS
    logger.info("%d bytes for a stream with a watch", each)
    assert each < STREAM_BYTES_MAX
    client.put(b"other", b"v")
    client.put(b"k", b"to all of them")
    for line in opened:
        for _ in range(STREAMS_A_CONNECTION):
            assert b"to all of them" in line.next(DATA).payload
    stack.close()
    client.put(b"k", b"v")
    assert not server.noise


def test_who_comes_when_all_files_are_taken_is_refused_and_the_store_has_its_own(
    servers: Servers, stack: ExitStack
) -> None:
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("prlimit is not installed")
    room = 30
    limit = FILES_RESERVED + room
    url = free_url()
    server = ServerProcess(
        servers.data_dir,
        "--transport=native",
        url=url,
        wrapper=(prlimit, f"--nofile={limit}:{limit}"),
    )
    servers.adopt(server).wait_until_ready()
    client = servers.client(server)
    client.put(b"k", b"v")
    lines = Lines(server, stack)
    served = [line for line in [lines.open() for _ in range(3 * room)] if line.is_served()]
    others = 1  # The gRPC client's.
    assert len(served) + others == room
    for number in range(100):
        client.put(b"k", b"%d" % number * 1000)
    assert all(line.is_served() for line in served)
    (warning,) = [line for line in server.lines if line["msg"].startswith("too many connections")]
    assert warning["level"] == "warn"
    stack.close()
    client.put(b"k", b"v")
    assert lines.open().is_served()
    stack.close()
    assert not server.noise


@pytest.mark.slow
def test_rocksdb_flushes_and_compacts_while_all_files_are_taken(
    servers: Servers, stack: ExitStack
) -> None:
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("prlimit is not installed")
    limit = FILES_RESERVED + 30
    server = ServerProcess(
        servers.data_dir,
        "--transport=native",
        url=free_url(),
        wrapper=(prlimit, f"--nofile={limit}:{limit}"),
    )
    servers.adopt(server).wait_until_ready()
    client = servers.client(server)
    revision = client.put(b"0", b"")
    lines = Lines(server, stack)
    opened = [lines.open() for _ in range(100)]
    for number in range(FLUSHED_BYTES // VALUE_BYTES):
        revision = client.put(b"%d" % (number % 100), os.urandom(VALUE_BYTES))
    client.compact(revision - 100, physical=True)
    client.call("Maintenance", "Defragment", DefragmentRequest())
    store = servers.data_dir / "tenure" / "store"
    assert list(store.glob("*.sst")), "there was something to flush"
    assert sum(line.is_served() for line in opened) > 20
    before = client.hash_kv(revision).hash
    server.kill()
    _, client = servers.start()
    assert client.hash_kv(revision).hash == before
    assert not server.noise


def test_a_limit_that_leaves_no_room_is_an_error_at_the_start(servers: Servers) -> None:
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("prlimit is not installed")
    server = ServerProcess(
        servers.data_dir,
        socket=servers.new_socket(),
        wrapper=(prlimit, f"--nofile={FILES_RESERVED}:{FILES_RESERVED}"),
    )
    servers.adopt(server)
    assert server.wait() == 1
    assert "file descriptor limit" in server.fatal()["error"]
