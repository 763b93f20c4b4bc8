"""Whether the server is well: the checks behind /health, /livez and /readyz.

They ask the services, as the user root would: what that one cannot get is what they report
(etcd's server/etcdserver/api/etcdhttp/health.go).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from etcdpb.rpc_pb2 import AlarmRequest, AlarmResponse, AlarmType, RangeRequest
from server import failures
from server.auth.caller import SERVER
from server.awaited import AwaitedCall
from server.status import REQUEST_TIMED_OUT
from server.transport.dispatch import MethodTable, UnaryMethod

_RANGE: Final = "/etcdserverpb.KV/Range"
_ALARM: Final = "/etcdserverpb.Maintenance/Alarm"
_KNOWN: Final = (AlarmType.NOSPACE, AlarmType.CORRUPT)

Check = Callable[[], Awaitable[str]]


class Health:
    """Each check returns what is wrong, or nothing."""

    def __init__(self, methods: MethodTable, timeout_s: float) -> None:
        """`timeout_s`: how long a question may take before that is the answer."""
        self._methods = methods
        self._timeout_s = timeout_s
        self.live: Mapping[str, Check] = {"serializable_read": self._serializable_read}
        self.ready: Mapping[str, Check] = {
            "data_corruption": self._data_corruption,
            "serializable_read": self._serializable_read,
            "linearizable_read": self._linearizable_read,
            "non_learner": self._non_learner,
        }

    async def trouble(self, *, excluded: Collection[str], serializable: bool) -> str:
        """What /health says: the alarms but for those excluded, then whether a key can be read."""
        alarms, failure = await self._alarms()
        if failure:
            return f"RANGE ERROR:{failure}"
        for alarm in alarms:
            name = AlarmType.Name(alarm) if alarm in AlarmType.values() else str(alarm)
            if name not in excluded:
                return f"ALARM {name}" if alarm in _KNOWN else "ALARM UNKNOWN"
        failure = await self._read(serializable=serializable)
        return f"RANGE ERROR:{failure}" if failure else ""

    async def _data_corruption(self) -> str:
        alarms, failure = await self._alarms()
        if AlarmType.CORRUPT in alarms:
            return "alarm activated: CORRUPT"
        return failure

    async def _serializable_read(self) -> str:
        failure = await self._read(serializable=True)
        return f"range error: {failure}" if failure else ""

    async def _linearizable_read(self) -> str:
        failure = await self._read(serializable=False)
        return f"range error: {failure}" if failure else ""

    async def _non_learner(self) -> str:
        return ""  # The one member there is votes.

    async def _read(self, *, serializable: bool) -> str:
        request = RangeRequest(key=b"\0", keys_only=True, limit=1, serializable=serializable)
        return (await self._ask(_RANGE, request.SerializeToString()))[1]

    async def _alarms(self) -> tuple[list[int], str]:
        request = AlarmRequest(action=AlarmRequest.GET)
        reply, failure = await self._ask(_ALARM, request.SerializeToString())
        return [each.alarm for each in AlarmResponse.FromString(reply).alarms], failure

    async def _ask(self, path: str, message: bytes) -> tuple[bytes, str]:
        """The reply, or the error's text."""
        method = self._methods.get(path)
        assert isinstance(method, UnaryMethod)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await AwaitedCall(SERVER).made(method.handle, message), ""
        except TimeoutError:
            return b"", REQUEST_TIMED_OUT.message
        except Exception as error:  # noqa: BLE001  # whatever it is, it is not well
            return b"", failures.told(error).message
