"""A request as one line of the log: what was asked, without what is stored.

The form is that of etcd's lines (`put:<key:"a" value_size:3 >`). A value is its size, a password
is not there at all, and a text is cut: the line is for finding the request, not for repeating it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

TEXT_MAX: Final = 1000  # Characters of a line.
BYTES_MAX: Final = 200  # Of a key or another text.
_SIZES: Final = frozenset({"value"})
_SECRETS: Final = frozenset({"password", "hashedPassword", "token"})
_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def text_of(message: Message) -> str:
    """The fields that are set, each once."""
    pieces: list[str] = []
    length = 0
    for piece in _pieces(message):
        pieces.append(piece)
        length += len(piece)
        if length > TEXT_MAX:
            break
    text = "".join(pieces)
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}..."


def text_of_command(command: object) -> str:
    """The name of the command and the messages and numbers that it was made of."""
    if (ordinary := getattr(command, "ordinary", None)) is not None:
        return text_of_command(ordinary())
    name = _WORD.sub("_", type(command).__name__).lower()
    parts = []
    for slot in getattr(type(command), "__slots__", ()):
        part = getattr(command, slot, None)
        if isinstance(part, Message):
            parts.append(text_of(part))
        elif isinstance(part, int) and not isinstance(part, bool):
            parts.append(f"{slot.removeprefix('_')}:{part} ")
    return f"{name}:<{''.join(parts)}>"


def _pieces(message: Message) -> Iterator[str]:
    for field, content in message.ListFields():
        for each in content if field.is_repeated else (content,):
            if field.name in _SECRETS:
                yield f'{field.name}:"<value removed>" '
            elif field.name in _SIZES and isinstance(each, bytes):
                yield f"{field.name}_size:{len(each)} "
            elif field.type == FieldDescriptor.TYPE_MESSAGE:
                yield f"{field.name}:<"
                yield from _pieces(each)
                yield "> "
            else:
                yield f"{field.name}:{_scalar(field, each)} "


def _scalar(field: Any, content: object) -> str:
    if field.type == FieldDescriptor.TYPE_ENUM:
        value = field.enum_type.values_by_number.get(content)
        return value.name if value is not None else str(content)
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, bytes | str):
        raw = content.encode() if isinstance(content, str) else content
        cut = "..." if len(raw) > BYTES_MAX else ""
        return f'"{"".join(map(_ESCAPED.__getitem__, raw[:BYTES_MAX]))}{cut}"'
    return str(content)


_ESCAPED: Final = [
    chr(octet) if 0x20 <= octet < 0x7F and octet not in b'"\\' else f"\\{octet:03o}"
    for octet in range(256)
]
