"""Connections of HTTP/2 spoken frame by frame, for what no client would send or leave unread."""

from __future__ import annotations

import resource
import socket
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from server.transport.frames import ACK, PING, frame
from tests.server.transport.sockets import OPENING
from tests.support.process import ServerProcess

WAIT_S: Final = 20.0
_HEADER_BYTES: Final = 9


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


class Line:
    """One connection, on a socket that waits."""

    def __init__(self, address: tuple[str, int], opening: bytes = OPENING) -> None:
        self.socket = socket.create_connection(address, timeout=WAIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = b""
        self._frames: deque[Frame] = deque()
        self.send(opening)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def frame(self) -> Frame:
        """The next frame, whatever it is."""
        while not self._frames:
            some = self.socket.recv(1 << 18)
            assert some, "the connection has ended"
            self._keep(self._input + some)
        return self._frames.popleft()

    def next(self, kind: int) -> Frame:
        """The next frame of that kind; those before it are passed over."""
        while (found := self.frame()).kind != kind:
            pass
        return found

    def _keep(self, data: bytes) -> None:
        at = 0
        while len(data) - at >= _HEADER_BYTES:
            start = at + _HEADER_BYTES
            end = start + int.from_bytes(data[at : at + 3], "big")
            if len(data) < end:
                break
            stream = int.from_bytes(data[at + 5 : start], "big")
            self._frames.append(Frame(data[at + 3], data[at + 4], stream, data[start:end]))
            at = end
        self._input = data[at:]

    def is_served(self) -> bool:
        try:
            self.send(frame(PING, 0, 0, b"anybody?"))
            found = self.next(PING)
        except (AssertionError, ConnectionError):
            return False
        return (found.flags, found.payload) == (ACK, b"anybody?")


class Lines:
    """Connections that are closed together."""

    def __init__(self, server: ServerProcess, stack: ExitStack) -> None:
        host, _, port = server.target.partition(":")
        self._address = (host, int(port))
        self._stack = stack

    def open(self, opening: bytes = OPENING) -> Line:
        line = Line(self._address, opening)
        self._stack.callback(line.socket.close)
        return line


def memory_bytes(server: ServerProcess) -> int:
    """What the process has of the machine's memory."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()
