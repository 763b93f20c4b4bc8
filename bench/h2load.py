"""h2load, the load generator of nghttp2: written in C, so that two cores suffice for both sides.

It repeats one body with constant headers, which flatters every server: header compression always
hits and one key stays hot. Its status codes are HTTP's, and gRPC refuses with HTTP 200; so a run is
only believed after `bench.load` has checked the server's state or the bytes of the replies.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

HOW_TO_INSTALL: Final = "h2load is not on PATH; on Debian: apt-get install nghttp2-client"
RUN_TIMEOUT_S: Final = 120.0
UNIT_US: Final = {"us": 1.0, "ms": 1e3, "s": 1e6}


class Run(NamedTuple):
    requests: int
    seconds: float
    latency_mean_us: float
    data_bytes: int  # Bytes of DATA frames received: gRPC prefixes and messages.

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def available() -> bool:
    return shutil.which("h2load") is not None


def version() -> str:
    done = subprocess.run(("h2load", "--version"), capture_output=True, text=True, check=False)
    return done.stdout.strip()


def command(url: str, method: str, body: Path, clients: int, streams: int) -> list[str]:
    """One thread; the caller adds -n or -D."""
    headers = ("-H", "content-type: application/grpc", "-H", "te: trailers")
    return ["h2load", "-t1", f"-c{clients}", f"-m{streams}", *headers, "-d", str(body),
            f"{url}/etcdserverpb.{method}"]  # fmt: skip


def run(url: str, method: str, body: Path, *, clients: int, streams: int, requests: int) -> Run:
    """Send `body` `requests` times over `clients` connections, `streams` in flight on each.

    Raises:
        RuntimeError: a request failed at the level of HTTP, or h2load was cut short.
    """
    done = subprocess.run(
        [*command(url, method, body, clients, streams), "-n", str(requests)],
        capture_output=True, text=True, check=True, timeout=RUN_TIMEOUT_S,
    )  # fmt: skip
    return parse(done.stdout, requests)


def parse(output: str, requests: int) -> Run:
    """Read h2load's summary; all of `requests` must have succeeded with a 2xx status."""
    succeeded = re.search(r"(\d+) succeeded", output)
    answered = re.search(r"status codes: (\d+) 2xx", output)
    seconds = re.search(r"finished in ([\d.]+)(us|ms|s),", output)
    data = re.search(r"\((\d+)\) data", output)
    mean = re.search(r"time for request: +\S+ +\S+ +([\d.]+)(us|ms|s)", output)
    if not (succeeded and answered and seconds and data and mean):
        raise RuntimeError(f"h2load said something else than usual: {output[-500:]}")
    if not int(succeeded[1]) == int(answered[1]) == requests:
        raise RuntimeError(f"{succeeded[1]} succeeded and {answered[1]} 2xx of {requests}")
    return Run(
        requests,
        float(seconds[1]) * UNIT_US[seconds[2]] / 1e6,
        float(mean[1]) * UNIT_US[mean[2]],
        int(data[1]),
    )
