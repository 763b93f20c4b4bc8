"""`etcdctl` on a bad day, and its own checks of whether a server is fast and small enough."""

import os
import re

import pytest

from compat.etcdctl.command import Etcdctl
from compat.python_etcd3 import Connect
from compat.targets import Server, Target

NO_SPACE = "etcdserver: mvcc: database space exceeded"
PERF_S = 60  # How long `check perf` takes; no flag makes it shorter.


def test_an_alarm_is_listed_felt_told_of_and_disarmed(
    etcdctl: Etcdctl, connect: Connect, fresh_server: Server
) -> None:
    assert fresh_server.endpoint == etcdctl.endpoint
    etcdctl("put", "key", "1")
    connect().create_alarm(5)
    assert etcdctl("alarm", "list") == "memberID:5 alarm:NOSPACE \n"
    for command in (("put", "key", "2"), ("lease", "grant", "60")):
        refused = etcdctl.run(*command)
        assert refused.code == 1
        assert NO_SPACE in refused.stderr
    assert etcdctl("del", "key") == "1\n"
    unwell = etcdctl.run("endpoint", "health")
    if etcdctl.line == "3.4":  # It does not ask for alarms.
        assert unwell.code == 0
    else:
        assert unwell.code == 1
        assert f"{etcdctl.endpoint} is unhealthy" in unwell.stdout + unwell.stderr
    assert "memberID:5 alarm:NOSPACE" in etcdctl("endpoint", "status")
    assert etcdctl("alarm", "disarm") == "memberID:5 alarm:NOSPACE \n"
    assert etcdctl("alarm", "list") == ""
    assert etcdctl("put", "key", "2") == "OK\n"
    assert etcdctl.run("endpoint", "health").code == 0


def test_every_member_is_defragmented(etcdctl: Etcdctl, server: Server) -> None:
    assert etcdctl("defrag", "--cluster") == (f"Finished defragmenting etcd member[{server.url}]\n")


def test_the_data_scale_check_reads_the_servers_memory(
    etcdctl: Etcdctl, fresh_server: Server, target: Target
) -> None:
    """It asks where gRPC is served, and over TLS believes the system's authorities only."""
    done = etcdctl.run("check", "datascale", "--load=s", "--auto-compact", "--auto-defrag")
    said = done.stdout + done.stderr
    if not target.has_one_port or fresh_server.scheme != "http":
        assert done.code == 1
        assert "FAIL: Could not read process_resident_memory_bytes" in said
        return
    assert done.code == 0, said
    assert re.search(r"PASS: Approximate system memory used : -?\d+\.\d+ MB\.", said)
    assert etcdctl("get", "/etcdctl-check-datascale/", "--prefix", "--keys-only") == ""


@pytest.mark.skipif(
    "COMPAT_PERF" not in os.environ, reason=f"takes {PERF_S} s; COMPAT_PERF=1 has it done"
)
@pytest.mark.timeout(2 * PERF_S)
def test_the_performance_check_is_passed(etcdctl: Etcdctl, fresh_server: Server) -> None:
    assert fresh_server.endpoint == etcdctl.endpoint
    with etcdctl.running("check", "perf", "--load=s") as running:
        done = running.end(PERF_S + 30)
    assert done.code == 0, done
    for passed in ("Throughput is", "Slowest request took", "Stddev is"):
        assert f"PASS: {passed}" in done.stdout
