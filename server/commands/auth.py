"""Changes to users and roles, and the token that a login ends with."""

from __future__ import annotations

import logging
from collections.abc import Callable

from server.auth.changes import Change
from server.auth.errors import AuthNotEnabledError
from server.auth.store import AuthStore
from server.commands.base import State, WritesOnly
from server.log import fields

logger = logging.getLogger(__name__)


class ChangeAuth(WritesOnly):
    """What `decide` makes of the users and roles there are; for root only, once they count.

    The result is the store's revision, which it does not move.
    """

    __slots__ = ("_change", "_decide")

    def __init__(self, decide: Callable[[AuthStore], Change]) -> None:
        self._decide = decide

    def check(self, state: State) -> None:
        if state.auth.enabled:
            state.principal().must_be_root()
        self._change = self._decide(state.auth)

    def apply(self, state: State) -> int:
        change = self._change
        change.make(state.auth)
        if change.forgets is not None:
            state.gate.tokens.forget(change.forgets)
        if not state.auth.enabled:
            state.gate.tokens.clear()
        logger.info(change.event, extra=fields(**change.details))
        return state.store.current


class IssueToken(WritesOnly):
    """A token for a user whose password was right as of an auth revision.

    The result is None if users or roles have changed since: the password must be looked at again.
    """

    __slots__ = ("_checked_revision", "_name")

    def __init__(self, name: str, checked_revision: int) -> None:
        self._name = name
        self._checked_revision = checked_revision

    def check(self, state: State) -> None:
        if not state.auth.enabled:
            raise AuthNotEnabledError
        state.gate.tokens.check_issue()

    def apply(self, state: State) -> str | None:
        if self._checked_revision != state.auth.revision:
            return None
        return state.gate.issue(self._name, state.store.backend.sequence())
