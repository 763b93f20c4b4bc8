"""Which files of sockets are removed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from server.settings.urls import URL
from server.socket_files import SocketFiles


def _bound(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    return made


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # A socket's path has some 100 bytes at most.
    return Path("localhost:1")


def test_what_was_made_is_removed_once(path: Path) -> None:
    files = SocketFiles()
    with _bound(path):
        files.listened(URL.parse(f"unix://{path}"))
        files.listened(URL.parse("http://localhost:1"))
    files.remove()
    assert not path.exists()
    path.touch()
    files.remove()
    assert path.exists()


def test_what_another_made_in_its_place_stays(path: Path, tmp_path: Path) -> None:
    files = SocketFiles()
    with _bound(path):
        files.listened(URL.parse(f"unix://{path}"))
    path.rename(tmp_path / "kept")  # Its number is not given out again meanwhile.
    with _bound(path):
        files.remove()
        assert path.exists()


def test_one_that_is_gone_already_is_no_trouble(path: Path) -> None:
    files = SocketFiles()
    with _bound(path):
        files.listened(URL.parse(f"unix://{path}"))
    path.unlink()
    files.remove()
