"""The files of unix sockets, which go with the process as etcd's do (client/pkg/transport).

A file that was replaced since is another server's, and stays.
"""

from __future__ import annotations

import os
from contextlib import suppress

from server.settings.urls import URL


class SocketFiles:
    """Those that this process has made."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[int, int]] = {}

    def listened(self, url: URL) -> None:
        """To call once `url` is bound; one without a file is none of these."""
        if url.is_unix:
            self._made[url.path] = _identity(url.path)

    def remove(self) -> None:
        """A file that is gone, or cannot be removed, keeps nobody from ending."""
        for path, identity in self._made.items():
            with suppress(OSError):
                if _identity(path) == identity:
                    os.unlink(path)
        self._made.clear()


def _identity(path: str) -> tuple[int, int]:
    """
    Raises:
        OSError: there is no such file.
    """
    found = os.lstat(path)
    return found.st_dev, found.st_ino
