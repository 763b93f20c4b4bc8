"""Everything behind the transport, put together: the one place where the parts meet.

Nothing else constructs an engine or a service for a running server, and no part is changed after
it was made.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

from etcdpb import health_pb2, rpc_pb2, v3election_pb2, v3lock_pb2
from mvcc.backend.mark import Mark
from mvcc.watch import WatchHub
from server.autocompaction import AutoCompactor
from server.clock import Clock
from server.engine import Engine
from server.expiry import Expirer
from server.flusher import Flusher
from server.header import Headers
from server.lease_ids import LeaseIDs
from server.metrics.observed import Observed, ObservedFlusher
from server.metrics.sources import Sources
from server.outbox import Outbox
from server.passwords import Passwords, cost_in_force
from server.patience import Patience
from server.quota import Quota
from server.recovery import Recovered
from server.services.auth import AuthService
from server.services.cluster import ClusterService
from server.services.election import ElectionService
from server.services.guard import Guard
from server.services.health import HealthService
from server.services.kv import KVService
from server.services.lease import LeaseService
from server.services.lock import LockService
from server.services.maintenance import MaintenanceService
from server.services.tails import Tails
from server.services.turns import Turns
from server.services.watch import WatchService
from server.settings.config import Config
from server.slow import Slow
from server.snapshot.buckets import MemberFacts
from server.snapshot.save import Snapshots
from server.sweeper import Sweeper
from server.transport.base import OVERHEAD_BYTES
from server.transport.dispatch import MethodTable


@dataclass(slots=True)
class Core:
    """Everything behind the transport, wired; the tasks are not yet running."""

    recovered: Recovered
    engine: Engine
    hub: WatchHub
    expirer: Expirer
    sweeper: Sweeper
    patience: Patience
    auto_compactor: AutoCompactor | None
    flusher: Flusher
    tails: Tails
    methods: MethodTable
    outbox: Outbox
    metrics: Sources
    passwords: Passwords

    def stop(self) -> None:
        """End the threads, once all that was asked for is done."""
        self.flusher.stop()
        self.passwords.close()

    async def serve(self) -> None:
        """Expire, compact, sweep, give up; until cancelled, or one of them ends with an error."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.expirer.run())
            tasks.create_task(self.sweeper.run())
            tasks.create_task(self.patience.run())
            if self.auto_compactor is not None:
                tasks.create_task(self.auto_compactor.run())


def build_core(
    config: Config,
    recovered: Recovered,
    flusher: Flusher,
    clock: Clock,
    *,
    mark: Mark | None,
    unix_ms: int,
    on_fatal: Callable[[BaseException], None],
    observed: Observed | None = None,
) -> Core:
    """`observed` is what `flusher` tells its fsyncs, if it tells them at all."""
    state, identity = recovered.state, recovered.identity
    backend = state.store.backend
    observed = observed or Observed()
    flusher = ObservedFlusher(flusher, observed.commit_s)
    hub = WatchHub(state.store)
    slow = Slow(config.warning_apply_duration_s)
    outbox = Outbox()
    engine = Engine(
        state,
        backend,
        hub,
        flusher,
        clock,
        outbox,
        acknowledged=mark,
        on_fatal=on_fatal,
        slow=slow,
    )
    headers = Headers(identity.cluster_id, identity.member_id, recovered.term)
    quota = Quota(engine, state, identity.member_id, config.quota_bytes)
    sweeper = Sweeper(
        engine,
        state.compactor,
        clock,
        rows_max=config.compaction_rows,
        pause_s=config.compaction_pause_s,
    )
    lease_ids = LeaseIDs(identity.member_id, unix_ms)
    methods = MethodTable(
        Guard(engine, state), is_timed=config.times_calls, queued=lambda: engine.pending
    )
    services = rpc_pb2.DESCRIPTOR.services_by_name
    kv = KVService(
        engine,
        state,
        headers,
        quota,
        sweeper,
        max_txn_ops=config.max_txn_ops,
        max_request_bytes=config.max_request_bytes,
    )
    leases = LeaseService(engine, state, headers, quota, lease_ids)
    methods.add(services["KV"], kv)
    methods.add(
        services["Watch"],
        WatchService(
            engine,
            state,
            hub,
            headers,
            clock,
            progress_interval_s=config.progress_interval_s,
            max_response_bytes=config.max_request_bytes + OVERHEAD_BYTES,
        ),
    )
    methods.add(services["Lease"], leases)
    methods.add(
        services["Cluster"],
        ClusterService(
            engine,
            state,
            headers,
            name=config.name,
            peer_urls=[url.text for url in config.initial_advertise_peer_urls],
            client_urls=[url.text for url in config.advertise_client_urls],
        ),
    )
    member = MemberFacts(
        identity.member_id,
        config.name,
        [url.text for url in config.initial_advertise_peer_urls],
        [url.text for url in config.advertise_client_urls],
    )
    snapshots = Snapshots(engine, state, headers, member, clock)
    methods.add(
        services["Maintenance"],
        MaintenanceService(engine, state, backend, headers, quota, snapshots),
    )
    methods.add(health_pb2.DESCRIPTOR.services_by_name["Health"], HealthService())
    passwords = Passwords(cost_in_force(config.bcrypt_cost))
    methods.add(
        services["Auth"],
        AuthService(engine, state, headers, passwords, max_request_bytes=config.max_request_bytes),
    )
    tails = Tails(engine, state.store, hub)
    turns = Turns(kv, leases, tails)
    methods.add(v3lock_pb2.DESCRIPTOR.services_by_name["Lock"], LockService(kv, turns))
    methods.add(
        v3election_pb2.DESCRIPTOR.services_by_name["Election"], ElectionService(turns, tails)
    )
    expirer = Expirer(
        engine,
        state.lessor,
        clock,
        revoke_rate=config.lease_revoke_rate,
        on_expired=observed.expiry_lag_s.observe_all,
    )
    auto_compactor = None
    if (retention := config.retention) is not None:
        auto_compactor = AutoCompactor(engine, state.store, sweeper, clock, retention)
    metrics = Sources(
        state,
        engine,
        hub,
        methods.stats(),
        observed,
        slow,
        member_id=identity.member_id,
        quota_bytes=math.inf if config.quota_bytes is None else config.quota_bytes,
    )
    return Core(
        recovered,
        engine,
        hub,
        expirer,
        sweeper,
        Patience(engine, clock, timeout_s=config.request_timeout_s),
        auto_compactor,
        flusher,
        tails,
        methods,
        outbox,
        metrics,
        passwords,
    )
