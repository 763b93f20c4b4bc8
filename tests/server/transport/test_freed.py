"""A connection that is over is freed then and there.

The collector of cycles is made rare, because a full collection walks every key: what waits for it
is memory that clients who come and go could fill.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from server.transport.frames import GOAWAY, RST_STREAM, frame
from tests.server.transport.native import LATER, Client
from tests.server.transport.support import data, prefixed
from tests.support.clock import settle
from tests.support.loop import in_loop

HEY = prefixed(b"hey")
HEY_LATER = prefixed(LATER + b"hey")


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


# What a client has under way when it goes.
DOINGS: dict[str, Callable[[Client], None]] = {
    "nothing": lambda _: None,
    "one that is answered": lambda c: c.send(c.open(), data(c.last_id, HEY)),
    "one that is awaited": lambda c: c.send(c.open()),
    "one that waits": lambda c: c.send(c.open("Late"), data(c.last_id, HEY)),
    "one in pieces": lambda c: c.send(c.open(), data(c.last_id, HEY[:3], flags=0)),
    "a timeout": lambda c: c.send(c.open("Late", grpc_timeout=b"9S"), data(c.last_id, HEY)),
    "a stream": lambda c: c.send(c.open("Talk"), data(c.last_id, HEY, flags=0)),
    "a task": lambda c: c.send(c.open("Talk"), data(c.last_id, HEY_LATER, flags=0)),
    "a stream that ended": lambda c: c.send(c.open("Talk"), data(c.last_id, HEY_LATER)),
    "a stream that was reset": lambda c: c.send(
        c.open("Talk"),
        data(c.last_id, HEY_LATER, flags=0),
        frame(RST_STREAM, 0, c.last_id, bytes(4)),
    ),
}
ENDS: dict[str, Callable[[Client], None]] = {
    "it is lost": lambda c: c.protocol.connection_lost(None),
    "it violates the protocol": lambda c: c.send(frame(GOAWAY, 0, 1, bytes(8))),
    "it is drained": lambda c: c.connection.drain(),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("doing", DOINGS)
@in_loop
async def test_a_connection_that_is_over_is_freed_without_the_collector(
    doing: str, end: str
) -> None:
    stays = Client()
    goes = Client(beside=stays)
    goes.know("Echo")
    goes.know("Talk")
    DOINGS[doing](goes)
    await settle()
    ENDS[end](goes)
    if end == "it is drained" and len(goes.connection):
        return  # It is not over before what it has under way is.
    await settle()
    connection, protocol = weakref.ref(goes.connection), weakref.ref(goes.protocol)
    stays.methods.late.clear()
    stays.server.host.expire()
    del goes
    for _ in range(2):
        stays.know("Echo")  # The object of a method's last call is used again.
    assert (connection(), protocol()) == (None, None)


@in_loop
async def test_so_is_one_whose_answers_could_not_be_written() -> None:
    stays = Client()
    goes = Client(beside=stays)
    goes.protocol.pause_writing()
    goes.send(goes.open("Talk"), data(goes.last_id, HEY_LATER, flags=0))
    await settle()
    goes.protocol.connection_lost(None)
    await settle()
    connection = weakref.ref(goes.connection)
    del goes
    assert connection() is None
