"""A store that is damaged, short or not ours is refused, and the refusal names what and where."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from etcdpb import kv_pb2
from lease import record
from lease.lessor import LeaseID
from mvcc.backend.base import COLUMN_NAMES
from mvcc.backend.journal import find
from mvcc.backend.rocks import RocksBackend
from mvcc.revision import encode
from server.recovery import FORMAT
from tests.process.client import Client
from tests.process.conftest import Servers
from tests.support.process import ServerProcess

pytestmark = pytest.mark.power

L1 = LeaseID(0x1111)
REVISION = 21  # The newest of the store that the tests damage.


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a killed server: all of it is in the journal, and nowhere else."""
    data_dir = tmp_path_factory.mktemp("killed") / "data"
    with tempfile.TemporaryDirectory(prefix="tenure-") as sockets:
        socket = Path(sockets) / "1"
        with ServerProcess(data_dir, socket=socket).wait_until_ready() as server:
            with Client(server.target) as client:
                client.grant(600, L1)
                for number in range(REVISION - 1):
                    lease = L1 if number % 2 else 0
                    assert client.put(b"k", b"v" * 100, lease) == number + 2
            server.kill()
    return data_dir


@pytest.fixture
def store(servers: Servers, killed: Path) -> Path:
    """A copy of it to damage; the path of its store."""
    shutil.copytree(killed, servers.data_dir)
    return servers.data_dir / "tenure" / "store"


def write(store: Path, family: str, key: bytes, value: bytes) -> None:
    """Put a row where no server would have put it; the family is made if there is none."""
    RocksBackend.open(store).close()  # So that nothing in the journal takes its place.
    options = Options(raw_mode=True)
    options.create_missing_column_families(True)
    database = Rdict(str(store), options, dict.fromkeys({*COLUMN_NAMES, family}, options))
    column = database.get_column_family(family)
    column[key] = value
    column.close()
    database.close()


