"""A directory for stores whose fsyncs are not what is tested: in memory, if there is room."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")
MEMORY: Final = _MEMORY if os.access(_MEMORY, os.W_OK) else None  # A file system that has no disk.


def quick_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tenure-", dir=MEMORY)
