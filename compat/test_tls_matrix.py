"""Who gets in over TLS: what is claimed of etcd in the rows of `tests.support.tls_clients`."""

import shutil
import signal
from pathlib import Path

import pytest

from compat.targets import ETCD, Server, TargetUnavailableError
from tests.support.tls_clients import ROWS, Certificates

FLAGS = sorted({tuple(row.flags) for row in ROWS if row.is_known_to_3_5_1})


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: " ".join(flags) or "as usual")
def test_etcd_lets_in_whom_its_rows_say(flags: tuple[str, ...], tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    certificates = Certificates(tmp_path)
    rows = [row for row in ROWS if tuple(row.flags) == flags]
    server = Server(ETCD, tmp_path / "data", flags=certificates.flags_of(rows[0]))
    server.url = server.url.replace("http://", "https://")
    try:
        server.start()
    except TargetUnavailableError as reason:
        pytest.skip(str(reason))
    try:
        found = {row.name: certificates.is_let_in(openssl, server.port, row) for row in rows}
    finally:
        server.stop(signal.SIGKILL)
    assert found == {
        row.name: row.is_let_in if row.is_in_etcd_3_5_1 is None else row.is_in_etcd_3_5_1
        for row in rows
    }
