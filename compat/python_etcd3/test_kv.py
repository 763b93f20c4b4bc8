"""python-etcd3: keys, ranges, deletes, compaction."""

import grpc
import pytest

from compat.python_etcd3 import etcd3, refused

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE = "etcdserver: mvcc: required revision is a future revision"


def test_what_was_put_is_got_with_its_history(client: etcd3.Etcd3Client, prefix: str) -> None:
    key = f"{prefix}key"
    assert client.get(key) == (None, None)
    first = client.put(key, "one").header.revision
    client.put(f"{prefix}other", "")
    second = client.put(key, "two", prev_kv=True)
    assert (second.prev_kv.value, second.prev_kv.mod_revision) == (b"one", first)
    value, metadata = client.get(key)
    assert value == b"two"
    assert metadata.key == key.encode()
    assert (metadata.create_revision, metadata.mod_revision) == (first, first + 2)
    assert (metadata.version, metadata.lease_id) == (2, 0)
    assert metadata.response_header.revision == first + 2
    assert client.get(key, serializable=True)[0] == b"two"


def test_any_bytes_are_keys_and_values(client: etcd3.Etcd3Client, prefix: str) -> None:
    key = prefix.encode() + bytes(range(256))
    value = bytes(range(255, -1, -1)) * 300
    client.put(key, value)
    assert client.get(key)[0] == value


def test_a_prefix_is_got_in_the_order_asked_for(client: etcd3.Etcd3Client, prefix: str) -> None:
    for name, value in (("b", "1"), ("c", "3"), ("a", "2"), ("b", "4")):
        client.put(prefix + name, value)

    def got(**how: object) -> list[bytes]:
        return [value for value, _ in client.get_prefix(prefix, **how)]

    assert got() == [b"2", b"4", b"3"]
    assert got(sort_order="descend") == [b"3", b"4", b"2"]
    assert got(sort_order="ascend", sort_target="value") == [b"2", b"3", b"4"]
    assert got(sort_order="ascend", sort_target="create") == [b"4", b"3", b"2"]
    assert got(sort_order="descend", sort_target="mod") == [b"4", b"2", b"3"]
    assert got(sort_order="descend", sort_target="version")[0] == b"4"
    assert got(keys_only=True) == [b"", b"", b""]
    keys = [metadata.key for _, metadata in client.get_prefix(prefix, keys_only=True)]
    assert keys == [f"{prefix}{name}".encode() for name in "abc"]


def test_a_range_takes_its_start_and_leaves_its_end(client: etcd3.Etcd3Client, prefix: str) -> None:
    for name in ("a", "b", "c"):
        client.put(prefix + name, name)
    assert [value for value, _ in client.get_range(f"{prefix}a", f"{prefix}c")] == [b"a", b"b"]
    assert list(client.get_range(f"{prefix}c", f"{prefix}a")) == []


@pytest.mark.usefixtures("fresh_server")
def test_get_all_gets_all(client: etcd3.Etcd3Client) -> None:
    assert list(client.get_all()) == []
    for name in (b"\x00", b"a", b"\xff\xff"):
        client.put(name, name)
    assert [value for value, _ in client.get_all()] == [b"\x00", b"a", b"\xff\xff"]
    assert client.get_all_response().header.revision == 4


def test_delete_tells_whether_there_was_something(client: etcd3.Etcd3Client, prefix: str) -> None:
    put = client.put(f"{prefix}key", "value")
    assert client.delete(f"{prefix}none") is False
    response = client.delete(f"{prefix}key", prev_kv=True, return_response=True)
    assert response.deleted == 1
    assert [kv.value for kv in response.prev_kvs] == [b"value"]
    assert response.header.revision == put.header.revision + 1
    assert client.delete(f"{prefix}key") is False


def test_a_prefix_is_deleted_in_one_revision(client: etcd3.Etcd3Client, prefix: str) -> None:
    for name in ("a", "b", "c"):
        last = client.put(f"{prefix}in/{name}", "x").header.revision
    client.put(f"{prefix}out", "x")
    response = client.delete_prefix(f"{prefix}in/")
    assert (response.deleted, response.header.revision) == (3, last + 2)
    assert [metadata.key for _, metadata in client.get_prefix(prefix)] == [f"{prefix}out".encode()]
    assert client.delete_prefix(f"{prefix}in/").deleted == 0


def test_an_empty_key_is_refused(client: etcd3.Etcd3Client) -> None:
    for call, *arguments in ((client.put, "", "x"), (client.get, ""), (client.delete, "")):
        with pytest.raises(grpc.RpcError) as error:
            call(*arguments)
        assert refused(error) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "etcdserver: key is not provided",
        )


def test_a_request_above_one_and_a_half_mebibytes_is_refused(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    client.put(f"{prefix}key", b"x" * (1536 * 1024 - 512))
    with pytest.raises(grpc.RpcError) as error:
        client.put(f"{prefix}key", b"x" * (1536 * 1024))
    assert refused(error) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "etcdserver: request is too large",
    )
    with pytest.raises(grpc.RpcError) as error:
        client.put(f"{prefix}key", b"x" * (2048 * 1024))
    code, text = refused(error)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert text is not None
    assert text.startswith("grpc: received message larger than max (")


def test_compaction_is_refused_of_what_is_compacted_and_of_the_future(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    revision = client.put(f"{prefix}key", "value").header.revision
    client.compact(revision)
    for physical in (False, True):
        with pytest.raises(grpc.RpcError) as error:
            client.compact(revision, physical=physical)
        assert refused(error) == (grpc.StatusCode.OUT_OF_RANGE, COMPACTED)
    with pytest.raises(grpc.RpcError) as error:
        client.compact(revision + 1)
    assert refused(error) == (grpc.StatusCode.OUT_OF_RANGE, FUTURE)
    client.put(f"{prefix}key", "again")
    client.compact(revision + 1, physical=True)
    assert client.get(f"{prefix}key")[0] == b"again"
