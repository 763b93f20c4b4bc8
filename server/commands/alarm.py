"""Raising and ending alarms."""

from __future__ import annotations

from etcdpb.rpc_pb2 import AlarmMember
from server.commands.base import State, WritesOnly


class ActivateAlarm(WritesOnly):
    __slots__ = ("_alarm", "_member_id")

    def __init__(self, member_id: int, alarm: int) -> None:
        self._member_id = member_id
        self._alarm = alarm

    def check(self, state: State) -> None:
        if state.auth.enabled:
            state.principal().must_be_root()

    def apply(self, state: State) -> list[AlarmMember]:
        assert state.store.batch is not None
        if not state.alarms.has(self._member_id, self._alarm):
            state.store.in_use += alarm_bytes(self._member_id, self._alarm)
        return [state.alarms.activate(self._member_id, self._alarm, state.store.batch)]


class DeactivateAlarm(WritesOnly):
    """The result is empty if there was no such alarm."""

    __slots__ = ("_alarm", "_member_id")

    def __init__(self, member_id: int, alarm: int) -> None:
        self._member_id = member_id
        self._alarm = alarm

    def check(self, state: State) -> None:
        if state.auth.enabled:
            state.principal().must_be_root()

    def apply(self, state: State) -> list[AlarmMember]:
        assert state.store.batch is not None
        ended = state.alarms.deactivate(self._member_id, self._alarm, state.store.batch)
        if ended is None:
            return []
        state.store.in_use -= alarm_bytes(self._member_id, self._alarm)
        return [ended]


def alarm_bytes(member_id: int, alarm: int) -> int:
    """What an alarm's row counts in the store's size."""
    return AlarmMember(memberID=member_id, alarm=alarm).ByteSize()  # type: ignore[arg-type]  # an int is right