def files(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


def the_journal(store: Path) -> tuple[Path, int]:
    """The journal's file that was written last, and where its records end."""
    found = find(store)
    assert found is not None
    return found.newest.path, found.newest.end


def tables(store: Path) -> list[Path]:
    return sorted(store.glob("*.sst"))


def flip_a_bit(file: Path, offset: int) -> None:
    content = bytearray(file.read_bytes())
    content[offset] ^= 0x10
    file.write_bytes(content)


def test_an_undamaged_store_starts(servers: Servers, store: Path) -> None:
    """So the refusals below are for the damage."""
    assert the_journal(store)[1] > REVISION * 100
    _, client = servers.start()
    assert client.everything().header.revision == REVISION


# --- less than was acknowledged ---


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_flipped_bit_in_the_journal_is_named(servers: Servers, store: Path, part: float) -> None:
    """RocksDB's own log would drop all that follows and say nothing."""
    journal, end = the_journal(store)
    flip_a_bit(journal, int(end * part))
    damaged = files(store)
    error = servers.refused()
    assert f"{journal} is corrupt: damaged at byte" in error
    assert files(store) == damaged, "what stands behind the bit may still be saved"
    assert servers.refused() == error, "a second try is refused alike"


def test_a_flipped_bit_in_the_newest_record_is_noticed(servers: Servers, store: Path) -> None:
    """It looks like a tail that a power cut has torn; but it was acknowledged."""
    journal, end = the_journal(store)
    flip_a_bit(journal, end - 1)
    damaged = files(store)
    error = servers.refused()
    assert str(servers.data_dir / "tenure" / "mark") in error
    assert f"revision {REVISION} " in error
    assert "data has been lost" in error
    assert f"`tenure repair --data-dir {servers.data_dir}` saves what can be saved" in error
    assert files(store) == damaged, "what stands behind the bit may still be saved"
    assert servers.refused() == error, "a second try is refused alike"


@pytest.mark.parametrize("left", [0, 500, 2000, -1])
def test_a_journal_cut_below_what_was_acknowledged_is_noticed(
    servers: Servers, store: Path, left: int
) -> None:
    journal, end = the_journal(store)
    with journal.open("r+b") as file:
        file.truncate(left if left >= 0 else end + left)
    assert "data has been lost" in servers.refused()


def test_a_grant_that_is_lost_is_noticed_though_it_has_no_revision(servers: Servers) -> None:
    server, client = servers.start()
    client.put(b"k", b"v")
    journal, end = the_journal(servers.data_dir / "tenure" / "store")
    client.grant(600, L1)
    server.kill()
    with journal.open("r+b") as file:
        file.truncate(end)
    assert "data has been lost" in servers.refused()


def test_a_store_that_is_gone_beside_its_mark_is_noticed(servers: Servers, store: Path) -> None:
    shutil.rmtree(store)
    error = servers.refused()
    assert f"revision {REVISION} " in error
    assert not store.exists(), "no empty one was made in its place"
    assert servers.refused() == error


def test_a_journal_that_is_gone_is_noticed(servers: Servers, store: Path) -> None:
    the_journal(store)[0].unlink()
    assert "data has been lost" in servers.refused()
    store.with_name("mark").unlink()  # Even if nobody knows how much there was.
    assert "its journal is missing" in servers.refused()


@pytest.mark.parametrize("garbage", [b"\xff", b"\xf1TNR" * 1000, b"partial" * 1000])
def test_a_torn_tail_starts(servers: Servers, store: Path, garbage: bytes) -> None:
    """What a power cut leaves behind the last whole record was never acknowledged."""
    journal, end = the_journal(store)
    content = journal.read_bytes()
    journal.write_bytes(content[:end] + garbage + content[end + len(garbage) :])
    _, client = servers.start()
    assert client.everything().header.revision == REVISION
    assert client.put(b"k", b"v") == REVISION + 1


def test_a_repaired_store_serves_and_gives_no_revision_twice(servers: Servers, store: Path) -> None:
    journal, end = the_journal(store)
    flip_a_bit(journal, end // 2)
    command = [sys.executable, "-m", "server", "repair", "--data-dir", str(servers.data_dir)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert f"acknowledged: up to revision {REVISION} " in done.stdout
    _, client = servers.start()
    assert client.put(b"k", b"v") == REVISION + 1_000_001
    with client.watch(REVISION) as stream:
        assert stream.receive().compact_revision == REVISION + 1_000_000


# --- files that are damaged ---


@pytest.fixture
def flushed(servers: Servers, store: Path) -> Path:
    """The same store with all its rows in tables: recovery writes them there."""
    server, client = servers.start()
    assert client.everything().header.revision == REVISION
    server.kill()
    assert tables(store)
    return store


def test_a_table_that_is_gone_is_named(servers: Servers, flushed: Path) -> None:
    gone = max(tables(flushed), key=lambda path: path.stat().st_size)
    gone.unlink()
    error = servers.refused()
    assert str(flushed) in error
    assert gone.name in error


def test_a_flipped_bit_in_a_table_is_named(servers: Servers, flushed: Path) -> None:
    damaged = max(tables(flushed), key=lambda path: path.stat().st_size)
    flip_a_bit(damaged, 40)
    error = servers.refused()
    assert str(flushed) in error
    assert damaged.name in error


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*"])
def test_what_says_which_tables_there_are_must_be_there(
    servers: Servers, flushed: Path, name: str
) -> None:
    (gone,) = flushed.glob(name)
    gone.unlink()
    before = {path.name for path in tables(flushed)}
    error = servers.refused()
    assert str(flushed) in error
    assert {path.name for path in tables(flushed)} == before, "nothing was deleted"


@pytest.mark.parametrize("content", [b"", bytes(4096)])
def test_a_mark_that_is_none_is_named(servers: Servers, store: Path, content: bytes) -> None:
    mark = store.with_name("mark")
    mark.write_bytes(content)
    assert f"{mark} is not a valid mark" in servers.refused()


# --- rows that make no sense ---


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (record.encode_key(L1), b"\xff\xff", "no leasepb.Lease"),
        (record.encode_key(L1), record.encode_value(LeaseID(2), 60), "the value is of lease 2"),
        (b"short", record.encode_value(L1, 60), "the key has 5 bytes"),
    ],
)
def test_a_corrupt_lease_record_is_named(
    servers: Servers, store: Path, key: bytes, value: bytes, reason: str
) -> None:
    write(store, "lease", key, value)
    error = servers.refused()
    assert key.hex() in error
    assert reason in error


def kv(**changed: object) -> bytes:
    """The record of the next version of `k`, but for what is changed."""
    fields: dict[str, object] = {
        "key": b"k",
        "value": b"v",
        "create_revision": 2,
        "mod_revision": REVISION + 1,
        "version": REVISION,
    }
    return kv_pb2.KeyValue(**{**fields, **changed}).SerializeToString()  # type: ignore[arg-type]  # by name


def test_a_record_that_fits_starts(servers: Servers, store: Path) -> None:
    """So the refusals below are for what was changed."""
    write(store, "key", encode(REVISION + 1, 0), kv())
    _, client = servers.start()
    assert client.everything().header.revision == REVISION + 1


@pytest.mark.parametrize(
    ("row_key", "value", "reason"),
    [
        (encode(REVISION + 1, 0), b"\xff\xff", "no KeyValue"),
        (encode(REVISION + 1, 0), kv(mod_revision=REVISION), f"its mod_revision is {REVISION}"),
        (encode(REVISION + 1, 0), kv(version=1), "created at 2 with version 1"),
        (encode(REVISION + 2, 0), kv(mod_revision=REVISION + 2), "does not follow"),
        (b"short", kv(), "no revision"),
    ],
)
def test_a_corrupt_key_record_is_named(
    servers: Servers, store: Path, row_key: bytes, value: bytes, reason: str
) -> None:
    write(store, "key", row_key, value)
    error = servers.refused()
    assert row_key.hex() in error
    assert reason in error


def test_a_key_whose_lease_has_no_record_is_named(servers: Servers, store: Path) -> None:
    """The two were written in one batch, so something was lost."""
    write(store, "key", encode(REVISION + 1, 0), kv(lease=0x7777))
    error = servers.refused()
    assert "0000000000007777" in error
    assert "key b'k' belongs to it" in error


# --- what a newer version wrote ---


def test_a_newer_format_number_is_refused(servers: Servers, store: Path) -> None:
    write(store, "meta", b"format", (FORMAT + 1).to_bytes(8, "big"))
    assert f"format {FORMAT + 1}, written by a newer version" in servers.refused()


def test_a_column_family_of_a_newer_version_is_refused_by_name(
    servers: Servers, store: Path
) -> None:
    write(store, "from the future", b"k", b"v")
    error = servers.refused()
    assert str(store) in error
    assert "column families from the future" in error


def test_a_number_in_the_meta_data_that_is_none_is_named(servers: Servers, store: Path) -> None:
    write(store, "meta", b"scheduledCompactRev", b"soon")
    assert "4 bytes where 8 belong" in servers.refused()


def test_a_corrupt_alarm_is_named(servers: Servers, store: Path) -> None:
    write(store, "alarm", b"\xff\xee", b"")
    assert "column 'alarm', key ffee" in servers.refused()
