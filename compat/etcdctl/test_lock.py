"""`etcdctl lock` and `etcdctl elect`: one holder at a time, and the next when it goes.

Both are made of a lease, a transaction and a watch by the client alone. SIGINT is the order to
let go; after SIGKILL only the lease's end does it.
"""

import re
import signal

from compat.etcdctl.command import Etcdctl
from compat.waiting import wait_until

TTL_S = 2
LATE_MAX_S = 10.0


def keys(etcdctl: Etcdctl, prefix: str) -> list[str]:
    """The keys under `prefix`, oldest first."""
    listed = etcdctl("get", "--prefix", f"{prefix}/", "--keys-only", "--sort-by=CREATE")
    return listed.split()


def test_a_lock_is_held_by_one_and_goes_to_the_next_in_line(etcdctl: Etcdctl, prefix: str) -> None:
    name = f"{prefix}lock"
    with etcdctl.running("lock", name) as first:
        first_key = first.line()
        assert re.fullmatch(rf"{name}/[0-9a-f]+", first_key)
        with etcdctl.running("lock", name) as second:
            wait_until(lambda: len(keys(etcdctl, name)) == 2)
            with etcdctl.running("lock", name) as third:
                wait_until(lambda: len(keys(etcdctl, name)) == 3)
                waiting = keys(etcdctl, name)
                assert waiting[0] == first_key
                assert second.silent()
                assert third.silent()
                first.send(signal.SIGINT)
                assert second.line() == waiting[1]
                assert third.silent()
                second.send(signal.SIGINT)
                assert third.line() == waiting[2]
                third.send(signal.SIGINT)
                third.end()
    assert keys(etcdctl, name) == []


def test_a_lock_whose_holder_is_killed_goes_on_when_its_lease_ends(
    etcdctl: Etcdctl, prefix: str
) -> None:
    name = f"{prefix}lock"
    with (
        etcdctl.running("lock", name, f"--ttl={TTL_S}") as first,
    ):
        first.line()
        with etcdctl.running("lock", name) as second:
            wait_until(lambda: len(keys(etcdctl, name)) == 2)
            first.send(signal.SIGKILL)
            assert second.line(TTL_S + LATE_MAX_S) == keys(etcdctl, name)[0]


def test_a_lock_is_held_while_its_command_runs(etcdctl: Etcdctl, prefix: str) -> None:
    name = f"{prefix}lock"
    done = etcdctl.run("lock", name, "--", "sh", "-c", "echo $ETCD_LOCK_KEY; exit 7")
    assert re.fullmatch(rf"{name}/[0-9a-f]+\n", done.stdout)
    assert keys(etcdctl, name) == []


def test_an_election_has_one_leader_and_the_next_when_it_resigns(
    etcdctl: Etcdctl, prefix: str
) -> None:
    name = f"{prefix}election"
    with (
        etcdctl.running("elect", "-l", name) as observer,
        etcdctl.running("elect", name, "one") as first,
    ):
        first_key = first.line()
        assert re.fullmatch(rf"{name}/[0-9a-f]+", first_key)
        assert first.line() == "one"
        assert observer.lines(2) == [first_key, "one"]
        with etcdctl.running("elect", name, "two") as second:
            wait_until(lambda: len(keys(etcdctl, name)) == 2)
            assert second.silent()
            first.send(signal.SIGINT)
            assert second.lines(2) == [keys(etcdctl, name)[0], "two"]
            assert observer.lines(2) == [keys(etcdctl, name)[0], "two"]
            second.send(signal.SIGINT)
            second.end()
    assert keys(etcdctl, name) == []


def test_an_election_goes_on_when_the_lease_of_a_killed_leader_is_revoked(
    etcdctl: Etcdctl, prefix: str
) -> None:
    name = f"{prefix}election"
    with etcdctl.running("elect", name, "one") as first:
        first_key = first.lines(2)[0]
        with etcdctl.running("elect", name, "two") as second:
            wait_until(lambda: len(keys(etcdctl, name)) == 2)
            first.send(signal.SIGKILL)
            assert second.silent()
            # The key ends in the lease's identifier, so that an operator need not wait for its end.
            etcdctl("lease", "revoke", first_key.rpartition("/")[2])
            assert second.lines(2) == [keys(etcdctl, name)[0], "two"]
