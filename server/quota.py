"""The quota: a store that is full says so before it takes a write, and raises an alarm.

The store's size is the bytes of its rows plus what compaction freed and no defragmentation has
returned: so filling, compacting, defragmenting and disarming behave as on etcd, whatever the
disk's real use is. A request that costs nothing always passes (etcd 3.5.7).
"""

from __future__ import annotations

from etcdpb.rpc_pb2 import AlarmType
from server.commands.alarm import ActivateAlarm
from server.commands.base import State
from server.engine import Engine
from server.pending import NOBODY
from server.status import NoSpaceError


class Quota:
    def __init__(
        self, engine: Engine, state: State, member_id: int, limit_bytes: int | None
    ) -> None:
        """`limit_bytes` None is no limit."""
        self._engine = engine
        self._state = state
        self._member_id = member_id
        self.limit_bytes = limit_bytes

    def has_room(self, cost: int) -> bool:
        """Whether a write of at most `cost` bytes is sure to be admitted."""
        if self.limit_bytes is None:
            return True
        store = self._state.store
        return store.in_use + store.freed + cost < self.limit_bytes

    def admit(self, cost: int) -> None:
        """Refuse a write of `cost` bytes if the store would reach its quota, and raise the alarm.

        Raises:
            NoSpaceError
        """
        if cost <= 0 or self.limit_bytes is None:
            return
        if db_size(self._state) + cost < self.limit_bytes:
            return
        if not self._state.alarms.is_raised(AlarmType.NOSPACE):
            command = ActivateAlarm(self._member_id, AlarmType.NOSPACE)
            self._engine.submit(command, NOBODY, lambda _: b"")
        raise NoSpaceError


def db_size(state: State) -> int:
    """StatusResponse.dbSize, in bytes: what quota and alarms go by."""
    return state.store.in_use + state.store.freed
