"""What RocksDB is told: how much memory, how many files, when to write what where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, MemtableFactory, Options

from mvcc.backend.base import COLUMN_NAMES, Column

# Memory. Everything that is read often is in the store's own index, so RocksDB gets little.
# One family's memtable, written out when full. It holds a turn of the journal, of small rows too.
WRITE_BUFFER_BYTES: Final = 16 << 20
# All memtables together, soft: above it one is written out.
WRITE_BUFFERS_TOTAL_BYTES: Final = 24 << 20
WRITE_BUFFERS_MAX: Final = 6  # Per family, being flushed included; a write stalls at this many.
BLOCK_CACHE_BYTES: Final = 8 << 20  # Shared by all families: reads of old revisions only.
BLOCK_BYTES: Final = 16 << 10  # Four times the default: a quarter of the index blocks in memory.
OPEN_FILES_MAX: Final = 256  # Each pins its index block and a descriptor.

# Disk. There is no log of RocksDB's: see `journal`.
INFO_LOG_BYTES: Final = 1 << 20  # RocksDB's diary, `LOG`: rolled over at this size,
INFO_LOGS_MAX: Final = 4  # and this many are kept. rocksdict cannot lower its level.

# RocksDB delays writes when level 0 is piled up, to spare readers that merge those files. Ours
# read from memory, and a delayed write would hold up the event loop, so it may pile up further.
LEVEL_0_FILES_SLOWDOWN: Final = 200
LEVEL_0_FILES_STOP: Final = 400

BACKGROUND_JOBS_MAX: Final = 2  # Flushes and compactions at once.

# Families whose memtable is sorted when it is written out, not row by row on the loop: their keys
# come in any order, and nobody looks one up. A scan is prepared for (`RocksBackend.prepare`).
UNSORTED: Final = frozenset({Column.LEASE})


def make_options() -> Options:
    """For a database and, as rocksdict has one type for both, for each of its families."""
    return _make_options(Cache(BLOCK_CACHE_BYTES))


def make_all_options(families: Iterable[str]) -> tuple[Options, dict[str, Options]]:
    """For a database that is written to, and for each of its families."""
    cache = Cache(BLOCK_CACHE_BYTES)
    options, unsorted = _make_options(cache), _make_options(cache)
    unsorted.set_memtable_factory(MemtableFactory.vector())
    names = {COLUMN_NAMES[column] for column in UNSORTED}
    return options, {each: unsorted if each in names else options for each in families}


def _make_options(cache: Cache) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)

    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_db_write_buffer_size(WRITE_BUFFERS_TOTAL_BYTES)
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX)
    options.set_allow_concurrent_memtable_write(False)  # One thread writes; the vector insists.
    options.set_max_open_files(OPEN_FILES_MAX)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_block_size(BLOCK_BYTES)
    options.set_block_based_table_factory(blocks)

    # Rows are rewritten several times on their way down, and the core that would compress them
    # is the one that answers clients. So only where they come to rest.
    options.set_compression_type(DBCompressionType.none())
    options.set_bottommost_compression_type(DBCompressionType.lz4())

    options.set_max_log_file_size(INFO_LOG_BYTES)
    options.set_keep_log_file_num(INFO_LOGS_MAX)
    options.set_stats_dump_period_sec(0)  # Its tables would be most of the diary.

    options.set_level_zero_slowdown_writes_trigger(LEVEL_0_FILES_SLOWDOWN)
    options.set_level_zero_stop_writes_trigger(LEVEL_0_FILES_STOP)
    options.set_max_background_jobs(BACKGROUND_JOBS_MAX)
    return options
