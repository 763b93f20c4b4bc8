"""The process as the kernel sees it: the standard process_ metrics, and etcd's own of files.

Read from /proc; where there is none, there is nothing to tell, as with Go's client.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from server.metrics.text import Family, counter, gauge

_PROC: Final = Path("/proc")
_UNLIMITED: Final = 2**64 - 1  # What the kernel's own type says.


class _Stat(NamedTuple):
    cpu_s: float
    start_s: float  # Since the epoch.
    virtual_bytes: int
    resident_bytes: int


def families() -> Iterator[Family]:
    try:
        stat = _read(_PROC)
        open_files = len(os.listdir(_PROC / "self" / "fd")) - 1  # Without the one that lists them.
    except OSError:
        return
    files_max = _limit(resource.RLIMIT_NOFILE)
    yield counter("process_cpu_seconds_total", "CPU time spent, in seconds.", stat.cpu_s)
    yield gauge("process_start_time_seconds", "Start, in seconds since 1970.", stat.start_s)
    yield gauge("process_resident_memory_bytes", "Resident memory.", stat.resident_bytes)
    yield gauge("process_virtual_memory_bytes", "Virtual memory.", stat.virtual_bytes)
    yield gauge(
        "process_virtual_memory_max_bytes",
        "The most virtual memory there can be.",
        _limit(resource.RLIMIT_AS),
    )
    yield gauge("process_open_fds", "Open files.", open_files)
    yield gauge("process_max_fds", "The most there can be.", files_max)
    yield gauge("os_fd_used", "Open files.", open_files)
    yield gauge("os_fd_limit", "The most there can be.", files_max)


def _read(proc: Path) -> _Stat:
    # The name, in parentheses, may hold spaces: what is counted are the fields behind it.
    fields = (proc / "self" / "stat").read_text().rpartition(")")[2].split()
    user, system, start = (int(fields[at]) for at in (11, 12, 19))
    hertz = os.sysconf("SC_CLK_TCK")
    booted = next(
        int(line.split()[1])
        for line in (proc / "stat").read_text().splitlines()
        if line.startswith("btime ")
    )
    return _Stat(
        cpu_s=(user + system) / hertz,
        start_s=booted + start / hertz,
        virtual_bytes=int(fields[20]),
        resident_bytes=int(fields[21]) * resource.getpagesize(),
    )


def _limit(which: int) -> int:
    soft = resource.getrlimit(which)[0]
    return _UNLIMITED if soft == resource.RLIM_INFINITY else soft
