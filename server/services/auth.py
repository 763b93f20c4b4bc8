"""etcdserverpb.Auth: requests to decisions and commands, users and roles to replies.

That most of it is for root alone stands in `server.auth.needs`, and is asked again when a change
is applied.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable
from functools import partial

from etcdpb.auth_pb2 import Permission, UserAddOptions
from etcdpb.rpc_pb2 import (
    AuthDisableRequest,
    AuthEnableRequest,
    AuthenticateRequest,
    AuthenticateResponse,
    AuthRoleAddRequest,
    AuthRoleDeleteRequest,
    AuthRoleGetRequest,
    AuthRoleGetResponse,
    AuthRoleGrantPermissionRequest,
    AuthRoleListRequest,
    AuthRoleListResponse,
    AuthRoleRevokePermissionRequest,
    AuthStatusRequest,
    AuthStatusResponse,
    AuthUserAddRequest,
    AuthUserChangePasswordRequest,
    AuthUserDeleteRequest,
    AuthUserGetRequest,
    AuthUserGetResponse,
    AuthUserGrantRoleRequest,
    AuthUserListRequest,
    AuthUserListResponse,
    AuthUserRevokeRoleRequest,
)
from server.auth import changes
from server.auth.changes import Change
from server.auth.errors import (
    AuthFailedError,
    AuthNotEnabledError,
    NoPasswordError,
    RoleNotFoundError,
    UserNotFoundError,
)
from server.auth.store import ROOT, AuthStore
from server.call import PeerCall, Stream
from server.commands.auth import ChangeAuth, IssueToken
from server.commands.base import State
from server.engine import Engine
from server.header import Headers
from server.log import fields
from server.passwords import Passwords
from server.services import validate

logger = logging.getLogger(__name__)

_EVERYTHING = Permission(
    permType=Permission.READWRITE, range_end=b"\0"
)  # What root is said to have.


class AuthService:
    def __init__(
        self,
        engine: Engine,
        state: State,
        headers: Headers,
        passwords: Passwords,
        *,
        max_request_bytes: int,
    ) -> None:
        self._engine = engine
        self._state = state
        self._auth = state.auth
        self._headers = headers
        self._passwords = passwords
        self._max_request_bytes = max_request_bytes

    # --- whether it counts ---

    def AuthEnable(self, message: bytes, call: PeerCall) -> None:
        AuthEnableRequest.FromString(message)
        self._change(changes.enable, message, call)

    def AuthDisable(self, message: bytes, call: PeerCall) -> None:
        AuthDisableRequest.FromString(message)
        self._change(changes.disable, message, call)

    def AuthStatus(self, message: bytes, call: PeerCall) -> bytes | None:
        return self._engine.read(self._status, AuthStatusRequest.FromString(message), call)

    def _status(self, request: AuthStatusRequest) -> bytes:  # noqa: ARG002  # it has no fields
        body = AuthStatusResponse(enabled=self._auth.enabled, authRevision=self._auth.revision)
        return self._header() + body.SerializeToString()

    async def Authenticate(self, stream: Stream) -> None:
        """Unary on the wire. If users change while the password is looked at, it is again."""
        request = AuthenticateRequest.FromString(await stream.receive() or b"")
        token = None
        while token is None:
            await self._engine.settled()
            if not self._auth.enabled:
                raise AuthNotEnabledError
            revision = self._auth.revision
            user = self._auth.users.get(request.name)
            has_none = user is not None and user.options.no_password
            stored = None if user is None or has_none else user.password
            if not await self._passwords.match(request.password, stored):
                logger.warning(
                    "invalid authentication was requested", extra=fields(user=request.name)
                )
                raise NoPasswordError if has_none else AuthFailedError
            token = await self._engine.run(IssueToken(request.name, revision))
        body = AuthenticateResponse(token=token)
        await stream.send(self._header() + body.SerializeToString())

    # --- users ---

    async def UserAdd(self, stream: Stream) -> None:
        """Unary on the wire. A hash that a client sends along is not used, as in etcd."""
        message = await stream.receive() or b""
        request = AuthUserAddRequest.FromString(message)
        validate.check_size(len(message), self._max_request_bytes)
        # A row of etcd's has options even if none are set.
        options = UserAddOptions(no_password=request.options.no_password)
        password = b"" if options.no_password else await self._passwords.hash(request.password)
        decide = partial(changes.add_user, name=request.name, password=password, options=options)
        await self._change_later(decide, stream)

    def UserGet(self, message: bytes, call: PeerCall) -> bytes | None:
        return self._engine.read(self._user, AuthUserGetRequest.FromString(message), call)

    def _user(self, request: AuthUserGetRequest) -> bytes:
        """For root, and for the user itself."""
        if self._auth.enabled:
            principal = self._state.principal()
            if principal.name != request.name:
                principal.must_be_root()
        user = self._auth.users.get(request.name)
        if user is None:
            raise UserNotFoundError
        return self._header() + AuthUserGetResponse(roles=user.roles).SerializeToString()

    def UserList(self, message: bytes, call: PeerCall) -> bytes | None:
        return self._engine.read(self._users, AuthUserListRequest.FromString(message), call)

    def _users(self, request: AuthUserListRequest) -> bytes:  # noqa: ARG002  # it has no fields
        body = AuthUserListResponse(users=sorted(self._auth.users))
        return self._header() + body.SerializeToString()

    def UserDelete(self, message: bytes, call: PeerCall) -> None:
        request = AuthUserDeleteRequest.FromString(message)
        self._change(partial(changes.delete_user, name=request.name), message, call)

    async def UserChangePassword(self, stream: Stream) -> None:
        """Unary on the wire. Without a password, the hash that the client sends along is taken."""
        message = await stream.receive() or b""
        request = AuthUserChangePasswordRequest.FromString(message)
        validate.check_size(len(message), self._max_request_bytes)
        password: bytes | None
        if request.password:
            password = await self._passwords.hash(request.password)
        else:
            password = _decoded(request.hashedPassword)
        decide = partial(changes.change_password, name=request.name, password=password)
        await self._change_later(decide, stream)

    def UserGrantRole(self, message: bytes, call: PeerCall) -> None:
        request = AuthUserGrantRoleRequest.FromString(message)
        decide = partial(changes.grant_role, name=request.user, role=request.role)
        self._change(decide, message, call)

    def UserRevokeRole(self, message: bytes, call: PeerCall) -> None:
        request = AuthUserRevokeRoleRequest.FromString(message)
        decide = partial(changes.revoke_role, name=request.name, role=request.role)
        self._change(decide, message, call)

    # --- roles ---

    def RoleAdd(self, message: bytes, call: PeerCall) -> None:
        request = AuthRoleAddRequest.FromString(message)
        self._change(partial(changes.add_role, name=request.name), message, call)

    def RoleGet(self, message: bytes, call: PeerCall) -> bytes | None:
        return self._engine.read(self._role, AuthRoleGetRequest.FromString(message), call)

    def _role(self, request: AuthRoleGetRequest) -> bytes:
        """For root, and for users that have the role."""
        if self._auth.enabled:
            principal = self._state.principal()
            if not principal.has_role(request.role):
                principal.must_be_root()
        role = self._auth.roles.get(request.role)
        if role is None:
            raise RoleNotFoundError
        granted = [_EVERYTHING] if request.role == ROOT else role.keyPermission
        return self._header() + AuthRoleGetResponse(perm=granted).SerializeToString()

    def RoleList(self, message: bytes, call: PeerCall) -> bytes | None:
        return self._engine.read(self._roles, AuthRoleListRequest.FromString(message), call)

    def _roles(self, request: AuthRoleListRequest) -> bytes:  # noqa: ARG002  # it has no fields
        body = AuthRoleListResponse(roles=sorted(self._auth.roles))
        return self._header() + body.SerializeToString()

    def RoleDelete(self, message: bytes, call: PeerCall) -> None:
        request = AuthRoleDeleteRequest.FromString(message)
        self._change(partial(changes.delete_role, name=request.role), message, call)

    def RoleGrantPermission(self, message: bytes, call: PeerCall) -> None:
        request = AuthRoleGrantPermissionRequest.FromString(message)
        granted = request.perm if request.HasField("perm") else None
        decide = partial(changes.grant_permission, name=request.name, permission=granted)
        self._change(decide, message, call)

    def RoleRevokePermission(self, message: bytes, call: PeerCall) -> None:
        request = AuthRoleRevokePermissionRequest.FromString(message)
        decide = partial(
            changes.revoke_permission,
            name=request.role,
            key=request.key,
            range_end=request.range_end,
        )
        self._change(decide, message, call)

    # --- what they share ---

    def _change(
        self, decide: Callable[[AuthStore], Change], message: bytes, call: PeerCall
    ) -> None:
        validate.check_size(len(message), self._max_request_bytes)
        self._engine.submit(ChangeAuth(decide), call, self._headers.at, len(message))

    async def _change_later(self, decide: Callable[[AuthStore], Change], stream: Stream) -> None:
        await stream.send(self._headers.at(await self._engine.run(ChangeAuth(decide), stream)))

    def _header(self) -> bytes:
        return self._headers.at(self._state.store.published)


def _decoded(hashed_password: str) -> bytes | None:
    """None if it is no base64."""
    try:
        return base64.b64decode(hashed_password, validate=True)
    except (binascii.Error, ValueError):
        return None
