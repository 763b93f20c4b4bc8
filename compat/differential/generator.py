"""The next operation, drawn from a seed and from what the answers so far have taught.

What etcd 3.5.1 would do and Tenure refuses, by a difference that is meant, is not drawn: from then
on the two would have different data, and nothing could be compared. The auth matrix is where those
requests are asked for.
"""

from collections import deque
from random import Random
from typing import Final

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from compat.differential.kv_requests import KVRequests
from compat.differential.operations import KEEP_ALIVE, Operation, messages_within, of
from compat.differential.other_requests import (
    FRESH_WATCH_ID_MIN,
    SHORT_LIVED,
    AlarmRequests,
    AuthRequests,
    LeaseRequests,
    WatchRequests,
)
from compat.differential.world import ROOT, World
from etcdpb import rpc_pb2 as rpc

CALLERS: Final = (ROOT, ROOT, ROOT, "u", "u", "v", "forger", "")
# While authentication counts. A session of it is short, as every few of its requests are refused.
AUTH_SHARE: Final = 0.3
AUTH_SESSION_OPERATIONS_MAX: Final = 60
# Field 9999 of any message, which none has.
UNKNOWN_FIELDS: Final = (b"\xf8\xf0\x04\x01", b"\xfa\xf0\x04\x02ab", b"\xfb\xf0\x04\xfc\xf0\x04")
_TTL_MIN_S: Final = 600


class Generator:
    """`draw` is called once for each operation; `world` is kept up to date by the caller."""

    def __init__(self, seed: str, world: World) -> None:
        self._random = Random(seed)
        self._world = world
        self._kv = KVRequests(self._random, world)
        self._leases = LeaseRequests(self._random, world, self._kv)
        self._watches = WatchRequests(self._random, self._kv)
        self._alarms = AlarmRequests(self._random, world)
        self._auth = AuthRequests(self._random, self._kv)
        self._planned: deque[Operation] = deque()
        self._auth_left = 0
        self._was_auth_enabled = False

    def draw(self) -> Operation:
        while not self._planned:
            self._plan()
        return self._planned.popleft()

    def _plan(self) -> None:
        caller = ""
        was_enabled, self._was_auth_enabled = self._was_auth_enabled, self._world.auth_enabled
        if was_enabled and not self._world.auth_enabled:
            # A stream may show a token: see `token-while-disabled`.
            self._planned.extend(self._watches.closing())
            return
        if self._world.auth_enabled:
            self._auth_left -= 1
            if self._auth_left < 0:
                # Root's password may have been changed: this may take a few turns.
                self._planned.extend((self._auth.login_of_root(), self._auth.disabling()))
                return
            caller = self._random.choice(CALLERS)
        elif not self._world.alarms and self._kv.chance(0.004):
            self._auth_left = self._random.randrange(AUTH_SESSION_OPERATIONS_MAX)
            self._planned.extend(self._auth.setting_up())
            return
        for operation in self._some(caller):
            if self._kv.chance(0.03) and operation.bodies:
                operation = self._damaged(operation)
            if self._is_asked(operation):
                self._planned.append(operation)

    def _some(self, caller: str) -> list[Operation]:
        kv = self._kv
        if self._kv.chance(AUTH_SHARE if self._world.auth_enabled else 0.01):
            return [self._auth.draw(caller)]
        alarm_chance = 0.1 if self._world.alarms else 0.005
        if not self._world.auth_enabled and kv.chance(alarm_chance):
            return [self._alarms.draw()]
        drawn = self._random.random()
        if drawn < 0.12:
            return self._leases.draw(caller)
        if drawn < 0.24:
            return [self._watches.draw(caller, may_be_refused=self._world.auth_enabled)]
        if drawn < 0.265:
            return [of("KV/Compact", kv.compact(), caller)]
        if drawn < 0.275:
            return [of("Maintenance/HashKV", rpc.HashKVRequest(revision=kv.revision()), caller)]
        if drawn < 0.28:
            return [Operation(self._random.choice(("KV/Nothing", "Nothing/Put")), (b"",), caller)]
        if drawn < 0.5:
            return [of("KV/Put", kv.put(), caller)]
        if drawn < 0.6:
            return [of("KV/DeleteRange", kv.delete(), caller)]
        if drawn < 0.8:
            return [of("KV/Range", kv.range(), caller)]
        # Of what is nested, 3.5.1 asks neither rights nor room.
        is_free = (not self._world.auth_enabled or caller == ROOT) and not self._world.alarms
        return [of("KV/Txn", kv.txn(nested=is_free), caller)]

    def _damaged(self, operation: Operation) -> Operation:
        """The same with more fields, or with bytes that are missing or wrong."""
        random, body = self._random, bytearray(operation.bodies[0])
        drawn = random.random()
        if drawn < 0.3:
            body += random.choice(UNKNOWN_FIELDS)
        elif drawn < 0.6:
            del body[random.randint(0, len(body)) :]
        elif drawn < 0.9 and body:
            body[random.randrange(len(body))] = random.randrange(256)
        else:
            body = bytearray(random.randbytes(random.randrange(1, 12)))
        bodies = (bytes(body), *operation.bodies[1:])
        return Operation(operation.method, bodies, operation.caller, operation.stream)

    def _is_asked(self, operation: Operation) -> bool:
        request = operation.request()
        if request is not None and not all(map(_is_harmless, messages_within(request))):
            return False
        if isinstance(request, rpc.WatchRequest):
            if not (self._world.auth_enabled and request.HasField("create_request")):
                return True
            # Looking at rights, etcd 3.5.1 takes an end without end for none.
            create = request.create_request
            return create.watch_id >= FRESH_WATCH_ID_MIN and create.range_end != b"\0"
        if not self._world.auth_enabled:
            return True
        if operation.caller == "forger":
            return operation.method != KEEP_ALIVE
        is_nobody = operation.caller not in self._world.logged_in
        if operation.caller == ROOT and not is_nobody:
            return True
        if isinstance(request, rpc.TxnRequest):
            return not any(
                isinstance(each, rpc.RequestOp) and each.HasField("request_txn")
                for each in messages_within(request)
            )
        return operation.method not in _TAKEN_FROM_ALL and not (
            is_nobody and operation.method in _TAKEN_FROM_NOBODY
        )


