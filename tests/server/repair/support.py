"""Data directories of servers that were killed, and ways to damage them."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from etcdpb import rpc_pb2 as pb
from mvcc.backend.base import Column
from mvcc.backend.journal import FILE_NAMES, RECORDS_AT, find
from mvcc.backend.mark import Mark
from mvcc.backend.rocks import RocksBackend
from mvcc.record import parse
from server.datadir import DataDir
from server.repair.cli import main
from server.settings.config import Config
from tests.power.check import Started
from tests.support.clock import FakeClock
from tests.support.server import ServerInProcess

LEASE: Final = 0x1111
REVISION: Final = 31  # Of a store that `make` makes.
VALUE: Final = b"v" * 3_000  # Some of them fill a block.


def make(data_dir: Path, aside: Path, *, in_tables: bool) -> None:
    """A server's data directory, killed at `REVISION`; all in its journal, or all in tables.

    In tables alone: later turns of the journal have been written over what it had of them.

    Keys k00 to k09, each put three times, the last ten with a lease.
    """

    async def run() -> None:
        directory = DataDir.prepare(aside)
        mark, backend = Mark.open(directory.mark), RocksBackend.open(directory.store)
        server = ServerInProcess(backend, FakeClock(), Config(), mark=mark, serve=False)
        await server.call(pb.LeaseGrantRequest(ID=LEASE, TTL=600))
        await server.call(pb.AuthRoleAddRequest(name="reader"))
        for number in range(REVISION - 1):
            key, lease = b"k%02d" % (number % 10), LEASE if number >= REVISION - 11 else 0
            await server.call(pb.PutRequest(key=key, value=b"%d" % number + VALUE, lease=lease))
        await server.stop()
        if in_tables:
            backend.close()
            mark.close()
            for _ in FILE_NAMES:
                RocksBackend.open(directory.store).close()
            shutil.copytree(aside, data_dir)
        else:
            shutil.copytree(aside, data_dir)
            backend.close()
            mark.close()

    asyncio.run(run())
    shutil.rmtree(aside)


def store_of(data_dir: Path) -> Path:
    return DataDir(data_dir).store


def the_journal(data_dir: Path) -> Path:
    """The file of it that was written last."""
    found = find(store_of(data_dir))
    assert found is not None
    return found.newest.path


def flip_in_journal(data_dir: Path, part: float) -> None:
    """`part` of the way through the records, of which the file is far from full."""
    found = find(store_of(data_dir))
    assert found is not None
    content = bytearray(found.newest.path.read_bytes())
    content[RECORDS_AT + int((found.newest.end - RECORDS_AT) * part)] ^= 0x10
    found.newest.path.write_bytes(content)


def the_table(data_dir: Path) -> Path:
    """That of the keys."""
    return max(store_of(data_dir).glob("*.sst"), key=lambda each: each.stat().st_size)


def the_manifest(data_dir: Path) -> Path:
    return max(store_of(data_dir).glob("MANIFEST-*"))


def flip(file: Path, part: float) -> None:
    content = bytearray(file.read_bytes())
    content[int(len(content) * part)] ^= 0x10
    file.write_bytes(content)


def write(data_dir: Path, column: Column, key: bytes, value: bytes | None) -> None:
    """Put a row where no server would have put it, or take one away; the mark stays."""
    backend = RocksBackend.open(store_of(data_dir))
    batch = backend.batch()
    if value is None:
        batch.delete(column, key)
    else:
        batch.put(column, key, value)
    backend.write(batch)
    backend.close()


def everything(data_dir: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(data_dir)): path.read_bytes()
        for path in data_dir.rglob("*")
        if path.is_file()
    }


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def run(data_dir: Path, *flags: str) -> Ended:
    lines: list[str] = []
    code = main(["--data-dir", str(data_dir), *flags], say=lines.append)
    return Ended(code, lines)


def keys(started: Started) -> dict[bytes, bytes]:
    """Each key, and what its value begins with."""
    entries = started.recovered.state.store.index.entries
    return {
        key: parse(entry.frame).value.removesuffix(VALUE)
        for key, entry in entries.items()
        if entry.frame is not None
    }


def leases(started: Started) -> dict[bytes, int]:
    """Each key's lease."""
    entries = started.recovered.state.store.index.entries
    return {key: entry.lease for key, entry in entries.items() if entry.frame is not None}
