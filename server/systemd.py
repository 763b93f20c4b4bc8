"""Telling the service manager how far the process is: sd_notify(3), whose protocol this is.

A datagram with `READY=1` or `STOPPING=1` to the socket that NOTIFY_SOCKET names; nothing where it
names none. A manager that does not listen is remarked on and never waited for.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Final

from server.log import fields

logger = logging.getLogger(__name__)

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
_VARIABLE: Final = "NOTIFY_SOCKET"


def notify(state: str, environment: Mapping[str, str]) -> None:
    path = environment.get(_VARIABLE)
    if not path:
        return
    if path.startswith("@"):  # Of the abstract namespace.
        path = f"\0{path[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.sendto(state.encode(), path)
    except OSError as error:
        logger.error(  # noqa: TRY400  # a trace would add nothing
            "failed to notify systemd", extra=fields(state=state, error=str(error))
        )
    else:
        logger.info("notified systemd", extra=fields(state=state))
