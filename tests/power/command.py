"""Runs `tenure` with arguments, and tells the story when it has ended as it must.

python -m tests.power.command STORY ARGUMENTS...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from server.cli import main
from tests.power.story import Storyteller

if __name__ == "__main__":
    code = main(sys.argv[3:])
    if code == int(sys.argv[2]):
        Storyteller(Path(sys.argv[1])).acknowledged()
        code = 0
    os._exit(code)
