"""Our descriptors are held to `wire_names.txt`, the facts read from real etcd's own descriptors.

Both directions count: a message, field, value or method that etcd has and we lack makes a client
fail, and one that only we have would be taken for etcd's. The table is data, so a wrong number in
a `.proto` file cannot be made right by regenerating.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)

from etcdpb import auth_pb2, kv_pb2, lease_pb2, rpc_pb2, v3election_pb2, v3lock_pb2

FILES: Final[tuple[FileDescriptor, ...]] = (
    auth_pb2.DESCRIPTOR,
    kv_pb2.DESCRIPTOR,
    lease_pb2.DESCRIPTOR,
    rpc_pb2.DESCRIPTOR,
    v3election_pb2.DESCRIPTOR,
    v3lock_pb2.DESCRIPTOR,
)
TABLE: Final = Path(__file__).with_name("wire_names.txt")
SCALAR_NAMES: Final = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}


def facts_of_etcd() -> set[str]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def facts_of_file(file: FileDescriptor) -> Iterator[str]:
    for message in file.message_types_by_name.values():
        yield from facts_of_message(message)
    for enum in file.enum_types_by_name.values():
        yield from facts_of_enum(enum)
    for service in file.services_by_name.values():
        for method in service.methods:
            yield fact_of_method(method)


def facts_of_message(message: Descriptor) -> Iterator[str]:
    yield f"message {message.full_name}"
    for field in message.fields:
        yield fact_of_field(field)
    for nested in message.nested_types:
        yield from facts_of_message(nested)
    for enum in message.enum_types:
        yield from facts_of_enum(enum)


def facts_of_enum(enum: EnumDescriptor) -> Iterator[str]:
    yield f"enum {enum.full_name}"
    for value in enum.values:
        yield f"value {enum.full_name}.{value.name} = {value.number}"


def fact_of_field(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        type_name = field.message_type.full_name
    elif field.enum_type is not None:
        type_name = field.enum_type.full_name
    else:
        type_name = SCALAR_NAMES[field.type]
    words = ["field", field.full_name, "=", str(field.number), type_name]
    if field.is_repeated:
        words.append("repeated")
    if field.is_packed:
        words.append("packed")
    # A proto3 `optional` field would show here as a oneof of its own; etcd has none.
    if field.containing_oneof is not None:
        words += ["oneof", field.containing_oneof.name]
    return " ".join(words)


def fact_of_method(method: MethodDescriptor) -> str:
    takes = "stream " if method.client_streaming else ""
    gives = "stream " if method.server_streaming else ""
    return (
        f"method {method.full_name} "
        f"{takes}{method.input_type.full_name} -> {gives}{method.output_type.full_name}"
    )


OURS: Final = {fact for file in FILES for fact in facts_of_file(file)}


def test_nothing_that_etcd_has_on_the_wire_is_missing_or_different() -> None:
    assert sorted(facts_of_etcd() - OURS) == []


def test_nothing_is_on_the_wire_that_etcd_does_not_have() -> None:
    assert sorted(OURS - facts_of_etcd()) == []


def test_the_table_states_each_fact_once_and_is_whole() -> None:
    """Counted in etcd when the table was read, so that both sides cannot shrink together."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line]
    kinds = [line.split(" ", 1)[0] for line in lines if not line.startswith("#")]
    assert len(kinds) == len(facts_of_etcd())
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        "enum": 10,
        "field": 266,
        "message": 120,
        "method": 49,
        "value": 33,
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_a_file_imports_nothing_but_files_of_its_own_package(file: FileDescriptor) -> None:
    """No annotations of other projects, so that the protobuf runtime is all that is needed."""
    assert [d.name for d in file.dependencies if not d.name.startswith("etcdpb/")] == []


def test_a_compare_is_the_bytes_that_etcd_reads() -> None:
    """One message worked by hand, with every peculiarity of encoding that etcd relies on."""
    compare = rpc_pb2.Compare(
        result=rpc_pb2.Compare.EQUAL,
        target=rpc_pb2.Compare.LEASE,
        key=b"k",
        lease=0,
        range_end=b"l",
    )
    assert compare.SerializeToString() == b"".join(
        [
            b"\x10\x04",  # target; result is 0, which proto3 leaves out.
            b"\x1a\x01k",  # key
            b"\x40\x00",  # lease, sent although 0: it is what the oneof holds.
            b"\x82\x04\x01l",  # range_end, number 64.
        ]
    )
