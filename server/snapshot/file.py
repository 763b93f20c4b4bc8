"""A snapshot as a file: a bbolt database with, or without, its SHA-256 behind it.

Whether the hash is there follows from the size alone, as in etcd (hasChecksum in
etcdutl/snapshot/v3_snapshot.go): a database is whole pages, so 32 bytes more than a multiple of
512 means that it is. A database copied from `member/snap/db` has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from server.snapshot.progress import silent
from server.snapshot.reader import BoltError, BoltFile

_SECTOR_BYTES: Final = 512
_HASH_BYTES: Final = hashlib.sha256().digest_size
_READ_BYTES: Final = 1 << 20


class SnapshotError(Exception):
    """The file cannot be used. The text names it and says what is wrong with it."""


@contextmanager
def opened(
    path: Path,
    *,
    needs_hash: bool,
    skip_hash: bool = False,
    progress: Callable[[int, int], None] = silent,
) -> Iterator[BoltFile]:
    """The database in `path`, once its hash has been checked.

    Whatever the block raises that is the file's fault leaves as a `SnapshotError`.

    Args:
        path: of the file.
        needs_hash: whether a file without a hash is refused.
        skip_hash: whether a hash is there or right does not matter.
        progress: told how many bytes of how many have been hashed.

    Raises:
        SnapshotError
    """
    try:
        size = path.stat().st_size
        has_hash = size % _SECTOR_BYTES == _HASH_BYTES
        with BoltFile.open(path, size - _HASH_BYTES if has_hash else size) as file:
            if not has_hash:
                _hold_still(file)
            if not skip_hash:
                _check_hash(path, size, progress, has_hash=has_hash, needs_hash=needs_hash)
            yield file
    except BoltError as error:
        raise SnapshotError(f"{path}: {error}") from error
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror or error}") from error


def _hold_still(file: BoltFile) -> None:
    """A database that an etcd has open changes while it is read, so the copy would be torn."""
    if not file.lock():
        raise BoltError(
            "an etcd is running on it; stop that etcd, or take a snapshot with"
            " `etcdctl snapshot save`"
        )


def _check_hash(
    path: Path,
    size: int,
    progress: Callable[[int, int], None],
    *,
    has_hash: bool,
    needs_hash: bool,
) -> None:
    if not has_hash and needs_hash:
        raise BoltError(
            "snapshot missing hash but --skip-hash-check=false: it is cut short, or was copied"
            " from a data directory"
        )
    if not has_hash:
        return
    length = size - _HASH_BYTES
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        done = 0
        while done < length:
            data = file.read(min(_READ_BYTES, length - done))
            if not data:
                raise BoltError("it has become shorter while it was read")
            hashed.update(data)
            done += len(data)
            progress(done, length)
        expected = file.read(_HASH_BYTES)
    if hashed.digest() != expected:
        raise BoltError(
            f"expected sha256 {expected.hex()}, got {hashed.hexdigest()}:"
            " it is not as it was when it was taken"
        )
