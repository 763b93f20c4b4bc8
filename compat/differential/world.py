"""What is known of the two servers while they agree: enough to ask dense questions of them."""

from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import Message

from compat.differential.operations import Operation
from etcdpb import rpc_pb2 as rpc

ROOT: Final = "root"


@dataclass
class World:
    """Learned from the answers to each operation, which both servers gave."""

    revision: int = 1
    compacted: int = 0
    auth_enabled: bool = False
    alarms: set[tuple[int, int]] = field(default_factory=set)  # Members, and what is wrong there.
    leases: set[int] = field(default_factory=set)
    logged_in: set[str] = field(default_factory=set)  # Callers who show a token, a good one or not.
    compactions: set[int] = field(default_factory=set)

    def learn(self, operation: Operation, answer: Message) -> None:
        """Take note of a request that was answered, and not refused."""
        header: rpc.ResponseHeader | None = getattr(answer, "header", None)
        if header is not None:
            self.revision = max(self.revision, header.revision)
        request = operation.request()
        if isinstance(request, rpc.CompactionRequest):
            self.compacted = request.revision
            self.compactions.add(request.revision)
        elif isinstance(request, rpc.LeaseGrantRequest):
            self.leases.add(request.ID)
        elif isinstance(request, rpc.LeaseRevokeRequest):
            self.leases.discard(request.ID)
        elif isinstance(request, rpc.AuthenticateRequest):
            self.logged_in.add(operation.caller)
        elif isinstance(answer, rpc.AlarmResponse):
            told = {(each.memberID, each.alarm) for each in answer.alarms}
            assert isinstance(request, rpc.AlarmRequest)
            if request.action == rpc.AlarmRequest.ACTIVATE:
                self.alarms |= told
            elif request.action == rpc.AlarmRequest.DEACTIVATE:
                self.alarms -= told
        elif isinstance(request, rpc.AuthEnableRequest):
            self.auth_enabled = True
        elif isinstance(request, rpc.AuthDisableRequest):
            self.auth_enabled = False
