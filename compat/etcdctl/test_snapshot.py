"""`etcdctl snapshot` against a running server, and what anybody's tools make of the file."""

import json
import subprocess
from pathlib import Path

import pytest

from compat.etcdctl.command import Etcdctl
from compat.restoring import serving
from compat.targets import ETCD, NATIVE, ROOT, Server, Target, server_environment, tenure_command

STATUS_MAX_S = 20.0


def tenure_status(snapshot: Path) -> dict[str, object]:
    """`tenure snapshot status`, which is etcdutl 3.6's."""
    run = subprocess.run(
        [*tenure_command(), "snapshot", "status", str(snapshot), "-w", "json"],
        cwd=ROOT,
        env=server_environment(),
        capture_output=True,
        text=True,
        timeout=STATUS_MAX_S,
        check=True,
    )
    found: dict[str, object] = json.loads(run.stdout)
    return found


@pytest.fixture
def saved(etcdctl: Etcdctl, fresh_server: Server, tmp_path: Path) -> Path:
    """A snapshot of a server with some history, saved by etcdctl."""
    assert fresh_server.endpoint == etcdctl.endpoint
    lease = etcdctl("lease", "grant", "600").split()[1]
    for value in ("green", "red", "brown"):
        etcdctl("put", "apple", value)
    etcdctl("put", "pear", "yellow", f"--lease={lease}")
    etcdctl("put", "plum", "blue")
    etcdctl("del", "plum")
    etcdctl("compaction", "3")
    etcdctl("put", "pear", "brown")
    etcdctl("user", "add", "eve:pw")
    path = tmp_path / "saved"
    assert etcdctl("snapshot", "save", str(path)) == f"Snapshot saved at {path}\n"
    return path


def test_a_snapshot_is_saved_and_its_status_is_what_every_tool_says(
    etcdctl: Etcdctl, saved: Path
) -> None:
    """etcdctl counts rows of all buckets, and etcdutl 3.6, as Tenure, keys that are there."""
    assert saved.stat().st_size % 512 == 32
    theirs = json.loads(etcdctl("snapshot", "status", str(saved), "-w", "json"))
    ours = tenure_status(saved)
    assert theirs["revision"] == ours["revision"] == 8
    assert theirs["hash"] == ours["hash"]
    assert theirs["totalSize"] == ours["totalSize"] == saved.stat().st_size - 32
    assert ours["totalKey"] == 2
    assert theirs["totalKey"] > 8


def check(server: Server, etcdctl: Etcdctl) -> None:
    """What was saved is served there: history, the compaction, the lease, the user."""
    there = Etcdctl(etcdctl.path, etcdctl.version, server.endpoint)
    assert there("get", "", "--prefix") == "apple\nbrown\npear\nbrown\n"
    assert there("get", "", "--prefix", "--rev=6") == "apple\nbrown\npear\nyellow\nplum\nblue\n"
    assert "required revision has been compacted" in there.run("get", "apple", "--rev=2").stderr
    assert len(there("lease", "list").splitlines()) == 2
    assert there("user", "list") == "eve\n"
    assert '"Revision" : 9\n' in there("put", "fig", "ripe", "-w", "fields")


@pytest.mark.parametrize("kind", [ETCD, NATIVE], ids=lambda kind: kind.name)
def test_a_snapshot_is_restored_by_etcd_and_by_tenure(
    etcdctl: Etcdctl, saved: Path, tmp_path: Path, kind: Target
) -> None:
    with serving(kind, saved, tmp_path / "d") as server:
        check(server, etcdctl)


def test_a_snapshot_that_etcdctl_restores_is_served_by_etcd(
    etcdctl: Etcdctl, saved: Path, tmp_path: Path
) -> None:
    etcdctl("snapshot", "restore", str(saved), "--data-dir", str(tmp_path / "d"))
    server = Server(ETCD, tmp_path / "d")
    server.start()
    try:
        check(server, etcdctl)
    finally:
        server.stop()


@pytest.mark.parametrize("at", [9000, -1], ids=["its data", "its hash"])
def test_a_snapshot_with_a_bit_turned_is_restored_by_nobody(
    etcdctl: Etcdctl, saved: Path, tmp_path: Path, at: int
) -> None:
    data = bytearray(saved.read_bytes())
    data[at] ^= 1
    saved.write_bytes(data)
    theirs = etcdctl.run("snapshot", "restore", str(saved), "--data-dir", str(tmp_path / "e"))
    assert theirs.code == 1
    assert "expected sha256" in theirs.stderr
    for kind in (ETCD, NATIVE):
        with (
            pytest.raises(AssertionError, match="expected sha256"),
            serving(kind, saved, tmp_path / kind.name),
        ):
            pass
    assert not (tmp_path / NATIVE.name).exists()
