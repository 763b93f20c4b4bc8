"""One run of the process: opens what is on disk, starts everything in order, ends it in reverse.

Nothing else opens a store for a running server; what stands on it is put together by
`server.core`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mvcc.backend.base import Backend
from mvcc.backend.errors import (
    BackendCorruptError,
    BackendError,
    CorruptMarkError,
    StoreShortError,
)
from mvcc.backend.mark import Mark
from mvcc.backend.memory import MemoryBackend
from mvcc.backend.rocks import RocksBackend
from server import systemd
from server.clock import Clock, SystemClock
from server.core import Core, build_core
from server.datadir import DataDir, Lock
from server.deadlines.keeping import Keeping
from server.deadlines.layout import BOOT_ID_FILE
from server.flusher import Flusher, InlineFlusher, ThreadFlusher
from server.identity import bootstrap_identity
from server.log import fields
from server.logins import gate_maker
from server.loop import new_event_loop
from server.metrics.observed import Observed
from server.metrics.sources import Sources
from server.recovery import DamageError, Recovered, recover
from server.settings.config import Config, StartError
from server.socket_files import SocketFiles
from server.tls import open_tls
from server.transport.base import Transport
from server.transport.dispatch import MethodTable
from server.transport.front import make_front
from server.transport.room import raise_files_limit
from server.version import CLUSTER_VERSION, ETCD_VERSION, TENURE_VERSION

if TYPE_CHECKING:
    from server.http.app import HttpApp

logger = logging.getLogger(__name__)

DRAIN_GRACE_S: Final = 2.0  # For calls under way when the server is told to end.
HTTP_LOADED_AFTER_S: Final = 1.0  # From when gRPC is served: nobody waits for it but HTTP.
HTTP_MODULE_EVERY_S: Final = 0.1  # Each stops the loop, so what is sent meanwhile waits for one.
# In an order in which no import takes the loop longer than some 10 ms.
HTTP_MODULES: Final = (
    "h11", "click", "uvicorn.config", "uvicorn.protocols.http.h11_impl", "starlette.datastructures",
    "starlette.applications", "server.transport.http1", "server.http.app",
)  # fmt: skip
GC_THRESHOLDS: Final = (50_000, 50, 100)  # A full collection walks every key; make it rare.
FATAL_EXIT: Final = 1
_LISTENING: Final = "ready to serve client requests"  # Waited for by etcd's own test harness.


def run(config: Config, clock: Clock | None = None, boot_id_file: Path = BOOT_ID_FILE) -> int:
    """Serve until a signal; returns its negative number.

    The command gives neither a `clock` nor a `boot_id_file`: they are the machine's own, except
    for tests of what may not depend on them.

    Raises:
        StartError: the server cannot start with these settings, or on this data.
    """
    raise_files_limit()
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        code = loop.run_until_complete(_run(config, clock or SystemClock(), boot_id_file))
    except BaseException:
        loop.close()
        raise
    # All is closed but the sockets, and the loop is left as it stands: cancelling what is left in
    # it, as `asyncio.run` would, lets grpc tell clients that they themselves cancelled.
    return code


async def _run(config: Config, clock: Clock, boot_id_file: Path) -> int:
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()

    def on_signal(number: int) -> None:
        if not told.done():
            told.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    server = asyncio.ensure_future(_Server(config, clock, boot_id_file).serve(told))
    await asyncio.wait((server, told), return_when=asyncio.FIRST_COMPLETED)
    if not server.done():
        logger.info(
            "received signal; shutting down", extra=fields(signal=signal.Signals(await told).name)
        )
        systemd.notify(systemd.STOPPING, os.environ)
    await server
    return -told.result()


class _Server:
    """One run of the process, from the data directory to the last file closed."""

    def __init__(self, config: Config, clock: Clock, boot_id_file: Path) -> None:
        self._config = config
        self._clock = clock
        self._boot_id_file = boot_id_file
        self._lock: Lock | None = None
        self._mark: Mark | None = None
        self._keeping: Keeping | None = None
        self._backend: Backend | None = None
        self._socket_files = SocketFiles()

    async def serve(self, told: asyncio.Future[int]) -> None:
        """Returns once `told` is done and everything is closed.

        Raises:
            StartError
        """
        try:
            if not await self._open(told):
                return
            await self._serve(told)
        finally:
            self._socket_files.remove()
            self._close_backend()
            if self._keeping is not None:
                self._keeping.close()
            if self._mark is not None:
                self._mark.close()
            if self._lock is not None:
                self._lock.release()

    def _close_backend(self) -> None:
        """Failing here loses nothing: all that was acknowledged is in the log by now."""
        if self._backend is None:
            return
        try:
            self._backend.close()
        except BackendError as error:
            logger.error(  # noqa: TRY400  # a trace would add nothing
                "the store could not be written out; the next start replays its log",
                extra=fields(error=str(error)),
            )

    async def _open(self, told: asyncio.Future[int]) -> bool:
        """Lock the data directory and open what is in it; False if told to end meanwhile."""
        if self._config.ephemeral:
            self._backend = MemoryBackend()
            return True
        directory = DataDir.prepare(self._config.data_dir)
        locking = asyncio.ensure_future(directory.lock(self._clock, directory.remark_on_wait))
        await asyncio.wait((locking, told), return_when=asyncio.FIRST_COMPLETED)
        if not locking.done():
            locking.cancel()
            return False
        self._lock = await locking
        directory.refuse_half_repaired()
        try:
            if not directory.is_new and not directory.mark.exists():
                logger.warning(
                    "the mark of what was acknowledged is missing; cannot tell if data was lost",
                    extra=fields(path=str(directory.mark)),
                )
            self._mark = Mark.open(directory.mark)
            # Checked before RocksDB opens it, which deletes a log that it cannot read to its end.
            check = self._mark.check_sequence
            self._backend = RocksBackend.open(
                directory.store, fsync=not self._config.unsafe_no_fsync, check=check
            )
        except (BackendCorruptError, CorruptMarkError, StoreShortError) as error:
            raise StartError(f"{error}. {directory.way_on}") from error
        except (BackendError, OSError) as error:
            raise StartError(str(error)) from error
        self._keeping = Keeping(
            directory, keeps=self._config.keeps_renewals, boot_id_file=self._boot_id_file
        )
        return True

    def _recover(self, backend: Backend) -> Recovered:
        config = self._config
        try:
            return recover(
                backend,
                lambda: bootstrap_identity(config),
                ttl_min=config.lease_ttl_min,
                revoke_rate=config.lease_revoke_rate,
                mark=self._mark,
                gate=gate_maker(config, self._clock, time.time),
                deadlines=None if self._keeping is None else self._keeping.table,
            )
        except DamageError as error:
            raise StartError(f"{error}. {DataDir(config.data_dir).way_on}") from error

    async def _serve(self, told: asyncio.Future[int]) -> None:
        config, backend = self._config, self._backend
        assert backend is not None
        began = self._clock.now()
        gc.disable()  # Everything that recovery makes stays; walking it again and again is waste.
        recovered = self._recover(backend)
        state = recovered.state
        flusher: Flusher
        observed = Observed()
        if config.ephemeral or config.unsafe_no_fsync:
            flusher = InlineFlusher(backend)
        else:
            flusher = ThreadFlusher(backend, asyncio.get_running_loop(), on_synced=observed.synced)
        core = build_core(
            config,
            recovered,
            flusher,
            self._clock,
            mark=self._mark,
            unix_ms=time.time_ns() // 1_000_000,
            on_fatal=self._die,
            observed=observed,
        )
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()
        if self._keeping is None:
            state.lessor.promote(0, now=self._clock.now())
        else:
            self._keeping.promote(state.lessor, start=recovered.term, now=self._clock.now())
        logger.info(
            "recovered",
            extra=fields(
                revision=state.store.current,
                keys=len(state.store.index),
                leases=len(state.lessor),
                took_s=round(self._clock.now() - began, 3),
            ),
        )
        transport = await self._listen(core)
        background = asyncio.ensure_future(core.serve())
        background.add_done_callback(self._die_of_bug)
        self._announce(recovered)
        await told
        # Nothing expires and nobody is renewed from here on: those leases are the next start's.
        core.engine.horizon()  # What they have left is counted up to here.
        state.lessor.demote()
        await transport.drain(DRAIN_GRACE_S)
        background.cancel()
        await asyncio.wait((background,))  # Until it has ended it may ask the engine for more.
        await core.engine.drained()
        core.stop()
        logger.info("closed", extra=fields(revision=state.store.published))

    def _die(self, error: BaseException) -> None:
        if self._keeping is not None:
            self._keeping.invalidate()
        die(error)

    def _die_of_bug(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._die(error)

    async def _listen(self, core: Core) -> Transport:
        config = self._config
        tls = open_tls(config, self._clock, unix_s=time.time)
        make_app = partial(_make_app, metrics=core.metrics)
        front = make_front(config, core.methods, core.outbox, self._clock, make_app, tls)
        for urls, listen in (
            (config.listen_client_urls, front.listen),
            (config.listen_client_http_urls, front.listen_http),
            (config.listen_metrics_urls, front.listen_metrics),
        ):
            for url in urls:
                try:
                    await listen(url)
                    self._socket_files.listened(url)
                except OSError as error:
                    raise StartError(f"listen {url}: {error}") from error
        await front.start()
        loop = asyncio.get_running_loop()
        loop.call_later(HTTP_LOADED_AFTER_S, _load_http, loop, HTTP_MODULES)
        if not config.serves_http:
            logger.warning(
                "HTTP is not served: beside grpcio it needs URLs of its own,"
                " given by --listen-client-http-urls"
            )
        return front

    def _announce(self, recovered: Recovered) -> None:
        identity = recovered.identity
        logger.info(
            "serving as",
            extra=fields(
                etcd_version=ETCD_VERSION,
                cluster_version=CLUSTER_VERSION,
                tenure_version=TENURE_VERSION,
                member_id=f"{identity.member_id:x}",
                cluster_id=f"{identity.cluster_id:x}",
                term=recovered.term,
            ),
        )
        if self._config.auth_token == "simple":
            logger.warning("simple token is not cryptographically signed")
        logger.info(_LISTENING)
        config = self._config
        for url in (*config.listen_client_urls, *config.listen_client_http_urls):
            logger.info(
                "serving client traffic securely"
                if url.is_tls
                else "serving client traffic insecurely; this is strongly discouraged!",
                extra=fields(address=str(url)),
            )
        for url in config.listen_metrics_urls:
            logger.info("serving metrics", extra=fields(address=str(url)))
        systemd.notify(systemd.READY, os.environ)


def _load_http(loop: asyncio.AbstractEventLoop, names: tuple[str, ...]) -> None:
    """Import what the first request by HTTP needs, one by one, so that it finds it there."""
    import_module(names[0])
    if names[1:]:
        loop.call_later(HTTP_MODULE_EVERY_S, _load_http, loop, names[1:])


def _make_app(config: Config, methods: MethodTable, metrics: Sources) -> HttpApp:
    from server.http.app import HttpApp  # Only here: see `server.transport.web`.

    return HttpApp(config, methods, metrics)


def die(error: BaseException) -> None:
    """Memory and disk disagree, or may: say so and stop before anything more is answered."""
    logger.critical(
        "cannot go on; stopping at once", extra=fields(error=str(error)), exc_info=error
    )
    logging.shutdown()
    os._exit(FATAL_EXIT)
