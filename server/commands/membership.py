"""Deciding about the cluster: the member's peer URLs, a downgrade."""

from __future__ import annotations

from server.commands.base import State, WritesOnly
from server.status import DowngradeInProcessError


class SetPeerURLs(WritesOnly):
    __slots__ = ("_urls",)

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._urls = urls

    def check(self, state: State) -> None: ...

    def apply(self, state: State) -> None:
        assert state.store.batch is not None
        state.store.in_use += state.membership.set_peer_urls(self._urls, state.store.batch)


class EnableDowngrade(WritesOnly):
    __slots__ = ("_target",)

    def __init__(self, target: str) -> None:
        self._target = target

    def check(self, state: State) -> None:
        check_no_downgrade(state)

    def apply(self, state: State) -> None:
        assert state.store.batch is not None
        state.store.in_use += state.membership.set_downgrade(self._target, state.store.batch)


class CancelDowngrade(WritesOnly):
    """The result is whether there was one."""

    __slots__ = ()

    def check(self, state: State) -> None: ...

    def apply(self, state: State) -> bool:
        assert state.store.batch is not None
        was_on = state.membership.downgrade_target is not None
        state.store.in_use += state.membership.end_downgrade(state.store.batch)
        return was_on


def check_no_downgrade(state: State) -> None:
    """Raise DowngradeInProcessError if one is on."""
    if state.membership.downgrade_target is not None:
        raise DowngradeInProcessError
