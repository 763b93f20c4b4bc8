"""A server with a user who may do some things, and what she is after.

ann may read and write below `a/`, write but not read `w`, and read but not write `r`. Below `b/`
is what she is after: `b/key`, which has the lease FOREIGN. OWN has `a/leased`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from server import status
from server.status import Code, Status
from tests.support.client import Client
from tests.support.serving import Running
from tests.support.users import BOTH, READ, ROOT, WRITE, add_role, add_user, as_user, enable, permit

OWN: Final = 1
FOREIGN: Final = 2
SECRET: Final = b"what ann is after"
DENIED: Final = status.PERMISSION_DENIED
DENIED_BY_ERRAND: Final = Status(Code.UNKNOWN, DENIED.message)
FROM_KEY: Final = b"\0"


class World(NamedTuple):
    server: Running
    ann: Client
    root: Client


async def made(server: Running) -> World:
    client = server.client
    await client.grant(600, OWN)
    await client.grant(600, FOREIGN)
    await client.put(b"a/leased", lease=OWN)
    await client.put(b"b/key", SECRET, lease=FOREIGN)
    await client.put(b"w", SECRET)
    await client.put(b"r", b"readable")
    granted = permit(BOTH, b"a/", b"a0"), permit(WRITE, b"w"), permit(READ, b"r")
    await add_role(client, "role", *granted)
    await add_user(client, "ann", "role")
    await enable(client)
    return World(server, await as_user(server, "ann"), await as_user(server, ROOT))
