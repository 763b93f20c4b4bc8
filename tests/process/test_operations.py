"""The commands on the page for operators do what it says, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.process.conftest import Servers
from tests.process.tools import free_port, tool
from tests.support.process import ROOT, environment

PAGE: Final = ROOT / "docs" / "operations.md"
RUN_MAX_S: Final = 60.0
# The installed command, from a checkout.
TENURE: Final = 'tenure() { "$PYTHON" -m server "$@"; }\n'


def _block(name: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    (found,) = re.findall(rf"<!-- tested: {name} -->\n```sh\n(.*?)```", text, re.DOTALL)
    return str(found)


def _run(name: str, folder: Path, **variables: object) -> str:
    told = {key: str(value) for key, value in variables.items()}
    done = subprocess.run(
        [tool("bash"), "-euc", TENURE + _block(name)],
        cwd=folder,
        env={**environment(), **told, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_MAX_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.compat
def test_what_was_saved_is_what_is_restored(servers: Servers, tmp_path: Path) -> None:
    port = free_port()
    server = servers.spawn(url=f"http://127.0.0.1:{port}").wait_until_ready()
    client = servers.client(server)
    client.grant(600, 7)
    client.put(b"k", b"saved", lease=7)
    before = client.hash_kv()
    told = _run("backup", tmp_path, ENDPOINT=f"127.0.0.1:{port}")
    assert "TOTAL KEYS" in told.upper()
    client.put(b"k", b"after that")
    server.terminate()
    _run("restore", tmp_path, DATA_DIR=servers.data_dir)
    assert sorted(os.listdir(tmp_path)) == ["backup.snapshot", "data", "data.old"]
    _, client = servers.start()
    kv = client.get(b"k")
    assert kv is not None
    assert (kv.value, kv.lease) == (b"saved", 7)
    assert client.hash_kv().hash == before.hash
