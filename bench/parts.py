"""Every part of the bench by its name: what it needs, and how the asked options reach it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench import (
    authority,
    bulk,
    clientv3,
    fair,
    fanout,
    floor,
    gotool,
    h2load,
    latency,
    load,
    memory,
    recovery,
    size,
    stalls,
    storm,
    streams,
)
from bench.report import Section
from bench.servers import ETCD, Contender

SHORT_SECONDS: Final = 0.7
SHORT_ETCD_SIZE_MAX: Final = 100_000  # Filling a million takes etcd minutes, and has no target.


@dataclass(frozen=True, slots=True)
class Ask:
    """What was asked for on the command line."""

    contenders: Sequence[Contender]
    options: argparse.Namespace
    directory: Path
    short: bool

    def without(self, name: str) -> Ask:
        kept = [each for each in self.contenders if each.name != name]
        return replace(self, contenders=kept)

    @property
    def seconds(self) -> float:
        return float(self.options.seconds or (SHORT_SECONDS if self.short else 1.5))

    def rounds(self, usual: int, short: int = 3) -> int:
        return int(self.options.rounds or (short if self.short else usual))

    @property
    def levels(self) -> list[load.Level]:
        if self.options.levels is None:
            return [(1, 1), (8, 16)] if self.short else list(load.LEVELS)
        pairs = (each.split("x") for each in self.options.levels.split(","))
        return [(int(connections), int(in_flight)) for connections, in_flight in pairs]

    @property
    def sizes(self) -> list[int]:
        if self.options.sizes is None:
            return list(size.SIZES)
        return [int(each) for each in self.options.sizes.split(",")]


@dataclass(frozen=True, slots=True)
class Part:
    """`in_short`: the short run has it, with fewer workloads and rounds."""

    name: str
    measure: Callable[[Ask], Section]
    needs: Callable[[], list[str]] = list
    in_short: bool = False
    takes_kine: bool = False  # It leaves out most of leases, and the loads allow for that.


def _load(ask: Ask, *, tls: bool) -> Section:
    if not (h2load.available() or gotool.available()):
        raise RuntimeError("; ".join(load.missing()))
    levels = [each for each in ask.levels if not (ask.short and tls and each == (1, 1))]
    return load.measure(
        ask.contenders, rounds=ask.rounds(5), seconds=ask.seconds, seed=ask.options.seed,
        directory=ask.directory, only=ask.options.only, levels=levels, short=ask.short,
        certificates=authority.make(ask.directory) if tls else None,
    )  # fmt: skip


def _of_leases(
    measure: Callable[..., Section], leases: int, short: int
) -> Callable[[Ask], Section]:
    """Parts that make `leases` leases unless told otherwise, in `short` rounds in the short run."""
    return lambda ask: measure(
        ask.contenders, leases=ask.options.leases or leases, rounds=ask.rounds(3, short),
        seed=ask.options.seed, directory=ask.directory,
    )  # fmt: skip


def _alone_if_short(
    measure: Callable[..., Section], leases: int, short: int
) -> Callable[[Ask], Section]:
    """The short run leaves etcd 3.5 out, which takes minutes: for very many keys of one lease, or
    for very many leases that end together.
    """
    of_leases = _of_leases(measure, leases, short)
    return lambda ask: of_leases(ask.without(ETCD) if ask.short else ask)


def _streams(ask: Ask) -> Section:
    return streams.measure(
        ask.contenders, leases=ask.options.leases, rounds=ask.rounds(3), seconds=ask.seconds * 2,
        seed=ask.options.seed, directory=ask.directory,
    )  # fmt: skip


def _clientv3(ask: Ask) -> Section:
    return clientv3.measure(
        ask.contenders, rounds=ask.rounds(5, 5), seconds=ask.seconds * (1.5 if ask.short else 1),
        seed=ask.options.seed, directory=ask.directory, short=ask.short,
    )  # fmt: skip


def _fanout(ask: Ask) -> Section:
    return fanout.measure(
        ask.contenders, rounds=ask.rounds(3), seconds=ask.seconds, directory=ask.directory
    )


def _size(ask: Ask) -> Section:
    most = ask.options.etcd_size_max or (SHORT_ETCD_SIZE_MAX if ask.short else max(size.SIZES))
    return size.measure(
        ask.contenders, sizes=ask.sizes, etcd_size_max=most, rounds=ask.rounds(3),
        seconds=ask.seconds, seed=ask.options.seed, directory=ask.directory,
    )  # fmt: skip


def _fsync(ask: Ask) -> Section:
    return floor.measure(
        ask.contenders, rounds=ask.rounds(3), seconds=ask.seconds, directory=ask.directory
    )


def _latency(ask: Ask) -> Section:
    return latency.measure(
        ask.contenders, rounds=ask.rounds(3), seconds=ask.seconds, directory=ask.directory
    )


def _stalls(ask: Ask) -> Section:
    return stalls.measure(
        ask.contenders, leases=ask.options.leases, rounds=ask.rounds(1), seconds=ask.seconds,
        seed=ask.options.seed, directory=ask.directory,
    )  # fmt: skip


def _fair(ask: Ask) -> Section:
    return fair.measure(ask.contenders, rounds=ask.rounds(1), directory=ask.directory)


def _h2load() -> list[str]:
    return [] if h2load.available() else [h2load.HOW_TO_INSTALL]


def _go() -> list[str]:
    return [] if gotool.available() else [gotool.HOW_TO_INSTALL]


PARTS: Final = (
    Part("load", lambda ask: _load(ask, tls=False), load.missing, in_short=True, takes_kine=True),
    Part("tls", lambda ask: _load(ask, tls=True), load.missing, in_short=True, takes_kine=True),
    Part("clientv3", _clientv3, _go, in_short=True),
    Part("keepalives", _streams, _go, in_short=True),
    Part("watch", _fanout, _go, in_short=True),
    Part("fsync", _fsync, _h2load, in_short=True),
    Part("bulk", _alone_if_short(bulk.measure, bulk.KEYS, 1), in_short=True),
    Part("storm", _alone_if_short(storm.measure, 100_000, 3), in_short=True),
    Part("size", _size, _go, in_short=True),
    Part("storm-20000", _of_leases(storm.measure, storm.LEASES, 1)),
    Part("recovery", _of_leases(recovery.measure, recovery.LEASES, 1)),
    Part("memory", _of_leases(memory.measure, memory.LEASES, 1)),
    Part("latency", _latency, _h2load),
    Part("stalls", _stalls),
    Part("fair", _fair),
)
PARTIAL: Final = ("load", "tls")  # They run what the tools at hand can, and say what is missing.
