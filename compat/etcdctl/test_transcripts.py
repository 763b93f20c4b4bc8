"""Every transcript, replayed with both etcdctls on both servers."""

from pathlib import Path

import pytest

from compat.etcdctl.command import Etcdctl
from compat.etcdctl.transcript import FOLDER, Transcript
from compat.targets import Server


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_a_session_looks_as_written_down(
    path: Path, etcdctl: Etcdctl, fresh_server: Server
) -> None:
    transcript = Transcript.read(path)
    expected = transcript.expected_of(etcdctl.line, fresh_server.target.tag)
    assert transcript.replay(etcdctl) == expected
