"""The answers to keepalives, many at once: what a server of leases does most.

A client sends the same few bytes for a lease again and again, and until the revision moves they
have the same answer. So both are remembered: which lease a message names, and its answer. What is
remembered is only ever a short way to what `LeaseService.renew_now` would do; whatever is out of
the ordinary (a lease that is due, gone or not settled, a message with more in it) is left to that.

Bound: `KNOWN_MAX` messages, which are 11 bytes at most: an id and nothing else.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from etcdpb.rpc_pb2 import LeaseKeepAliveRequest
from lease.errors import LeaseNotFoundError
from lease.lessor import Lease, LeaseID
from mvcc.record import varint
from server.commands.base import State
from server.engine import Engine
from server.header import Headers

KNOWN_MAX: Final = 32_768  # Some 10 MB.
# Messages that find no room until all are forgotten: those remembered may not be sent any more. So
# seldom, because where more leases are renewed in turn than can be remembered, to learn is a loss.
PASSED_OVER_MAX: Final = 8 * KNOWN_MAX
_ID: Final = b"\x10"  # LeaseKeepAliveResponse.ID, field 2. Its varint is the request's.
_TTL: Final = b"\x18"  # LeaseKeepAliveResponse.TTL, field 3.
_NEGATIVE_OCTETS: Final = 10  # Of the varint of a negative int64.


class Renewals:
    def __init__(self, engine: Engine, state: State, headers: Headers) -> None:
        self._engine = engine
        self._auth = state.auth
        self._store = state.store
        self._lessor = state.lessor
        self._headers = headers
        self._leases: dict[bytes, Lease] = {}  # By the message that names it.
        # By message; all of them begin with `_header`, and are of the lease in `_leases`.
        self._replies: dict[bytes, bytes] = {}
        self._header = b""
        # What stands around the id in an answer: for this header, and for the TTL of the last one.
        self._before = self._after = b""
        self._ttl = 0
        self._passed_over = 0  # Messages that there was no room for, since all were forgotten.

    def __call__(self, messages: list[bytes]) -> list[bytes]:
        """Renew the leases of `messages` up to the first that is not to be renewed just so."""
        if self._auth.enabled or not self._auth.is_settled:
            return []  # Who may renew what, the coroutine asks.
        leases = self._leases
        found = list(map(leases.get, messages))
        named = found if None not in found else self._learnt(messages)
        # The header is of the time before the renewal; see `LeaseService.renew_now`.
        header = self._headers.at(self._store.published)
        count = self._engine.renew_all(named)  # type: ignore[arg-type]  # no None in it
        if count < len(messages):
            self._forget(messages[count])
            messages = messages[:count]
        if header != self._header:
            self._begin(header)
        replies = list(map(self._replies.get, messages))
        if None in replies:
            return self._made(messages, named)  # type: ignore[arg-type]  # as above
        return replies  # type: ignore[return-value]  # no None in it

    def alone(self, message: bytes) -> bytes | None:
        """Renew the lease of one message, if it is to be renewed just so.

        Half of what the way for many costs, where lease and answer are remembered. They need not
        be: a server may have a million leases, and a revision between any two renewals.
        """
        auth = self._auth
        if auth.enabled or auth.durable_revision != auth.revision:  # As `is_settled`.
            return None
        known = self._leases.get(message)
        lease = known or self._named(message)
        if lease is None:
            return None
        header = self._headers.at(self._store.published)  # Before the renewal, as below.
        if not self._engine.renew_known(lease):
            self._forget(message)
            return None
        if header != self._header:
            self._begin(header)
        elif known is not None and (reply := self._replies.get(message)) is not None:
            return reply
        reply = self._reply(message, lease)
        if known is not None or self._has_room():
            self._leases[message] = lease
            self._replies[message] = reply
        return reply

    def _begin(self, header: bytes) -> None:
        """Another revision: all answers are made anew."""
        self._replies.clear()
        self._header = header
        self._before = header + _ID

    def _reply(self, message: bytes, lease: Lease) -> bytes:
        if lease.ttl != self._ttl:
            self._ttl = lease.ttl
            self._after = _TTL + varint(lease.ttl)
        return self._before + message[1:] + self._after

    def _has_room(self) -> bool:
        """Whether one more may be remembered. All are forgotten once very many were not."""
        if len(self._leases) < KNOWN_MAX:
            return True
        self._passed_over += 1
        if self._passed_over <= PASSED_OVER_MAX:
            return False
        self._forget_all()
        return True

    def _forget(self, message: bytes) -> None:
        """It may be gone, and would stay here for as long as the revision does."""
        self._leases.pop(message, None)
        self._replies.pop(message, None)

    def _forget_all(self) -> None:
        self._leases.clear()
        self._replies.clear()
        self._passed_over = 0

    def _learnt(self, messages: list[bytes]) -> list[Lease]:
        """The leases of `messages`, up to the first that names none and nothing but one."""
        named: list[Lease] = []
        for message in messages:
            lease = self._leases.get(message)
            if lease is None:
                lease = self._named(message)
                if lease is None:
                    break
                if self._has_room():
                    self._leases[message] = lease
            named.append(lease)
        return named

    def _named(self, message: bytes) -> Lease | None:
        try:
            request = LeaseKeepAliveRequest.FromString(message)
            lease = self._lessor.lookup(LeaseID(request.ID))
        except (DecodeError, LeaseNotFoundError):
            return None
        # An id can be written in more than one way, and fields may stand beside it. All of them are
        # longer than the id and its tag.
        octets = _NEGATIVE_OCTETS if lease.id < 0 else (lease.id.bit_length() + 6) // 7
        return lease if len(message) == 1 + octets else None

    def _made(self, messages: list[bytes], leases: list[Lease]) -> list[bytes]:
        made = []
        for message, lease in zip(messages, leases, strict=False):  # Some may not be renewed.
            reply = self._replies.get(message)
            if reply is None:
                reply = self._reply(message, lease)
                if message in self._leases:
                    self._replies[message] = reply
            made.append(reply)
        return made
