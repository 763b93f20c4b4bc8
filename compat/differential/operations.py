"""One thing that a client does, as data: it can be sent to any server, again, and printed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf import text_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from etcdpb import rpc_pb2 as rpc

METHODS: Final[dict[str, MethodDescriptor]] = {
    f"{service.name}/{method.name}": method
    for service in rpc.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
WATCH: Final = "Watch/Watch"
KEEP_ALIVE: Final = "Lease/LeaseKeepAlive"
TEXT_CHARS_MAX: Final = 2_000  # Of one message in a report.


@dataclass(frozen=True)
class Operation:
    """A unary call, a whole stream of keepalives, or one thing done with a watch stream.

    Bodies are bytes, since not all of them are to be messages.
    """

    method: str  # `KV/Put`, as in `METHODS`; another one does not exist.
    bodies: tuple[bytes, ...]
    caller: str = ""  # Whose token is shown, if that user has logged in before; "" for none.
    stream: int = 0  # Which watch stream; opened when first used. No bodies: it is closed.

    @property
    def path(self) -> str:
        return f"/etcdserverpb.{self.method}"

    def request(self) -> Message | None:
        """The first body as a message, or None if it is none."""
        if self.method not in METHODS or not self.bodies:
            return None
        try:
            return GetMessageClass(METHODS[self.method].input_type).FromString(self.bodies[0])
        except DecodeError:
            return None

    def __str__(self) -> str:
        parts = [self.method]
        if self.caller:
            parts.append(f"by {self.caller}")
        if self.method == WATCH:
            parts.append(f"on stream {self.stream}" if self.bodies else f"close {self.stream}")
        for body in self.bodies:
            try:
                request = GetMessageClass(METHODS[self.method].input_type).FromString(body)
            except (DecodeError, KeyError):
                parts.append(f"<{body.hex()}>")
            else:
                parts.append(f"{{{shown(request)}}}")
        return " ".join(parts)


def of(method: str, request: Message, caller: str = "", stream: int = 0) -> Operation:
    """The operation that sends one message."""
    return Operation(method, (request.SerializeToString(),), caller, stream)


def shown(message: Message) -> str:
    """A message on one line."""
    text = text_format.MessageToString(message, as_one_line=True, print_unknown_fields=True)
    return text if len(text) <= TEXT_CHARS_MAX else text[:TEXT_CHARS_MAX] + " ..."


def messages_within(message: Message) -> Iterator[Message]:
    """The message and all that are in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                yield from messages_within(each)
