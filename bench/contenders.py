"""Other servers of etcd's API, built once from Go modules: etcd 3.6, and kine on SQLite.

Each is a main package of three lines in `bench/contender_programs`, since neither module can be
installed by `go install`: their go.mod have replace directives.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.servers import ETCD36, KINE, Contender

SOURCE: Final = Path(__file__).resolve().parent / "contender_programs"
CACHE: Final = Path(__file__).resolve().parent / ".cache"
BUILD_TIMEOUT_S: Final = 1800.0  # etcd takes a minute or two of two cores, SQLite in Go more.
OTHERS: Final = {ETCD36: "etcd36", KINE: "kine"}
MODULES: Final = {ETCD36: "go.etcd.io/etcd/server/v3", KINE: "github.com/k3s-io/kine"}


def find_other(name: str) -> Contender | None:
    """The contender, built into the cache if it is not there; None if it cannot be built."""
    source, program = SOURCE / OTHERS[name], CACHE / OTHERS[name]
    if not program.exists():
        if shutil.which("go") is None:
            return None
        print(f"{name}: building it once, which takes minutes", flush=True)
        CACHE.mkdir(exist_ok=True)
        done = subprocess.run(
            ("go", "build", "-trimpath", "-o", str(program), "."),
            cwd=source, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S,
        )  # fmt: skip
        if done.returncode != 0:
            print(done.stderr.strip()[-500:], flush=True)
            return None
    return Contender(name, (str(program),), _version(source / "go.mod", MODULES[name]))


def _version(go_mod: Path, module: str) -> str:
    for line in go_mod.read_text().splitlines():
        words = line.removeprefix("require").split()
        if words[:1] == [module]:
            return words[1].removeprefix("v")
    return "unknown"
