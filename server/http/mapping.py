"""JSON <-> protobuf, as etcd's gateway maps them.

Out: the names of the .proto files, 64-bit integers and enums as strings, bytes in base64, nothing
that is zero or empty. In: those names or their camel case, integers as numbers or strings, enums
by name or number, both alphabets of base64; fields that nobody knows are ignored.

protobuf's own mapping is laxer than that in two ways, which `_check` closes: it drops what is no
base64, so a key would silently become another, and enum names that it does not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from server.status import Code, RpcError, Status

_SPACE: Final = " \t\r\n"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}|[A-Za-z0-9_-]*={0,2}")
_STRUCTURE: Final = re.compile(rb'["\\{}\[\]]')
_DECODER: Final = json.JSONDecoder()
_OPEN: Final = frozenset(b"{[")
_QUOTE, _BACKSLASH = b'"\\'


def refused(reason: object) -> RpcError:
    return RpcError(Status(Code.INVALID_ARGUMENT, str(reason)))


def decode(body: bytes, kind: type[Message]) -> Message:
    """The message that the first JSON value in `body` is. Nothing at all is an empty message.

    Raises:
        RpcError: INVALID_ARGUMENT, with the parser's words.
    """
    try:
        text = body.decode().strip(_SPACE)
        value = _DECODER.raw_decode(text)[0] if text else {}
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise refused(f"json: a {kind.DESCRIPTOR.name} is an object")
        _check(value, kind.DESCRIPTOR)
        return json_format.ParseDict(value, kind(), ignore_unknown_fields=True)
    except RecursionError:
        raise refused("json: nested too deep") from None
    except (ValueError, json_format.ParseError) as error:
        raise refused(f"json: {error}") from error


def encode(message: Message) -> bytes:
    value = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _check(value: Mapping[str, Any], descriptor: Any) -> None:
    """Its types are those of protobuf's C implementation, which its stubs do not know."""
    for name, content in value.items():
        field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
        if field is None or content is None:
            continue
        for each in content if isinstance(content, list) else (content,):
            _check_one(each, field)


def _check_one(value: object, field: Any) -> None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if isinstance(value, dict):
            _check(value, field.message_type)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        if not isinstance(value, str) or _BASE64.fullmatch(value) is None:
            raise refused(f"json: {field.name} is no base64")
    elif field.type == FieldDescriptor.TYPE_ENUM and isinstance(value, str):
        names = field.enum_type.values_by_name
        if value not in names and not value.removeprefix("-").isdigit():
            raise refused(f'unknown value "{value}" for enum {field.enum_type.full_name}')


class Documents:
    """Cuts a stream of bytes into the JSON objects that it holds, one behind the other."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept = bytearray()
        self._read = 0  # How far the kept bytes have been looked at.
        self._depth = 0
        self._in_text = False
        self.refusal: RpcError | None = None  # Of what follows the objects that were found.

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that are whole with `data`; nothing more once there is a refusal."""
        kept = self._kept
        kept += data
        found = []
        while self._read < len(kept) and self.refusal is None:
            if self._depth == 0 and not self._begin():
                break
            end = self._end()
            if end is None:
                break
            found.append(bytes(kept[:end]))
            del kept[:end]
            self._read = 0
        if len(kept) > self._limit_bytes:
            self.refusal = too_large(self._limit_bytes)
        if self.refusal is not None:
            kept.clear()
        return found

    def end(self) -> None:
        """Nothing follows: what is not whole by now never will be."""
        if self._kept.strip():
            self.refusal = refused("json: unexpected end of an object")

    def _begin(self) -> bool:
        """Skip what stands between objects; false if no object follows."""
        rest = self._kept.lstrip()
        del self._kept[: len(self._kept) - len(rest)]
        self._read = 0
        if rest and rest[0] != ord("{"):
            self.refusal = refused(f"json: an object does not begin with {chr(rest[0])!r}")
            return False
        return bool(rest)

    def _end(self) -> int | None:
        """Where the object that begins the kept bytes ends, once that is known."""
        kept = self._kept
        while (match := _STRUCTURE.search(kept, self._read)) is not None:
            at = match.start()
            octet = kept[at]
            del match  # It holds the bytearray fast.
            if octet == _BACKSLASH:
                if at + 1 == len(kept):
                    self._read = at  # What it escapes is yet to come.
                    return None
                self._read = at + 2
                continue
            self._read = at + 1
            if octet == _QUOTE:
                self._in_text = not self._in_text
            elif not self._in_text:
                self._depth += 1 if octet in _OPEN else -1
                if self._depth == 0:
                    return self._read
        self._read = len(kept)
        return None


def too_large(limit_bytes: int) -> RpcError:
    text = f"the JSON of a request is larger than max ({limit_bytes})"
    return RpcError(Status(Code.RESOURCE_EXHAUSTED, text))
