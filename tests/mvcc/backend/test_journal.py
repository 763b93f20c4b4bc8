"""The journal by itself: what was synced is found, whatever a crash left behind it."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

import pytest

from mvcc.backend import journal
from mvcc.backend.errors import BackendClosedError, BackendCorruptError, BackendIOError
from mvcc.backend.journal import FILE_NAMES, RECORDS_AT, SECTOR_BYTES, Found, Journal, find
from tests.mvcc.backend.support import files_limited_to

FIRST: Final = 100  # The sequence that a new journal counts on from.

pytestmark = pytest.mark.usefixtures("small_steps")


def made(directory: Path, *payloads: bytes) -> Journal:
    """A journal with these records, of one row each and synced one by one."""
    written = Journal(directory, None, sequence=FIRST)
    written.begin(rocks_sequence=FIRST)
    for payload in payloads:
        written.append(payload, 1)
        written.sync()
    return written


def found(directory: Path) -> Found:
    result = find(directory)
    assert result is not None
    return result


def payloads(directory: Path) -> list[bytes]:
    return [record.payload for record in found(directory).records if record.rows]


def turned(written: Journal) -> None:
    """Go on in the other file, RocksDB having all that was written in this one's predecessor."""
    written.append(b"", 0)
    written.sync()
    written.begin(rocks_sequence=written.sequence)


# --- one file ---


def test_before_the_first_turn_nothing_is_found(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    Journal(tmp_path, None, sequence=FIRST)
    assert find(tmp_path) is None


def test_records_are_found_in_order_with_their_sequences(tmp_path: Path) -> None:
    written = made(tmp_path, b"a", b"bc")
    written.append(b"three rows", 3)
    written.sync()
    assert written.sequence == FIRST + 5
    written.close()
    result = found(tmp_path)
    assert [(record.sequence, record.payload) for record in result.records] == [
        (FIRST + 1, b"a"),
        (FIRST + 2, b"bc"),
        (FIRST + 5, b"three rows"),
    ]
    assert (result.last, result.floor, result.rocks_sequence) == (FIRST + 5, FIRST, FIRST)


def test_what_is_not_synced_is_not_there(tmp_path: Path) -> None:
    written = made(tmp_path, b"a")
    assert written.is_synced
    written.append(b"b", 1)
    assert not written.is_synced
    assert payloads(tmp_path) == [b"a"]
    written.sync()
    assert payloads(tmp_path) == [b"a", b"b"]
    written.close()


def test_it_goes_on_behind_what_was_found(tmp_path: Path) -> None:
    made(tmp_path, b"a").close()
    again = Journal(tmp_path, found(tmp_path), sequence=7)
    again.append(b"b", 1)
    again.sync()
    again.close()
    assert found(tmp_path).last == FIRST + 2
    assert payloads(tmp_path) == [b"a", b"b"]


def test_a_record_torn_anywhere_is_the_end_and_is_written_over(tmp_path: Path) -> None:
    written = made(tmp_path, b"kept")
    path = tmp_path / FILE_NAMES[0]
    before = path.read_bytes()
    written.append(b"torn", 1)
    written.sync()
    written.close()
    after = path.read_bytes()
    begin = next(at for at, pair in enumerate(zip(before, after, strict=True)) if len({*pair}) > 1)
    end = after.rindex(b"torn") + 4
    for cut in range(begin, end):
        path.write_bytes(after[:cut] + before[cut:])
        if path.read_bytes() == after:
            continue  # The bytes that were cut off happened to be there.
        assert payloads(tmp_path) == [b"kept"], cut
        again = Journal(tmp_path, found(tmp_path), sequence=0)
        again.append(b"new", 1)
        again.sync()
        again.close()
        assert payloads(tmp_path) == [b"kept", b"new"], cut


def test_a_flipped_bit_is_damage_wherever_a_record_is_behind_it(tmp_path: Path) -> None:
    made(tmp_path, b"first", b"second", b"last").close()
    path = tmp_path / FILE_NAMES[0]
    content = path.read_bytes()
    last_at = content.rindex(b"last")
    begin_of_last = content.rindex(b"second") + len(b"second")
    for at in range(RECORDS_AT, last_at + len(b"last")):
        path.write_bytes(content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :])
        if at < begin_of_last:
            with pytest.raises(BackendCorruptError, match="is behind it"):
                find(tmp_path)
        else:  # Which cannot be told from a tail that was torn; the mark tells.
            assert payloads(tmp_path) == [b"first", b"second"]


