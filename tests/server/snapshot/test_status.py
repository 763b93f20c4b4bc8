"""What `snapshot status` says: etcdutl 3.6's numbers in etcdutl 3.6's forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.snapshot.sizes import humanize
from server.snapshot.status import Status, as_fields, as_json, as_simple, as_table, read_status
from tests.server.snapshot.support import ETCD_3_4, ETCD_3_5

# What etcdutl 3.6.5 says of the two files.
OF_3_5 = Status(hash=800156453, revision=9, keys=4, size_bytes=20480, version="")
OF_3_4 = Status(hash=834766922, revision=9, keys=4, size_bytes=20480, version="")


def test_the_numbers_are_those_of_etcdutl() -> None:
    assert read_status(ETCD_3_5.path) == OF_3_5
    assert read_status(ETCD_3_4.path) == OF_3_4


def test_a_database_without_a_hash_has_a_status_too(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(ETCD_3_5.path.read_bytes()[:-32])
    assert read_status(path) == OF_3_5


def test_each_form_is_that_of_etcdutl() -> None:
    status = Status(hash=0x11083CA7, revision=4, keys=3, size_bytes=16384, version="3.6.0")
    assert as_simple(status) == "11083ca7, 4, 3, 16 kB, 3.6.0"
    assert as_json(status) == (
        '{"hash":285752487,"revision":4,"totalKey":3,"totalSize":16384,"version":"3.6.0"}'
    )
    assert as_fields(status) == (
        '"Hash" : 285752487\n"Revision" : 4\n"Keys" : 3\n"Size" : 16384\n"Version" : 3.6.0'
    )
    assert as_table(status) == "\n".join(
        (
            "+----------+----------+------------+------------+---------+",
            "|   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE | VERSION |",
            "+----------+----------+------------+------------+---------+",
            "| 11083ca7 |        4 |          3 |      16 kB |   3.6.0 |",
            "+----------+----------+------------+------------+---------+",
        )
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (9, "9 B"),
        (10, "10 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1049, "1.0 kB"),
        (1050, "1.1 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (12_500, "12 kB"),  # Go rounds a half to the even digit.
        (13_500, "14 kB"),
        (999_999, "1000 kB"),
        (16_535_552, "16 MB"),
        (2**40, "1.1 TB"),
    ],
)
def test_a_size_reads_as_in_etcds_tools(size: int, text: str) -> None:
    assert humanize(size) == text
