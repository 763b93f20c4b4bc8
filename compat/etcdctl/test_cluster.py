"""What the server says of itself: members, status, hashes, alarms."""

import json
import re

from compat.etcdctl.command import Etcdctl
from compat.targets import Server
from compat.waiting import wait_until

SEMVER = re.compile(r"\d+\.\d+\.\d+")


def test_the_cluster_has_one_member_that_is_started_and_no_learner(
    etcdctl: Etcdctl, server: Server
) -> None:
    fields = etcdctl("member", "list").strip().split(", ")
    assert re.fullmatch(r"[0-9a-f]{1,16}", fields[0])
    assert (fields[1], fields[4], fields[5]) == ("started", server.url, "false")
    listed = json.loads(etcdctl("member", "list", "-w", "json"))
    [member] = listed["members"]
    assert f"{member['ID']:x}" == fields[0]
    assert member["clientURLs"] == [server.url]
    assert member["name"] == fields[2]
    assert listed["header"]["member_id"] == member["ID"]


def test_status_names_a_version_and_a_leader_and_counts_bytes(
    etcdctl: Etcdctl, server: Server, prefix: str
) -> None:
    etcdctl("put", f"{prefix}key", "value")
    [answer] = json.loads(etcdctl("endpoint", "status", "-w", "json"))
    status = answer["Status"]
    assert answer["Endpoint"] == server.endpoint
    assert SEMVER.fullmatch(status["version"])
    assert status["leader"] == status["header"]["member_id"] != 0
    assert status["raftTerm"] >= 1
    assert status["raftIndex"] >= status["raftAppliedIndex"] > 0
    assert status["dbSize"] >= status["dbSizeInUse"] > 0
    assert "errors" not in status


def test_status_as_text_says_that_the_only_member_leads(etcdctl: Etcdctl, server: Server) -> None:
    fields = etcdctl("endpoint", "status").strip().split(", ")
    assert fields[0] == server.endpoint
    assert fields[4:6] == ["true", "false"]
    of_cluster = etcdctl("endpoint", "status", "--cluster").strip().split(", ")
    assert of_cluster[0] == server.url
    assert of_cluster[1] == fields[1]


def test_the_sizes_and_the_raft_index_grow_with_what_is_written(
    etcdctl: Etcdctl, fresh_server: Server
) -> None:
    def status() -> dict[str, int]:
        [answer] = json.loads(etcdctl("endpoint", "status", "-w", "json"))
        assert answer["Endpoint"] == fresh_server.endpoint
        numbers: dict[str, int] = answer["Status"]
        return numbers

    etcdctl("put", "key", "x" * 1000)  # An empty store of Tenure's has no size.
    before = status()
    for number in range(10):
        etcdctl("put", f"key-{number}", "x" * 50_000)
    # etcd counts what its backend has committed, which it does ten times a second.
    wait_until(lambda: status()["dbSizeInUse"] >= before["dbSizeInUse"] + 400_000)
    after = status()
    assert after["raftIndex"] >= before["raftIndex"] + 10
    assert after["raftTerm"] == before["raftTerm"]


def test_an_unreachable_endpoint_is_unhealthy(etcdctl: Etcdctl, fresh_server: Server) -> None:
    assert etcdctl.run("endpoint", "health").code == 0
    fresh_server.stop()
    result = etcdctl.run("endpoint", "health", "--command-timeout=1s", "--dial-timeout=1s")
    assert result.code == 1
    assert f"{fresh_server.endpoint} is unhealthy" in result.stdout + result.stderr


def test_cluster_and_member_are_the_same_after_a_restart(
    etcdctl: Etcdctl, fresh_server: Server
) -> None:
    etcdctl("put", "key", "value")
    members, hashed = etcdctl("member", "list"), etcdctl("endpoint", "hashkv")
    before = json.loads(etcdctl("get", "key", "-w", "json"))
    fresh_server.restart()
    after = json.loads(etcdctl("get", "key", "-w", "json"))
    assert after["kvs"] == before["kvs"]
    for field in ("cluster_id", "member_id", "revision"):
        assert after["header"][field] == before["header"][field]
    assert after["header"]["raft_term"] >= before["header"]["raft_term"]
    assert etcdctl("member", "list") == members
    assert etcdctl("endpoint", "hashkv") == hashed
