"""The one place that imports aetcd, and what it needs for that.

Its messages were generated for protobuf 5 and refuse any above 6; Tenure uses 7. So `make compat`
puts aetcd into a folder of its own, with a protobuf that it takes, and that folder is first here.
"""

import sys
from collections.abc import Callable
from pathlib import Path

if "google.protobuf" in sys.modules:
    raise ImportError("protobuf is loaded already: run `make compat`, or pytest on one suite")
sys.path.insert(0, str(Path(sys.prefix) / "aetcd"))

import aetcd

__all__ = ["Connect", "aetcd"]

Connect = Callable[[], aetcd.Client]
