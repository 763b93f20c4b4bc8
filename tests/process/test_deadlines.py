"""Leases go on after a restart with the time they had left, and where that is in doubt with all.

Time stands still but for what a test moves, so what is left is exact: it is told in whole seconds,
cut off, and a restart adds two ticks of 50 ms at most.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import grpc
import pytest

from tests.process.client import Client
from tests.process.clocked import FULL_TTL, GOES_ON, Lives
from tests.process.conftest import Servers
from tests.process.tools import tampered
from tests.support.process import ROOT, ServerProcess

pytestmark = pytest.mark.power

TTL: Final = 60
L1: Final = 0x1111
L2: Final = -0x2222


def begin(lives: Lives) -> None:
    """A life with a lease of which 20.5 s of 60 are over, and one renewed just now."""
    client = lives.start()
    for lease_id in (L1, L2):
        client.grant(TTL, lease_id)
        client.put(b"%d" % lease_id, b"", lease_id)
    lives.advance(20.5)
    assert client.keep_alive(L2) == TTL


def left(lives: Lives) -> tuple[int, int]:
    return lives.client.time_to_live(L1).TTL, lives.client.time_to_live(L2).TTL


def assert_goes_on(lives: Lives) -> None:
    assert lives.said()["msg"] == GOES_ON
    assert left(lives) == (39, 60)


def assert_full(lives: Lives, reason: str) -> None:
    line = lives.said()
    assert (line["msg"], line["reason"]) == (FULL_TTL, reason)
    assert left(lives) == (60, 60)


def test_three_restarts_in_a_row_take_and_give_no_lease_any_time(lives: Lives) -> None:
    """But two ticks each. A clean end is no different from a kill."""
    begin(lives)
    for end in (lives.kill, lives.terminate, lives.kill):
        end()
        client = lives.start()
        assert_goes_on(lives)
    lives.advance(39.4)
    assert client.leases() == {L1, L2}
    lives.advance(0.5)
    assert client.leases() == {L2}
    assert [kv.key for kv in client.everything().kvs] == [b"%d" % L2]


def test_kills_on_the_way_up_cost_no_lease_any_of_its_time(lives: Lives) -> None:
    begin(lives)
    lives.kill()
    for message in (GOES_ON, "recovered"):
        lives.spawn().wait_for(message)
        lives.kill()
    lives.start()
    assert_goes_on(lives)


def test_whatever_is_in_doubt_gives_the_full_ttl_and_nothing_else_does(
    lives: Lives, tmp_path: Path
) -> None:
    """One directory through all of it: a life costs a second."""
    begin(lives)
    lives.kill()
    copy = lives.copy(tmp_path / "copy")
    lives.start(data_dir=copy)
    assert_full(lives, "the data directory is a copy, or was restored, or its files changed hands")
    lives.kill()
    lives.start()
    assert_goes_on(lives)  # The original.

    lives.kill()
    lives.boot_id.write_text("99999999-2222-3333-4444-555555555555\n")
    lives.start()
    assert_full(lives, "the machine was started anew since")
    lives.advance(20)
    lives.kill()
    lives.start("--lease-renewals=volatile")
    assert left(lives) == (60, 60)
    assert not (lives.data_dir / "tenure" / "deadlines").exists()
    lives.advance(20)
    lives.kill()
    lives.start()
    assert_full(lives, "there is no file of deadlines")


def test_after_an_fsync_that_failed_the_full_ttl(lives: Lives, strace: str) -> None:
    begin(lives)
    with tampered(strace, lives.server.pid, "error=EIO"):
        with pytest.raises(grpc.RpcError):
            lives.client.put(b"k", b"")
        assert lives.server.wait() == 1
    lives.kill()
    lives.start()
    assert_full(lives, "the last process met an error that ended it")


def test_an_ordinary_server_takes_no_clock_from_anybody(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "server", f"--data-dir={tmp_path}", "--test-clock=x"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "test-clock" in done.stderr


def test_the_time_of_day_is_nothing_to_a_lease(servers: Servers, tmp_path: Path) -> None:
    """Set forward and back by an hour, while it serves and over a restart."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        pytest.skip("the time of day is moved by libfaketime, which is not installed")
    offset = tmp_path / "offset"
    wrapper = (
        "env",
        f"LD_PRELOAD={libraries[0]}",
        f"FAKETIME_TIMESTAMP_FILE={offset}",
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1",
    )

    def start() -> Client:
        server = ServerProcess(servers.data_dir, socket=servers.new_socket(), wrapper=wrapper)
        servers.adopt(server).wait_until_ready()
        begun.append(server)
        return servers.client(server)

    begun: list[ServerProcess] = []
    offset.write_text("+0")
    client = start()
    client.grant(TTL, L1)
    for moved in ("+1h", "-1h"):
        offset.write_text(moved)
        time.sleep(0.2)  # Four ticks of the expirer.
        assert TTL - 20 < client.time_to_live(L1).TTL <= TTL
    begun[0].kill()
    offset.write_text("+2h")
    client = start()
    assert begun[1].wait_for(GOES_ON)
    hours = [each["ts"][11:13] for server in begun for each in (server.lines[0], server.lines[-1])]
    assert len(set(hours)) > 1, "the time of day was not moved"
    assert TTL - 40 < client.time_to_live(L1).TTL <= TTL
    assert client.keep_alive(L1) == TTL


@pytest.mark.slow
def test_a_process_that_was_stopped_past_every_ttl_and_killed_leaves_leases_what_they_had(
    servers: Servers,
) -> None:
    """Time in which it did not serve is nobody's. With the machine's own clock."""
    server, client = servers.start()
    client.grant(2, L1)
    client.put(b"k", b"", L1)
    server.signal(signal.SIGSTOP)
    time.sleep(2.5)
    server.kill()
    _, client = servers.start()
    assert client.leases() == {L1}
    assert client.keep_alive(L1) == 2
