"""What methods need is said for each of them, or they are not served."""

from __future__ import annotations

import pytest

from etcdpb import rpc_pb2
from server.auth.needs import Need, need_of
from server.transport.dispatch import MethodTable


def test_every_service_of_etcd_has_said_what_its_methods_need() -> None:
    needs = {
        method.name: need_of(f"/{service.full_name}/{method.name}")
        for service in rpc_pb2.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {name for name, need in needs.items() if need is Need.LOGIN} == {"MemberList", "Status"}
    assert {name for name, need in needs.items() if need is Need.NOTHING} == {
        *("Range", "RangeStream", "Put", "DeleteRange", "Txn", "Compact", "Watch"),
        *("LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive", "LeaseLeases"),
        *("Alarm", "Authenticate", "UserGet", "RoleGet"),
    }


def test_a_service_that_has_not_said_it_is_not_served() -> None:
    """Better no door than one that somebody has left open."""
    with pytest.raises(KeyError):
        need_of("/somebodys.Own/Method")


def test_a_table_without_a_guard_serves_whatever_it_is_given() -> None:
    class Service:
        def Range(self, message: bytes, call: object) -> bytes:  # noqa: ARG002, N802
            return b""

    table = MethodTable()
    table.add(rpc_pb2.DESCRIPTOR.services_by_name["KV"], Service())
    assert table.paths() == ["/etcdserverpb.KV/Range"]
