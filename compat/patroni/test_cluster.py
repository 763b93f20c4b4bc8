"""Patroni: two nodes, one leader."""

import time

from patroni.dcs import AbstractDCS

from compat.patroni.conftest import TTL_S, Join
from compat.waiting import wait_until

LATE_MAX_S = 10.0


def leader_of(node: AbstractDCS) -> str | None:
    """Who leads as the node sees it, which follows what was written by a moment."""
    leader = node.get_cluster().leader
    return None if leader is None else leader.name


def test_one_leads_and_the_other_sees_it(join: Join) -> None:
    one, other = join("one"), join("other")
    assert one.initialize(create_new=True, sysid="7") is not False
    assert not other.initialize(create_new=True, sysid="8")
    for node, name in ((one, "one"), (other, "other")):
        assert node.touch_member({"conn_url": f"postgres://{name}", "role": "replica"})
    assert one.attempt_to_acquire_leader()
    assert not other.attempt_to_acquire_leader()
    wait_until(lambda: leader_of(other) == "one")
    cluster = other.get_cluster()
    assert (cluster.initialize, cluster.leader.name) == ("7", "one")
    assert {member.name for member in cluster.members} == {"one", "other"}
    assert cluster.leader.conn_url == "postgres://one"


def test_a_leader_that_updates_stays_and_its_position_is_seen(join: Join) -> None:
    one, other = join("one"), join("other")
    assert one.attempt_to_acquire_leader()
    start = time.monotonic()
    position = 0
    while time.monotonic() - start < 2 * TTL_S:
        position += 1
        cluster = one.get_cluster()
        assert one.update_leader(cluster, position)
        wait_until(lambda expected=position: other.get_cluster().status.last_lsn == expected)
        assert not other.attempt_to_acquire_leader()
        other.watch(None, TTL_S / 4)  # Woken by a change of the leader only.
    assert leader_of(other) == "one"


def test_when_a_leader_is_silent_another_takes_over_not_early(join: Join) -> None:
    start = time.monotonic()  # A node has its lease from the start, and is slow to renew it.
    one, other = join("one"), join("other")
    assert one.attempt_to_acquire_leader()
    wait_until(lambda: leader_of(other) == "one")
    while not other.attempt_to_acquire_leader():
        other.watch(None, TTL_S / 4)
        assert time.monotonic() - start < TTL_S + LATE_MAX_S
    assert time.monotonic() - start >= TTL_S
    for node in (one, other):
        wait_until(lambda node=node: leader_of(node) == "other")
    assert not one.update_leader(one.get_cluster(), 1)


def test_a_leader_that_steps_down_wakes_the_others(join: Join) -> None:
    one, other = join("one"), join("other")
    assert one.attempt_to_acquire_leader()
    wait_until(lambda: leader_of(other) == "one")
    assert one.delete_leader(one.get_cluster().leader)
    wait_until(lambda: leader_of(other) is None)
    assert other.attempt_to_acquire_leader()


def test_settings_are_changed_from_the_version_that_was_read_only(join: Join) -> None:
    one, other = join("one"), join("other")
    assert one.set_config_value('{"ttl": 30}')
    wait_until(lambda: other.get_cluster().config is not None)
    version = other.get_cluster().config.modify_version
    assert other.set_config_value('{"ttl": 20}', version)
    assert not one.set_config_value('{"ttl": 10}', version)
    wait_until(lambda: one.get_cluster().config.data == {"ttl": 20})
    assert one.set_failover_value('{"leader": "one"}')
    assert one.set_sync_state_value('{"leader": "one"}')
    wait_until(lambda: other.get_cluster().failover is not None)
    wait_until(lambda: other.get_cluster().sync.leader == "one")
    assert one.delete_sync_state(other.get_cluster().sync.version)
    assert one.delete_cluster()
    wait_until(lambda: other.get_cluster().config is None)
