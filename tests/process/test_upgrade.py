"""The data directory of each format there ever was is served with all that was in it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from etcdpb import rpc_pb2 as pb
from mvcc.backend.base import Column
from mvcc.backend.rocks import RocksBackend
from server.recovery import FORMAT
from tests.process.conftest import Servers
from tests.process.contents import Asker, contents
from tests.support.formats import FOLDER, unpack

FORMATS: Final = sorted(int(path.name[7:-7]) for path in FOLDER.glob("format-*.tar.gz"))


def _unpacked(number: int, tmp_path: Path, data_dir: Path) -> dict[str, Any]:
    """Put the data directory in place; what was said of it."""
    unpack(number, tmp_path / "kept")
    shutil.move(tmp_path / "kept" / "data", data_dir)
    expected: dict[str, Any] = json.loads((tmp_path / "kept" / "expected.json").read_text())
    return expected


def test_each_format_up_to_the_present_one_is_kept() -> None:
    assert list(range(1, FORMAT + 1)) == FORMATS, "see the README beside the files"


@pytest.mark.parametrize("number", FORMATS)
def test_all_that_was_in_it_is_there(number: int, servers: Servers, tmp_path: Path) -> None:
    expected = _unpacked(number, tmp_path, servers.data_dir)
    assert expected["format"] == number
    for _ in range(2):  # The second start is on what the first one made of it.
        server, client = servers.start()
        ask = Asker(client)
        ask.log_in("root", "root's")
        assert contents(ask) == expected["contents"]
        assert server.terminate() < 0
    # And it goes on from there.
    _, client = servers.start()
    ask = Asker(client)
    ask.log_in("ann", "ann's")
    assert ask("KV", "Range", pb.RangeRequest(key=b"plain/10")).kvs[0].value == b"again"
    with pytest.raises(grpc.RpcError, match="permission denied"):
        ask("KV", "Range", pb.RangeRequest(key=b"large"))
    ask.log_in("root", "root's")
    with pytest.raises(grpc.RpcError, match="database space exceeded"):
        ask("KV", "Put", pb.PutRequest(key=b"k"))
    disarm = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, alarm=pb.AlarmType.NOSPACE)
    disarm.memberID = expected["contents"]["ids"][1]
    ask("Maintenance", "Alarm", disarm)
    put = ask("KV", "Put", pb.PutRequest(key=b"k"))
    assert put.header.revision == expected["contents"]["revision"] + 1


def test_a_format_of_the_future_is_refused_by_its_number(servers: Servers, tmp_path: Path) -> None:
    """And nothing is changed: the version that knows it can still serve it."""
    _unpacked(FORMATS[-1], tmp_path, servers.data_dir)
    path = servers.data_dir / "tenure" / "store"
    before = RocksBackend.open(path)
    batch = before.batch()
    row = before.get(Column.META, b"format")
    assert row is not None
    batch.put(Column.META, b"format", (FORMAT + 7).to_bytes(len(row), "big"))
    before.write(batch)
    before.sync()
    rows = dict(before.scan(Column.META))
    before.close()
    refused = servers.refused()
    assert re.search(rf"format {FORMAT + 7}, written by a newer version.* knows {FORMAT}", refused)
    after = RocksBackend.open(path)
    assert dict(after.scan(Column.META)) == rows
    after.close()
