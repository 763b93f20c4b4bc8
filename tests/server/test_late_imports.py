"""What a start does without: it is imported later, and then all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

OF_HTTP = ("h11", "uvicorn", "starlette.applications", "server.http.app", "server.transport.http1")

SCRIPT = f"""
import sys
from importlib import import_module

import server.app

early = [name for name in {OF_HTTP!r} if name in sys.modules]
assert not early, f"imported by a start: {{early}}"
for name in server.app.HTTP_MODULES:
    assert name not in sys.modules, f"{{name}} has come with those before it"
    import_module(name)
late = [name for name in {OF_HTTP!r} if name not in sys.modules]
assert not late, f"left to the first request: {{late}}"
"""


def test_a_start_does_without_http_and_what_is_loaded_later_is_all_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
