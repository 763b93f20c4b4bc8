"""A process that was stopped, as under a debugger or on a machine that was put to sleep."""

from __future__ import annotations

import signal
import time
from typing import Final

import pytest

from etcdpb import rpc_pb2
from tests.process.conftest import ON_EACH_TRANSPORT, Servers

pytestmark = ON_EACH_TRANSPORT

TTL: Final = 2  # Seconds. The default floor is 2 too; it is lowered to see that it is not at work.
STALL_S: Final = TTL + 0.5  # So both leases are overdue when the process goes on.
RENEWED: Final = 1
SILENT: Final = 2


@pytest.mark.slow
def test_renewals_that_wait_in_the_socket_win_over_the_deadline(servers: Servers) -> None:
    """The only test that waits for a real TTL to pass: a clock of ours cannot stop a process."""
    server, client = servers.start("--heartbeat-interval=10", "--election-timeout=100")
    for lease_id in (RENEWED, SILENT):
        assert client.grant(TTL, lease_id) == lease_id
        client.put(b"%d" % lease_id, b"", lease_id)
    with client.watch(0) as watch, client.stream("Lease", "LeaseKeepAlive") as renewals:
        renewals.send(rpc_pb2.LeaseKeepAliveRequest(ID=RENEWED))
        assert renewals.receive().TTL == TTL
        server.signal(signal.SIGSTOP)
        renewals.send(rpc_pb2.LeaseKeepAliveRequest(ID=RENEWED))
        time.sleep(STALL_S)
        server.signal(signal.SIGCONT)
        resumed_s = time.monotonic()
        assert renewals.receive().TTL == TTL

        (event,) = watch.receive().events
        assert event.kv.key == b"%d" % SILENT
        assert event.type == event.DELETE
        assert client.get(b"%d" % RENEWED) is not None
        assert client.leases() == {RENEWED}

        (event,) = watch.receive().events
        assert event.kv.key == b"%d" % RENEWED
        assert time.monotonic() - resumed_s >= TTL, "the full TTL from its renewal"
