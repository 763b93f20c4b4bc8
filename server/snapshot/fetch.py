"""`tenure snapshot save`: the snapshot of a running server, ours or etcd's, into a file.

The file has its name once it is whole, checked and on disk; until then it is `FILE.part`, as with
etcdctl (client/v3/snapshot/v3_snapshot.go).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from etcdpb.rpc_pb2 import (
    AuthenticateRequest,
    AuthenticateResponse,
    SnapshotRequest,
    SnapshotResponse,
)
from mvcc.backend.names import sync_directory
from server.snapshot.file import SnapshotError
from server.snapshot.progress import silent

_HASH_BYTES: Final = hashlib.sha256().digest_size
_SNAPSHOT: Final = "/etcdserverpb.Maintenance/Snapshot"
_AUTHENTICATE: Final = "/etcdserverpb.Auth/Authenticate"
_FILE_MODE: Final = 0o600
_UNLIMITED: Final = [("grpc.max_receive_message_length", -1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The server to ask, and how to be let in."""

    endpoint: str  # host:port, with http:// or https:// before it if need be.
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    user: str = ""  # name:password

    def channel(self) -> Any:
        """An open channel; TLS by the endpoint's scheme, or if a file for it is given.

        Raises:
            OSError: a file cannot be read.
        """
        scheme, separator, address = self.endpoint.rpartition("://")
        files = [self.ca_file, self.key_file, self.cert_file]
        if scheme == "https" or (not separator and any(files)):
            ca, key, cert = (each.read_bytes() if each else None for each in files)
            credentials = grpc.ssl_channel_credentials(ca, key, cert)
            return grpc.secure_channel(address, credentials, options=_UNLIMITED)
        return grpc.insecure_channel(address, options=_UNLIMITED)


def save(path: Path, source: Source, progress: Callable[[int, int], None] = silent) -> str:
    """Fetch a snapshot into `path`; returns the storage version it says, empty before etcd 3.6.

    Raises:
        SnapshotError: it cannot be had or written, or did not arrive whole.
    """
    unfinished = path.with_name(path.name + ".part")
    try:
        with source.channel() as channel:
            version = _download(channel, source, unfinished, progress)
        unfinished.replace(path)
        sync_directory(path.parent)
    except grpc.RpcError as error:
        raise SnapshotError(f"{source.endpoint}: {error.details()}") from error
    except OSError as error:
        raise SnapshotError(f"{error.filename or path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return version


def _download(
    channel: Any, source: Source, path: Path, progress: Callable[[int, int], None]
) -> str:
    request = SnapshotRequest()
    call = channel.unary_stream(
        _SNAPSHOT, SnapshotRequest.SerializeToString, SnapshotResponse.FromString
    )
    hashed = hashlib.sha256()
    done, version, last = 0, "", b""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        for reply in call(request, metadata=_token(channel, source.user)):
            hashed.update(last)
            last = reply.blob
            version = reply.version
            file.write(last)
            done += len(last)
            progress(done, done + reply.remaining_bytes)
        file.flush()
        os.fsync(file.fileno())
    if len(last) != _HASH_BYTES or last != hashed.digest():
        raise SnapshotError(f"{source.endpoint}: what it sent does not end with its own sha256")
    return version


def _token(channel: Any, user: str) -> list[tuple[str, str]]:
    if not user:
        return []
    name, _, password = user.partition(":")
    authenticate = channel.unary_unary(
        _AUTHENTICATE, AuthenticateRequest.SerializeToString, AuthenticateResponse.FromString
    )
    return [("token", authenticate(AuthenticateRequest(name=name, password=password)).token)]
