"""The load generator in Go (`bench/go`): built once for a state of its source, run for one figure.

It does what h2load cannot: a body of its own for each request, one message a frame on many long
streams, watchers, and etcd's own client. Who has no Go gets the rest of the bench.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from bench.servers import Server

SOURCE: Final = Path(__file__).resolve().parent / "go"
PROGRAM: Final = SOURCE / "load"
HOW_TO_INSTALL: Final = "go is not on PATH, or bench/go could not be built; on Debian: golang-go"
BUILD_TIMEOUT_S: Final = 600.0  # The first build fetches etcd's client and compiles gRPC.
RUN_TIMEOUT_S: Final = 300.0


class Result(NamedTuple):
    requests: int
    seconds: float
    refused: int  # Requests that ended with another grpc-status than 0.
    data_bytes: int
    mean_us: float
    p50_us: float
    p99_us: float
    max_us: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@cache
def available() -> bool:
    """Whether the program is there, building it if its source is newer. Says why it is not."""
    newest = max(path.stat().st_mtime for path in SOURCE.iterdir() if path != PROGRAM)
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= newest:
        return True
    if shutil.which("go") is None:
        return False
    done = subprocess.run(
        ("go", "build", "-trimpath", "-o", PROGRAM.name, "."),
        cwd=SOURCE, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode != 0:
        print(f"bench/go: {done.stderr.strip()[-500:]}", flush=True)
    return done.returncode == 0


def run(
    server: Server, command: str, *arguments: object, ready: Callable[[], object] | None = None,
    gogc: int | None = None,
) -> Result:  # fmt: skip
    """Run one command against `server`; `ready` is called when the scene is set, before it begins.

    `gogc` is GOGC, in percent, of the program; without it Go's own, 100.

    Raises:
        RuntimeError: a call failed, or it did not end within `RUN_TIMEOUT_S`.
    """
    line = [str(PROGRAM), command, "-addr", f"127.0.0.1:{server.port}", *map(str, arguments)]
    if server.certificates is not None:
        line += ["-ca", str(server.certificates.ca_file)]
    environment = os.environ if gogc is None else {**os.environ, "GOGC": str(gogc)}
    process = subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    try:
        if ready is not None:
            assert process.stdout is not None
            if process.stdout.readline() == "ready\n":
                ready()
        output, errors = process.communicate("\n" if ready else None, timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{command} did not end within {RUN_TIMEOUT_S} s") from error
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{command}: {errors.strip()[-500:]}")
    return Result(**json.loads(output.splitlines()[-1]))


def write_records(path: Path, records: Sequence[tuple[int, bytes]]) -> None:
    """Bodies for `replay`: the number of the method in `METHODS`, and the framed message."""
    path.write_bytes(
        b"".join(bytes([n]) + len(body).to_bytes(4, "big") + body for n, body in records)
    )


def write_ids(path: Path, ids: Sequence[int]) -> None:
    """Lease ids for `paced` and `herd`."""
    path.write_bytes(b"".join(each.to_bytes(8, "big") for each in ids))


METHODS: Final = (
    "KV/Put", "KV/Range", "KV/Txn", "KV/DeleteRange", "Lease/LeaseGrant", "Lease/LeaseRevoke",
    "Lease/LeaseTimeToLive", "Lease/LeaseKeepAlive",
)  # fmt: skip
