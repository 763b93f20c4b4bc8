"""From the credentials of a request to the one who asks. Asked only while authentication counts.

A token that is shown must be good, whatever it is shown for. Without one it is the certificate's
name that counts, if the server was told to ask for certificates; without either it is nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lease.lessor import Lessor
from server.auth.caller import Caller, ServerToken
from server.auth.errors import InvalidTokenError
from server.auth.principal import Principal, ServerPrincipal
from server.auth.store import AuthStore
from server.auth.tokens import Tokens
from server.auth.verdicts import LeaseVerdicts

_BEARER: Final = "Bearer "  # It may stand before a token, as in HTTP.


class Gate:
    def __init__(
        self,
        store: AuthStore,
        lessor: Lessor,
        tokens: Tokens,
        now: Callable[[], float],
        *,
        takes_names_of_certificates: bool,
    ) -> None:
        """`now` is the clock that `tokens` go by."""
        self._store = store
        self._lessor = lessor
        self._now = now
        self._takes_names_of_certificates = takes_names_of_certificates
        self.tokens = tokens
        self.verdicts = LeaseVerdicts()
        self._server = ServerPrincipal(store, lessor, self.verdicts)
        self._nobody = Principal(store, lessor, self.verdicts)

    def principal(self, caller: Caller) -> Principal:
        """Who asks.

        Raises:
            InvalidTokenError
        """
        token = caller.token
        if token is None:
            if self._takes_names_of_certificates and (name := caller.peer_cn):
                return self._somebody(name, self._store.revision)
            return self._nobody
        if isinstance(token, ServerToken):
            return self._server
        shown = token.removeprefix(_BEARER)
        login = self.tokens.find(shown, self._store.revision, self._now())
        if login is None:
            raise InvalidTokenError
        return self._somebody(login.user, login.revision)

    def issue(self, user: str, index: int) -> str:
        """A token for a user who has proved who it is; see `Tokens.issue`."""
        return self.tokens.issue(user, self._store.revision, index, self._now())

    def _somebody(self, name: str, revision: int) -> Principal:
        return Principal(self._store, self._lessor, self.verdicts, name, revision)