def test_each_copy_of_the_head_is_enough(tmp_path: Path) -> None:
    made(tmp_path, b"a").close()
    path = tmp_path / FILE_NAMES[0]
    content = path.read_bytes()
    for sector in (0, SECTOR_BYTES):
        path.write_bytes(content[:sector] + bytes(SECTOR_BYTES) + content[sector + SECTOR_BYTES :])
        assert payloads(tmp_path) == [b"a"]
    path.write_bytes(bytes(RECORDS_AT) + content[RECORDS_AT:])
    assert find(tmp_path) is None


# --- two files ---


def test_a_turn_begins_in_the_other_file_and_nothing_is_lost_between(tmp_path: Path) -> None:
    written = made(tmp_path, b"a", b"b")
    turned(written)
    written.append(b"c", 1)
    written.sync()
    assert payloads(tmp_path) == [b"a", b"b", b"c"]
    assert found(tmp_path).rocks_sequence == FIRST
    written.floor = FIRST + 2  # RocksDB has written out what the first file holds.
    written.append(b"d", 1)
    written.sync()
    assert payloads(tmp_path) == [b"c", b"d"]
    assert found(tmp_path).rocks_sequence == FIRST + 2
    turned(written)
    written.append(b"e", 1)
    written.sync()
    written.close()
    assert payloads(tmp_path) == [b"c", b"d", b"e"]
    assert found(tmp_path).newest.path.name == FILE_NAMES[0]


def test_a_file_that_is_still_needed_is_not_written_over(tmp_path: Path) -> None:
    written = made(tmp_path, b"a")
    turned(written)
    written.append(b"b", 1)
    written.sync()
    with pytest.raises(AssertionError, match="still needed"):
        written.begin(rocks_sequence=0)
    written.close()


def test_a_gap_between_the_files_is_damage_unless_rocksdb_has_it(tmp_path: Path) -> None:
    written = made(tmp_path, b"a", b"b")
    turned(written)
    written.append(b"c", 1)
    written.sync()
    first = tmp_path / FILE_NAMES[0]
    content = first.read_bytes()
    at = content.index(b"b", RECORDS_AT)
    first.write_bytes(content[: at - 8])
    with pytest.raises(BackendCorruptError, match="not all there"):
        find(tmp_path)
    first.unlink()
    with pytest.raises(BackendCorruptError, match="not all there"):
        find(tmp_path)
    written.floor = FIRST + 2
    written.append(b"d", 1)
    written.sync()
    written.close()
    assert payloads(tmp_path) == [b"c", b"d"]


def test_damage_in_the_file_before_counts_while_rocksdb_has_not_all_of_it(tmp_path: Path) -> None:
    written = made(tmp_path, b"first", b"last")
    turned(written)
    written.append(b"c", 1)
    written.sync()
    before = tmp_path / FILE_NAMES[0]
    content = before.read_bytes()
    at = content.index(b"first", RECORDS_AT)
    before.write_bytes(content[:at] + b"F" + content[at + 1 :])
    with pytest.raises(BackendCorruptError, match="is behind it") as failure:
        find(tmp_path)
    assert failure.value.path == before
    written.floor = FIRST + 2
    written.append(b"d", 1)
    written.sync()
    written.close()
    assert payloads(tmp_path) == [b"c", b"d"]