# Of whom 3.5.1 takes what changes data, and should not; see `auth-of-leases`. A renewal changes in
# which order leases are listed.
_TAKEN_FROM_ALL: Final = ("KV/Compact", "Maintenance/Alarm", KEEP_ALIVE)
_TAKEN_FROM_NOBODY: Final = ("Lease/LeaseGrant", "Lease/LeaseRevoke")


def _is_harmless(message: Message) -> bool:
    numbers = message.DESCRIPTOR.fields_by_number
    if any(each.field_number in numbers for each in UnknownFieldSet(message)):
        return False  # See `wrong-wire-type`.
    if isinstance(message, rpc.RangeRequest):
        return 0 <= message.sort_target < len(rpc.RangeRequest.SortTarget.keys())
    if isinstance(message, rpc.TxnRequest):
        within = list(messages_within(message))
        keeps = any(
            isinstance(each, rpc.PutRequest) and (each.ignore_value or each.ignore_lease)
            for each in within
        )
        if keeps and any(isinstance(each, rpc.DeleteRangeRequest) for each in within):
            return False  # Where it deletes what is to be kept, etcd ends its process.
        orders = rpc.RangeRequest.SortOrder.values()
        return all(
            each.request_range.sort_order in orders for each in (*message.success, *message.failure)
        )
    if isinstance(message, rpc.AlarmRequest):
        return message.action in rpc.AlarmRequest.AlarmAction.values()  # Or 3.5.1 ends.
    if isinstance(message, rpc.WatchCreateRequest):
        return message.start_revision >= 0 and message.watch_id != -1
    if isinstance(message, rpc.LeaseGrantRequest):
        return message.TTL >= _TTL_MIN_S or message.ID == SHORT_LIVED
    return True
