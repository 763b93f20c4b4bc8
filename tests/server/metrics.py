"""Reading a page of metrics the way Prometheus does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.metrics.exposition import render
from server.metrics.sources import Sources

GOLDEN: Final = Path(__file__).with_name("metric_names.txt")

# What etcd's contrib/mixin asks for in its alerts and its Grafana dashboard. The series between
# peers (etcd_network_peer_*) are not there on an etcd of one member either.
MIXIN: Final = {
    "etcd_disk_backend_commit_duration_seconds",
    "etcd_disk_wal_fsync_duration_seconds",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_quota_backend_bytes",
    "grpc_server_handled_total",
    "grpc_server_msg_received_total",
    "grpc_server_msg_sent_total",
    "grpc_server_started_total",
    "process_resident_memory_bytes",
}


_SAMPLE: Final = re.compile(r'([a-zA-Z_:][\w:]*)(\{(?:\w+="(?:[^"\\]|\\.)*",?)*\})? (\S+)')


@dataclass(frozen=True)
class Page:
    types: dict[str, str]  # By family.
    values: dict[str, float]  # By series, with its labels as they stand there.

    def __getitem__(self, series: str) -> float:
        return self.values[series]

    def handled(self, service: str, method: str, kind: str = "unary") -> dict[str, float]:
        """How many calls of a method ended how; codes that none ended with are left out."""
        rest = _method(service, method, kind)
        pattern = re.compile(r'grpc_server_handled_total\{grpc_code="(\w+)",' + re.escape(rest))
        found = {pattern.fullmatch(series): value for series, value in self.values.items()}
        return {match[1]: value for match, value in found.items() if match and value}

    def calls(self, name: str, service: str, method: str, kind: str = "unary") -> float:
        return self.values[f"grpc_server_{name}_total{{{_method(service, method, kind)}"]


def _method(service: str, method: str, kind: str) -> str:
    return f'grpc_method="{method}",grpc_service="etcdserverpb.{service}",grpc_type="{kind}"}}'


def scrape(sources: Sources) -> Page:
    return parse(render(sources).decode())


def parse(text: str) -> Page:
    """Everything on the page; a line that is not of the format is an error."""
    types: dict[str, str] = {}
    values: dict[str, float] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            assert line.split(" ", 3)[3], "a help text that says nothing"
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family not in types, f"{family} comes twice"
            types[family] = kind
        else:
            match = _SAMPLE.fullmatch(line)
            assert match is not None, f"no sample: {line}"
            name, labels, value = match.groups(default="")
            assert name + labels not in values, f"{name}{labels} comes twice"
            values[name + labels] = float(value)
    return Page(types, values)
