"""The auth matrix: each method, asked by six callers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import pytest

from server.settings.config import TRANSPORTS
from tests.support.auth_matrix import CALLERS, LET_IN, SECRET, Table, ask_all, read_table
from tests.support.loop import run_in_loop
from tests.support.serving import running
from tests.support.users import CHEAP

EXPECTED: Final = Path(__file__).parent / "auth_matrix.txt"
SERVICES: Final = {
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
}


async def _ask(transport: str) -> tuple[Table, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "secret"
        secret.write_bytes(SECRET)
        token = f"jwt,sign-method=HS256,priv-key={secret}"
        async with running(transport=transport, auth_token=token, bcrypt_cost=CHEAP) as server:
            return await ask_all(server.target), server.core.methods.paths()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_each_caller_is_told_what_the_newest_etcd_tells_it(transport: str) -> None:
    """server/etcdserver/v3_server.go, apply/auth.go and api/v3rpc of etcd's 3.6 line."""
    answers, paths = run_in_loop(_ask(transport))
    expected = read_table(EXPECTED)
    assert answers == {name: row for name, row in expected.items() if name in answers}
    asked = {name.split()[0] for name in answers}
    offered = {
        f"{service.rpartition('.')[2]}.{method}"
        for service, method in (path.removeprefix("/").split("/") for path in paths)
        if service in SERVICES
    }
    # Authenticate is what callers are made with; a RangeStream is a Range.
    assert offered - asked == {"Auth.Authenticate", "KV.RangeStream"}


def test_only_root_is_let_in_everywhere() -> None:
    expected = read_table(EXPECTED)
    for number, caller in enumerate(CALLERS):
        everywhere = all(row[number] == LET_IN for row in expected.values())
        assert everywhere == (caller == "root")
