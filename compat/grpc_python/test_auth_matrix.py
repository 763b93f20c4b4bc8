"""Who may call what: the questions of the auth matrix, put to processes.

Only in the clear: over TLS a server of this suite knows everyone by the name in a certificate, so
that nobody is nobody.
"""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from compat.targets import ROOT, Server, Target
from tests.support.auth_matrix import SECRET, ask_all, read_table

NEWEST: Final = ROOT / "tests" / "server" / "auth_matrix.txt"
OLDER: Final = Path(__file__).parent / "auth_matrix_3.5.1.txt"


@pytest.fixture
def nameless_server(target: Target, wire: str, tmp_path: Path) -> Iterator[Server]:
    """One that nobody has used, whose tokens are signed, so that there are old ones."""
    assert wire == "plain"
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    token = f"jwt,sign-method=HS256,priv-key={secret}"
    server = Server(target, tmp_path / "data", flags=("--auth-token", token, "--bcrypt-cost", "4"))
    server.start()
    yield server
    server.stop(signal.SIGKILL)


def test_each_caller_is_told_what_its_etcd_tells_it(nameless_server: Server) -> None:
    expected = read_table(NEWEST)
    if not nameless_server.target.is_tenure:
        older = read_table(OLDER)
        assert all(expected[name] != row for name, row in older.items()), "no difference"
        expected |= older
    answers = asyncio.run(ask_all(nameless_server.endpoint))
    assert answers == {name: expected[name] for name in answers}
