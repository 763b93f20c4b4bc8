"""`tenure snapshot save`: from a server that is let say anything, into a file that is whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from etcdpb import rpc_pb2 as pb
from server.snapshot.fetch import Source, save
from server.snapshot.file import SnapshotError
from server.snapshot.status import read_status
from tests.support.authority import Authority
from tests.support.serving import Running, served

ROOT = pb.AuthUserAddRequest(name="root", password="it's: a secret")


@contextmanager
def sending(socket: Path, *replies: pb.SnapshotResponse, refusal: str = "") -> Iterator[str]:
    """A server that sends these messages for a snapshot, and then ends it well or not."""

    def snapshot(_: bytes, context: Any) -> Iterator[pb.SnapshotResponse]:
        yield from replies
        if refusal:
            context.abort(grpc.StatusCode.UNAVAILABLE, refusal)

    handler = grpc.unary_stream_rpc_method_handler(
        snapshot, response_serializer=pb.SnapshotResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("etcdserverpb.Maintenance", {"Snapshot": handler}),)
    )
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        yield f"unix:{socket}"
    finally:
        server.stop(None).wait()


def _piece(blob: bytes) -> pb.SnapshotResponse:
    return pb.SnapshotResponse(blob=blob, version="3.6.0")


DATA = b"d" * 5000
HASH = hashlib.sha256(DATA).digest()


def test_what_is_whole_is_written_as_it_came(tmp_path: Path) -> None:
    with sending(tmp_path / "sock", _piece(DATA[:3000]), _piece(DATA[3000:]), _piece(HASH)) as at:
        assert save(tmp_path / "f", Source(endpoint=at)) == "3.6.0"
    assert (tmp_path / "f").read_bytes() == DATA + HASH


@pytest.mark.parametrize(
    "blobs",
    [(), (DATA,), (HASH,), (DATA, HASH[:-1]), (DATA, bytes(32)), (DATA, HASH, b"")],
    ids=["nothing", "no hash", "a hash alone", "half a hash", "another hash", "more behind it"],
)
def test_what_does_not_end_with_its_own_hash_is_thrown_away(
    tmp_path: Path, blobs: tuple[bytes, ...]
) -> None:
    (tmp_path / "f").write_bytes(b"the last one")
    with (
        sending(tmp_path / "sock", *map(_piece, blobs)) as at,
        pytest.raises(SnapshotError, match="does not end with its own sha256"),
    ):
        save(tmp_path / "f", Source(endpoint=at))
    assert (tmp_path / "f").read_bytes() == b"the last one"
    assert not (tmp_path / "f.part").exists()


def test_a_server_that_fails_half_way_is_named_with_what_it_said(tmp_path: Path) -> None:
    with sending(tmp_path / "sock", _piece(DATA), refusal="etcdserver: server stopped") as at:
        with pytest.raises(SnapshotError) as caught:
            save(tmp_path / "f", Source(endpoint=at))
        assert str(caught.value) == f"{at}: etcdserver: server stopped"
    assert not (tmp_path / "f.part").exists()


@served()
async def test_a_user_who_may_is_let_in_and_others_are_told(
    server: Running, tmp_path: Path
) -> None:
    auth = server.client.auth
    await auth.UserAdd(ROOT)
    await auth.RoleAdd(pb.AuthRoleAddRequest(name="root"))
    await auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user="root", role="root"))
    await auth.AuthEnable(pb.AuthEnableRequest())
    path = tmp_path / "f"
    with pytest.raises(SnapshotError, match="etcdserver: user name is empty"):
        await asyncio.to_thread(save, path, Source(endpoint=server.target))
    with pytest.raises(SnapshotError, match="authentication failed"):
        await asyncio.to_thread(save, path, Source(endpoint=server.target, user="root:wrong"))
    source = Source(endpoint=server.target, user=f"{ROOT.name}:{ROOT.password}")
    assert await asyncio.to_thread(save, path, source) == "3.6.0"
    assert read_status(path).revision == 0


@pytest.mark.parametrize(
    ("endpoint", "has_files", "is_tls"),
    [
        ("127.0.0.1:1", False, False),
        ("127.0.0.1:1", True, True),
        ("http://127.0.0.1:1", True, False),
        ("https://127.0.0.1:1", False, True),
    ],
)
def test_tls_is_spoken_where_the_scheme_says_so_or_else_the_files(
    tmp_path: Path, endpoint: str, *, has_files: bool, is_tls: bool
) -> None:
    """grpc's channel does not tell; that a file is read, and must be there, does."""
    missing = tmp_path / "no-such-file"
    source = Source(endpoint=endpoint, ca_file=missing if has_files else None)
    if has_files and is_tls:
        with pytest.raises(SnapshotError, match=f"{missing}: No such file"):
            save(tmp_path / "f", source)
    else:
        with pytest.raises(SnapshotError, match=r"127\.0\.0\.1:1: "):
            save(tmp_path / "f", source)


def test_a_server_over_tls_is_asked_with_a_certificate(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    own = authority.issue("client")
    source = Source(
        endpoint="https://127.0.0.1:1",
        ca_file=authority.ca_file,
        cert_file=own.cert_file,
        key_file=own.key_file,
    )
    source.channel().close()
