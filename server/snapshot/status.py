"""What a snapshot file holds, counted and printed as etcdutl 3.6 does (Status, printer.go)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import google_crc32c
from google.protobuf.message import DecodeError

from etcdpb.kv_pb2 import KeyValue
from mvcc.errors import CorruptRecordError
from mvcc.revision import decode
from server.snapshot import file
from server.snapshot.buckets import KEY, META, read_meta
from server.snapshot.progress import silent
from server.snapshot.reader import BoltError, BoltFile
from server.snapshot.sizes import humanize

Progress = Callable[[int, int], None]  # Told how many bytes of how many are done.
PROGRESS_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class Status:
    hash: int  # CRC-32C over the names and rows of all buckets.
    revision: int  # Of the newest row.
    keys: int  # That are not deleted.
    size_bytes: int  # Of the database, its hash left out.
    version: str  # Of the storage; empty before etcd 3.6.


def read_status(path: Path, progress: Progress = silent) -> Status:
    """Read all of `path`.

    Raises:
        SnapshotError: it is damaged, or no snapshot.
    """
    with file.opened(path, needs_hash=False, progress=progress) as bolt:
        return _count(bolt, progress)


def _count(bolt: BoltFile, progress: Progress) -> Status:
    crc = revision = 0
    version = ""
    live: set[bytes] = set()
    for name, bucket in bolt.buckets().items():
        crc = google_crc32c.extend(crc, name)
        meta = {}
        for number, (key, value) in enumerate(bolt.rows(bucket)):
            crc = google_crc32c.extend(google_crc32c.extend(crc, key), value)
            if name == META:
                meta[key] = value
            elif name == KEY:
                revision = _note(key, value, live)
            if number % PROGRESS_ROWS == 0:
                progress(bolt.pages_read * bolt.page_bytes, bolt.size_bytes)
        if name == META:
            version = read_meta(meta.items()).storage_version
    return Status(crc, revision, len(live), bolt.size_bytes, version)


def _note(row_key: bytes, value: bytes, live: set[bytes]) -> int:
    """Keep `live` what the keys are after this row; returns the row's revision."""
    try:
        main, _, is_tombstone = decode(row_key)
        key = KeyValue.FromString(value).key
    except (CorruptRecordError, DecodeError) as error:
        raise BoltError(f"row {row_key.hex()} of bucket key: {error}") from error
    if is_tombstone:
        live.discard(key)
    else:
        live.add(key)
    return main


def as_json(status: Status) -> str:
    document = {
        "hash": status.hash,
        "revision": status.revision,
        "totalKey": status.keys,
        "totalSize": status.size_bytes,
        "version": status.version,
    }
    return json.dumps(document, separators=(",", ":"))


def as_fields(status: Status) -> str:
    return (
        f'"Hash" : {status.hash}\n"Revision" : {status.revision}\n"Keys" : {status.keys}\n'
        f'"Size" : {status.size_bytes}\n"Version" : {status.version}'
    )


def as_simple(status: Status) -> str:
    return ", ".join(_cells(status))


def as_table(status: Status) -> str:
    """Boxed, as tablewriter boxes it: titles in the middle, cells to the right."""
    titles = ("HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION")
    cells = _cells(status)
    widths = [max(len(each) for each in pair) for pair in zip(titles, cells, strict=True)]
    line = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    title = "|".join(
        f" {_centred(text, width)} " for text, width in zip(titles, widths, strict=True)
    )
    row = "|".join(f" {text:>{width}} " for text, width in zip(cells, widths, strict=True))
    return "\n".join((line, f"|{title}|", line, f"|{row}|", line))


def _centred(text: str, width: int) -> str:
    """An odd blank goes to the right."""
    left = (width - len(text)) // 2
    return " " * left + text + " " * (width - len(text) - left)


def _cells(status: Status) -> tuple[str, ...]:
    return (
        f"{status.hash:x}",
        str(status.revision),
        str(status.keys),
        humanize(status.size_bytes),
        status.version,
    )


FORMS = {"simple": as_simple, "json": as_json, "fields": as_fields, "table": as_table}
