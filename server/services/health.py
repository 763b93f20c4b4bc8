"""grpc.health.v1.Health: who can be answered at all, is answered that the server serves.

As in etcd (server/etcdserver/api/v3rpc/health.go) only the server as a whole is known, no service
of it by name, and no alarm makes a difference: what an alarm forbids is refused where it is asked.
"""

from __future__ import annotations

import asyncio

from etcdpb.health_pb2 import HealthCheckRequest, HealthCheckResponse
from server import status
from server.call import PeerCall, Stream
from server.status import RpcError

_WHOLE_SERVER = ""


class HealthService:
    def Check(self, message: bytes, call: PeerCall) -> bytes:  # noqa: ARG002  # answered at once
        if HealthCheckRequest.FromString(message).service != _WHOLE_SERVER:
            raise RpcError(status.UNKNOWN_HEALTH_SERVICE)
        return _reply(HealthCheckResponse.SERVING)

    async def Watch(self, stream: Stream) -> None:
        """Nothing ever changes while the server runs: one answer, until either side ends it."""
        request = HealthCheckRequest.FromString(await stream.receive() or b"")
        if request.service == _WHOLE_SERVER:
            await stream.send(_reply(HealthCheckResponse.SERVING))
        else:
            await stream.send(_reply(HealthCheckResponse.SERVICE_UNKNOWN))
        await asyncio.get_running_loop().create_future()


def _reply(serving: HealthCheckResponse.ServingStatus) -> bytes:
    return HealthCheckResponse(status=serving).SerializeToString()
