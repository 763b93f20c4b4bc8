"""What a connection asks of each request that has a place among its streams."""

from __future__ import annotations

from typing import Protocol


class Stream(Protocol):
    """One request, as the connection sees it."""

    window: int  # Bytes of DATA that the client lets us send on it; the connection raises it.
    allowance: int  # Bytes of DATA that the client may still send; the connection lowers it.
    is_remote_closed: bool  # Nothing more comes from the client; the connection sets it.
    again: bytes  # A DATA frame for `received_again`, if it is all that a read brings.

    def opened(self) -> None:
        """It stands in the connection's table now."""
        ...

    def received(self, data: bytes, size: int, *, is_last: bool) -> None:
        """A piece of the body: `size` bytes of the stream's window, padding included."""
        ...

    def received_again(self) -> bytes | None:
        """`again` came, and counts as received; None if it has to be received as others are.

        Returns what is to be sent now, whole frames.
        """
        ...

    def writable(self) -> None:
        """A window has grown: send what waits."""
        ...

    def lost(self, code: int) -> None:
        """The stream is over before its time; nothing may be sent on it any more."""
        ...
