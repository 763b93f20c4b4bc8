"""Alarms: what an operator must see and end by hand (etcd's server/etcdserver/api/v3alarm).

A row of the `alarm` column is an `AlarmMember` as key, with nothing behind it, as in etcd. An
alarm survives restarts and is never cleared but by a request. Member ids are not validated.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from etcdpb.rpc_pb2 import AlarmMember, AlarmType
from mvcc.backend.base import Backend, Batch, Column
from mvcc.errors import CorruptRecordError


class Alarms:
    def __init__(self) -> None:
        self.raised: dict[tuple[int, int], None] = {}  # (type, member id), in order of raising.

    def recover(self, backend: Backend) -> None:
        """Read what stands on disk.

        Raises:
            CorruptRecordError
        """
        for key, _ in backend.scan(Column.ALARM):
            try:
                member = AlarmMember.FromString(key)
            except DecodeError as error:
                raise CorruptRecordError("alarm", key, f"no AlarmMember: {error}") from error
            self.raised[member.alarm, member.memberID] = None

    def __len__(self) -> int:
        """How many stand."""
        return len(self.raised)

    def is_raised(self, alarm: int) -> bool:
        return any(kind == alarm for kind, _ in self.raised)

    def has(self, member_id: int, alarm: int) -> bool:
        return (alarm, member_id) in self.raised

    def get(self, alarm: int) -> list[AlarmMember]:
        """Alarms of one type; AlarmType.NONE asks for all."""
        return [
            AlarmMember(memberID=member_id, alarm=kind)  # type: ignore[arg-type]  # an int is right
            for kind, member_id in self.raised
            if alarm in (AlarmType.NONE, kind)
        ]

    def activate(self, member_id: int, alarm: int, batch: Batch) -> AlarmMember:
        member = AlarmMember(memberID=member_id, alarm=alarm)  # type: ignore[arg-type]  # as above
        self.raised[alarm, member_id] = None
        batch.put(Column.ALARM, member.SerializeToString(), b"")
        return member

    def deactivate(self, member_id: int, alarm: int, batch: Batch) -> AlarmMember | None:
        """End an alarm; None if it does not stand."""
        if not self.has(member_id, alarm):
            return None
        del self.raised[alarm, member_id]
        member = AlarmMember(memberID=member_id, alarm=alarm)  # type: ignore[arg-type]  # as above
        batch.delete(Column.ALARM, member.SerializeToString())
        return member
