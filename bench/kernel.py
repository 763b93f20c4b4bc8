"""How long a process's fsyncs take by the kernel's own clock, from its trace of system calls.

A server's own clock stops when the thread that asked for the fsync runs again, which in ours means
once it has the interpreter: under full load that is longer than the disk takes. The trace needs
root, and a file system of traces (Documentation/trace/ftrace.rst); without them nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

INSTANCE: Final = Path("/sys/kernel/tracing/instances/tenure_bench")  # Apart from all others'.
CALLS: Final = ("fsync", "fdatasync")
BUFFER_KIB: Final = 8192  # On each processor: some 40,000 fsyncs.
_LINE: Final = re.compile(r"-(?P<thread>\d+) .* (?P<at>\d+\.\d+): sys_\w+(?P<what>\(| -> )")


@contextmanager
def fsyncs(pid: int) -> Iterator[list[float]]:
    """Seconds that each fsync of the process took, in the list once the context is left."""
    took: list[float] = []
    try:
        INSTANCE.mkdir(exist_ok=True)  # A run that was killed leaves it behind.
        (INSTANCE / "trace").write_text("")
    except OSError:  # Not root, or no such file system.
        yield took
        return
    try:
        (INSTANCE / "buffer_size_kb").write_text(str(BUFFER_KIB))
        for switch in _switches():
            switch.write_text("1")
        yield took
        for switch in _switches():
            switch.write_text("0")
        threads = {int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()}
        took += durations((INSTANCE / "trace").read_text().splitlines(), threads)
    finally:
        INSTANCE.rmdir()


def durations(trace: Iterable[str], threads: set[int]) -> list[float]:
    """Seconds from each call of `threads` to its return."""
    begun: dict[int, float] = {}
    took = []
    for line in trace:
        found = _LINE.search(line)
        if found is None or int(found["thread"]) not in threads:
            continue
        thread, at = int(found["thread"]), float(found["at"])
        if found["what"] == "(":
            begun[thread] = at
        elif thread in begun:
            took.append(at - begun.pop(thread))
    return took


def _switches() -> list[Path]:
    names = [f"sys_{edge}_{call}" for call in CALLS for edge in ("enter", "exit")]
    return [INSTANCE / "events" / "syscalls" / name / "enable" for name in names]
