"""What is answered to Maintenance.Downgrade: one minor version down is all that there is.

No older server ever serves a store of this one, so a downgrade that is enabled stays enabled until
it is cancelled: the way to another etcd is a snapshot. Requests are told what etcd 3.6 tells them
(server/etcdserver/version/manager.go).
"""

from __future__ import annotations

import logging
import re
from typing import Final

from etcdpb.rpc_pb2 import DowngradeRequest, DowngradeResponse
from server import status
from server.call import PeerCall
from server.commands.base import State
from server.commands.membership import CancelDowngrade, EnableDowngrade, check_no_downgrade
from server.engine import Engine
from server.header import Headers
from server.log import fields
from server.status import RpcError
from server.version import CLUSTER_VERSION

logger = logging.getLogger(__name__)

# A semantic version, of which the patch may be missing (github.com/coreos/go-semver).
_VERSION: Final = re.compile(r"(\d+)\.(\d+)(\.\d+(-[0-9A-Za-z.-]*)?(\+[0-9A-Za-z.-]*)?)?")


class Downgrades:
    def __init__(self, engine: Engine, state: State, headers: Headers) -> None:
        self._engine = engine
        self._state = state
        self._headers = headers

    def answer(self, message: bytes, call: PeerCall) -> bytes | None:
        request = DowngradeRequest.FromString(message)
        if request.action == DowngradeRequest.VALIDATE:
            _check_target(request.version)
            return self._engine.read(self._validate, request, call)
        if request.action == DowngradeRequest.ENABLE:
            target = _check_target(request.version)
            self._engine.submit(EnableDowngrade(target), call, self._enabled)
        elif request.action == DowngradeRequest.CANCEL:
            self._engine.submit(CancelDowngrade(), call, self._cancelled)
        else:
            raise RpcError(status.UNKNOWN_METHOD)
        return None

    def _validate(self, request: DowngradeRequest) -> bytes:  # noqa: ARG002  # it was read before
        check_no_downgrade(self._state)
        return self._reply()

    def _enabled(self, _: None) -> bytes:
        logger.warning(
            "a downgrade is enabled; an older etcd can serve this data by way of a snapshot only",
            extra=fields(target_version=self._state.membership.downgrade_target),
        )
        return self._reply()

    def _cancelled(self, was_on: bool) -> bytes:
        if not was_on:  # etcd logs it too, and answers as if there had been one.
            logger.error("failed to cancel downgrade", extra=fields(error="none is enabled"))
        return self._reply()

    def _reply(self) -> bytes:
        body = DowngradeResponse(version=CLUSTER_VERSION)
        header = self._headers.at(self._state.store.published)
        return header + body.SerializeToString()


def _check_target(text: str) -> str:
    """The version that `text` means: only major and minor count.

    Raises:
        RpcError: it is no version, or not the one below that of the cluster.
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        raise RpcError(status.DOWNGRADE_VERSION_FORMAT)
    target = (int(match[1]), int(match[2]))
    major, minor, _ = map(int, CLUSTER_VERSION.split("."))
    if target != (major, minor - 1):
        raise RpcError(status.DOWNGRADE_VERSION)
    return f"{major}.{minor - 1}.0"
