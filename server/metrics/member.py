"""Who this member is, and how it stands in its cluster of one.

A raft index is the backend's sequence, as in Maintenance.Status: it grows with every change and
with nothing else. What a cluster of one cannot have, a lost heartbeat or a slow read index, is
truthfully 0; dashboards ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from etcdpb.rpc_pb2 import AlarmType
from server.metrics.sources import Sources
from server.metrics.text import Family, Sample, counter, gauge, info, label_text
from server.status import Code
from server.version import CLUSTER_VERSION, ETCD_VERSION

# What etcd puts through raft. One that its client gave up on before it was applied has failed.
_PROPOSING: Final = (
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/DeleteRange",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Compact",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseRevoke",
    "/etcdserverpb.Maintenance/Alarm",
)
_GIVEN_UP: Final = (Code.CANCELLED, Code.DEADLINE_EXCEEDED)
_NEVER: Final = (
    ("etcd_server_heartbeat_send_failures_total", "Heartbeats that could not be sent."),
    ("etcd_server_read_indexes_failed_total", "Read indexes that failed."),
    ("etcd_server_slow_read_indexes_total", "Read indexes that were slow."),
    ("etcd_server_learner_promote_successes", "Learners promoted by this member as the leader."),
)


def families(sources: Sources) -> Iterator[Family]:
    yield from _identity(sources)
    yield from _cluster()
    yield from _proposals(sources)
    yield from _health(sources)
    yield from _auth(sources)


def _identity(sources: Sources) -> Iterator[Family]:
    yield info(
        "etcd_server_version",
        "The etcd version that this server answers as.",
        {"server_version": ETCD_VERSION},
    )
    yield info(
        "etcd_cluster_version",
        "The version that the cluster's members agree on.",
        {"cluster_version": CLUSTER_VERSION.rpartition(".")[0]},
    )
    yield info("etcd_server_id", "This member's id.", {"server_id": f"{sources.member_id:x}"})


def _cluster() -> Iterator[Family]:
    yield gauge("etcd_server_has_leader", "Whether there is a leader.", 1)
    yield gauge("etcd_server_is_leader", "Whether it is this member.", 1)
    yield gauge("etcd_server_is_learner", "Whether this member only learns.", 0)
    yield counter(
        "etcd_server_leader_changes_seen_total",
        "Elections seen; the first was at the start.",
        1,
    )
    yield gauge(
        "etcd_server_snapshot_apply_in_progress_total",
        "Whether a snapshot of the leader's is being applied.",
        0,
    )
    for name, text in _NEVER:
        yield counter(name, text, 0)


def _proposals(sources: Sources) -> Iterator[Family]:
    index = sources.state.store.backend.sequence()
    counted = [sources.calls[path] for path in _PROPOSING if path in sources.calls]
    failed = sum(counts.failed[code] for counts in counted for code in _GIVEN_UP)
    failed += sources.engine.given_up
    yield gauge("etcd_server_proposals_committed_total", "The raft index committed.", index)
    yield gauge("etcd_server_proposals_applied_total", "The raft index applied.", index)
    yield counter(
        "etcd_server_slow_apply_total",
        "Requests that took longer than --warning-apply-duration to apply or to answer.",
        sources.slow.count,
    )
    yield gauge(
        "etcd_server_proposals_pending", "Changes not answered yet.", sources.engine.pending
    )
    yield counter(
        "etcd_server_proposals_failed_total",
        "Changes whose clients gave up, or were told that they timed out.",
        failed,
    )


def _auth(sources: Sources) -> Iterator[Family]:
    state = sources.state
    yield gauge(
        "etcd_debugging_auth_revision",
        "The revision that every change to users and roles moves.",
        state.auth.durable_revision,
    )
    yield gauge("tenure_auth_tokens", "Simple tokens that are remembered.", len(state.gate.tokens))


def _health(sources: Sources) -> Iterator[Family]:
    observed = sources.observed
    yield counter(
        "etcd_server_health_success", "Health checks answered well.", observed.health_success
    )
    yield counter(
        "etcd_server_health_failures", "Health checks answered badly.", observed.health_failures
    )
    checks = sources.observed.checks
    yield Family(
        "etcd_server_healthcheck",
        "gauge",
        "Whether a check went well the last time it was asked for.",
        [
            Sample("", label_text({"type": kind, "name": name}), int(counts.is_well))
            for (kind, name), counts in checks.items()
        ],
    )
    yield Family(
        "etcd_server_healthchecks_total",
        "counter",
        "How often a check was asked for, by how it went.",
        [
            Sample("", label_text({"type": kind, "name": name, "status": status}), number)
            for (kind, name), counts in checks.items()
            for status, number in (("success", counts.successes), ("error", counts.errors))
            if number
        ],
    )
    yield Family(
        "etcd_debugging_server_alarms",
        "gauge",
        "Alarms that stand.",
        [
            Sample(
                "",
                label_text(
                    {
                        "server_id": f"{alarm.memberID:x}",
                        "alarm_type": AlarmType.Name(alarm.alarm),
                    }
                ),
                1,
            )
            for alarm in sources.state.alarms.get(AlarmType.NONE)
        ],
    )