def test_a_turn_that_was_begun_and_not_synced_changes_nothing(tmp_path: Path) -> None:
    written = made(tmp_path, b"a")
    turned(written)
    written.append(b"lost", 1)
    written.close()
    assert payloads(tmp_path) == [b"a"]
    assert found(tmp_path).last == FIRST + 1


# --- room ---


def test_a_turn_has_room_up_to_its_size_and_for_one_record_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FILE_BYTES", 4096)
    monkeypatch.setattr(journal, "STEP_BYTES", 1024)
    written = made(tmp_path)
    assert written.has_room(1_000_000), "an empty one takes whatever comes"
    head_bytes = journal.RECORD_HEAD_BYTES
    written.append(bytes(1000), 1)
    left = 4096 - RECORDS_AT - 2 * head_bytes - 1000
    assert written.has_room(left)
    assert not written.has_room(left + 1)
    written.sync()
    turned(written)
    written.append(bytes(10_000), 1)
    written.sync()
    written.close()
    assert [len(each) for each in payloads(tmp_path)] == [1000, 10_000]


def test_records_are_written_over_blocks_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "STEP_BYTES", 4096)
    written = made(tmp_path, b"a")
    path = tmp_path / FILE_NAMES[0]
    assert path.stat().st_size == 4096
    for _ in range(20):
        written.append(bytes(100), 1)
        written.sync()
    assert path.stat().st_size == 4096
    written.append(bytes(4096), 1)
    written.sync()
    written.close()
    assert path.stat().st_size == 8192


def test_after_a_write_that_did_not_fit_nothing_more_is_written(tmp_path: Path) -> None:
    written = made(tmp_path, b"a")
    path = tmp_path / FILE_NAMES[0]
    size = path.stat().st_size
    with files_limited_to(RECORDS_AT + 100):
        written.append(b"x" * 200, 1)
        with pytest.raises(BackendIOError, match="File too large") as failure:
            written.sync()
    assert failure.value.path == path
    for _ in range(2):  # There is room again, but what the file holds is not known.
        with pytest.raises(BackendIOError, match="an earlier write has failed"):
            written.sync()
        with pytest.raises(BackendIOError, match="an earlier write has failed"):
            written.append(b"b", 1)
    written.close()
    assert path.stat().st_size == size
    assert payloads(tmp_path) == [b"a"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_once_closed_it_takes_nothing(tmp_path: Path) -> None:
    written = made(tmp_path)
    written.close()
    written.close()
    with pytest.raises(BackendClosedError):
        written.append(b"", 0)
    with pytest.raises(BackendClosedError):
        written.sync()


# --- what the system refuses, and what nobody wrote ---


def test_a_file_that_cannot_be_read_or_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendIOError, match="No such file") as failure:
        Journal(tmp_path / "gone", None, sequence=FIRST).begin(rocks_sequence=FIRST)
    assert failure.value.path == tmp_path / "gone" / FILE_NAMES[0]
    (tmp_path / FILE_NAMES[1]).mkdir()
    with pytest.raises(BackendIOError, match="Is a directory") as failure:
        find(tmp_path)
    assert failure.value.path == tmp_path / FILE_NAMES[1]


def test_a_record_that_does_not_follow_the_one_before_it_is_damage(tmp_path: Path) -> None:
    written = made(tmp_path, b"a")
    written.sequence += 1
    written.append(b"c", 1)
    written.sync()
    written.close()
    with pytest.raises(BackendCorruptError, match=f"record {FIRST + 3} is behind it"):
        find(tmp_path)


def test_a_sync_with_nothing_to_write_is_one_all_the_same(tmp_path: Path) -> None:
    written = made(tmp_path, b"a")
    written.sync()
    written.sync()
    written.close()
    assert payloads(tmp_path) == [b"a"]


def test_without_fsyncs_a_sync_writes_and_leaves_the_rest_to_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fdatasync", None)
    written = Journal(tmp_path, None, sequence=FIRST, fsync=False)
    written.begin(rocks_sequence=FIRST)
    written.append(b"one", 1)
    written.sync()
    assert payloads(tmp_path) == [b"one"]
