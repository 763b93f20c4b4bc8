"""Programs that are not ours, addresses that are free, and a plain GET."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

TOOL_MAX_S: Final = 20.0
PATH: Final = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def tool(name: str) -> str:
    """A program, looked for beside the interpreter too."""
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TOOL_MAX_S)
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def free_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


def get(url: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=TOOL_MAX_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def tampered(strace: str, pid: int, how: str) -> Iterator[None]:
    """Meanwhile each fsync of a process ends as strace's `inject` says."""
    inject = f"inject=fsync,fdatasync:{how}"
    with subprocess.Popen(
        [strace, "--follow-forks", f"--attach={pid}", "-e", inject, "-o", os.devnull],
        stderr=subprocess.PIPE,
        text=True,
    ) as tracer:
        try:
            assert tracer.stderr is not None
            line = tracer.stderr.readline()
            if "attached" not in line:
                pytest.skip(f"strace may not trace here: {line.strip()}")
            yield
        finally:
            tracer.terminate()  # It lets go of the server; a kill would leave it stopped.
