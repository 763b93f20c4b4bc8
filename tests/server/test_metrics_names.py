"""The names, types and labels are API: dashboards and alerts are written against them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

from etcdpb import health_pb2, rpc_pb2, v3election_pb2, v3lock_pb2
from server.metrics.text import number
from tests.server.metrics import GOLDEN, MIXIN, scrape
from tests.support.serving import Running, served

CODES: Final = (  # noqa: SIM905  # a list would be seventeen lines
    "OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied"
    " ResourceExhausted FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable"
    " DataLoss Unauthenticated"
).split()


@served()
async def test_names_and_types_are_these_and_no_others(server: Running) -> None:
    """Each line that names an etcd_, grpc_server_, process_ or os_ metric stands in etcd's page."""
    types = scrape(server.core.metrics).types
    assert [f"{name} {kind}" for name, kind in types.items()] == GOLDEN.read_text().splitlines()


def test_what_alerts_and_dashboards_ask_for_is_there() -> None:
    assert {line.split()[0] for line in GOLDEN.read_text().splitlines()} >= MIXIN


@served()
async def test_every_code_of_every_method_is_there_before_the_first_call(server: Running) -> None:
    handled = {
        series: value
        for series, value in scrape(server.core.metrics).values.items()
        if series.startswith("grpc_server_handled_total")
    }
    methods = [
        method
        for file in (rpc_pb2, v3lock_pb2, v3election_pb2, health_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    kinds = {
        (False, False): "unary",
        (False, True): "server_stream",
        (True, True): "bidi_stream",
    }
    assert handled == {
        f'grpc_server_handled_total{{grpc_code="{code}",grpc_method="{method.name}",'
        f'grpc_service="{method.containing_service.full_name}",'
        f'grpc_type="{kinds[method.client_streaming, method.server_streaming]}"}}': 0
        for code, method in itertools.product(CODES, methods)
    }


@served()
async def test_buckets_are_etcds(server: Running) -> None:
    values = scrape(server.core.metrics).values
    for name, first, count in (
        ("etcd_disk_wal_fsync_duration_seconds", 0.001, 14),
        ("etcd_disk_backend_commit_duration_seconds", 0.001, 14),
        ("etcd_debugging_lease_ttl_total", 1, 24),
    ):
        bounds = [*(number(first * 2**power) for power in range(count)), "+Inf"]
        found = [series for series in values if series.startswith(f"{name}_bucket")]
        assert found == [f'{name}_bucket{{le="{bound}"}}' for bound in bounds]


def test_the_page_of_the_metrics_tells_of_each_that_is_ours() -> None:
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    ours = [line.split() for line in GOLDEN.read_text().splitlines() if line.startswith("tenure_")]
    assert ours
    for name, kind in ours:
        assert f"| `{name}` | {kind} |" in text
