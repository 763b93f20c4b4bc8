"""grpc-python: keys, ranges, refusals, and what grpc itself can ask of a server."""

import grpc
import pytest

from compat.grpc_python import Client, kv, refused, rpc

INVALID = grpc.StatusCode.INVALID_ARGUMENT
OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE


def end_of(prefix: str) -> bytes:
    """The first key behind all keys with the prefix, which ends in a slash."""
    return prefix[:-1].encode() + b"0"


def keys(response: rpc.RangeResponse, prefix: str) -> list[str]:
    return [each.key.decode().removeprefix(prefix) for each in response.kvs]


def test_what_was_put_is_got_byte_for_byte(client: Client, prefix: str) -> None:
    value = bytes(range(256))
    first = client.put(f"{prefix}ключ", "one").header.revision
    second = client.put(f"{prefix}ключ", value, prev_kv=True)
    assert (second.prev_kv.value, second.header.revision) == (b"one", first + 1)
    response = client.get(f"{prefix}ключ")
    assert (response.count, response.more) == (1, False)
    assert list(response.kvs) == [
        kv.KeyValue(
            key=f"{prefix}ключ".encode(),
            value=value,
            create_revision=first,
            mod_revision=first + 1,
            version=2,
        )
    ]


def test_what_is_not_there_is_an_empty_answer(client: Client, prefix: str) -> None:
    response = client.get(f"{prefix}key")
    assert (response.count, list(response.kvs)) == (0, [])
    deleted = client.KV.DeleteRange(rpc.DeleteRangeRequest(key=prefix.encode()))
    assert deleted.deleted == 0


def test_a_range_has_limits_orders_filters_and_a_past(client: Client, prefix: str) -> None:
    revisions = [client.put(prefix + name, name).header.revision for name in "acbd"]
    every = {"range_end": end_of(prefix)}
    limited = client.get(prefix, limit=2, **every)
    assert (keys(limited, prefix), limited.more, limited.count) == (["a", "b"], True, 4)
    order = {"sort_order": rpc.RangeRequest.DESCEND, "sort_target": rpc.RangeRequest.MOD}
    assert keys(client.get(prefix, **every, **order), prefix) == ["d", "b", "c", "a"]
    assert [each.value for each in client.get(prefix, keys_only=True, **every).kvs] == [b""] * 4
    counted = client.get(prefix, count_only=True, **every)
    assert (counted.count, list(counted.kvs)) == (4, [])
    late = client.get(prefix, min_mod_revision=revisions[1], **every)
    assert keys(late, prefix) == ["b", "c", "d"]
    past = client.get(prefix, revision=revisions[1], **every)
    assert (keys(past, prefix), past.header.revision) == (["a", "c"], revisions[3])


def test_a_prefix_is_deleted_in_one_revision_and_shown(client: Client, prefix: str) -> None:
    for name in ("a", "b"):
        last = client.put(prefix + name, name).header.revision
    request = rpc.DeleteRangeRequest(key=prefix.encode(), range_end=end_of(prefix), prev_kv=True)
    response = client.KV.DeleteRange(request)
    assert (response.deleted, response.header.revision) == (2, last + 1)
    assert [each.value for each in response.prev_kvs] == [b"a", b"b"]


def test_refusals_have_code_and_text(client: Client, prefix: str) -> None:
    for call, request, expected in (
        ("Put", rpc.PutRequest(value=b"x"), (INVALID, "etcdserver: key is not provided")),
        ("Range", rpc.RangeRequest(), (INVALID, "etcdserver: key is not provided")),
        (
            "Range",
            rpc.RangeRequest(key=b"a", revision=2**40),
            (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"),
        ),
        (
            "Put",
            rpc.PutRequest(key=f"{prefix}no".encode(), ignore_value=True),
            (INVALID, "etcdserver: key not found"),
        ),
        (
            "Put",
            rpc.PutRequest(key=b"a", value=b"x", ignore_value=True),
            (INVALID, "etcdserver: value is provided"),
        ),
        (
            "Put",
            rpc.PutRequest(key=b"a", lease=4711),
            (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found"),
        ),
    ):
        with pytest.raises(grpc.RpcError) as error:
            getattr(client.KV, call)(request)
        assert refused(error) == expected


@pytest.mark.usefixtures("fresh_server")
def test_what_is_compacted_is_refused(client: Client) -> None:
    for value in ("1", "2", "3"):
        client.put("key", value)
    client.KV.Compact(rpc.CompactionRequest(revision=3, physical=True))
    assert client.get("key", revision=3).kvs[0].value == b"2"
    with pytest.raises(grpc.RpcError) as error:
        client.get("key", revision=2)
    text = "etcdserver: mvcc: required revision has been compacted"
    assert refused(error) == (OUT_OF_RANGE, text)


def test_a_megabyte_goes_both_ways_and_two_are_refused(client: Client, prefix: str) -> None:
    value = bytes(1024 * 1024)
    client.put(f"{prefix}key", value)
    assert client.get(f"{prefix}key").kvs[0].value == value
    with pytest.raises(grpc.RpcError) as error:
        client.put(f"{prefix}key", bytes(1536 * 1024))
    assert refused(error) == (INVALID, "etcdserver: request is too large")
    with pytest.raises(grpc.RpcError) as error:
        client.put(f"{prefix}key", bytes(2048 * 1024))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_compressed_request_is_understood(client: Client, prefix: str) -> None:
    request = rpc.PutRequest(key=f"{prefix}key".encode(), value=b"x" * 100_000)
    client.KV.Put(request, compression=grpc.Compression.Gzip)
    assert client.get(f"{prefix}key").kvs[0].value == b"x" * 100_000


def test_a_thousand_calls_at_once_share_a_connection(client: Client, prefix: str) -> None:
    futures = [
        client.KV.Put.future(rpc.PutRequest(key=f"{prefix}{number:04d}".encode(), value=b"x"))
        for number in range(1000)
    ]
    revisions = {future.result(timeout=30).header.revision for future in futures}
    assert len(revisions) == 1000
    response = client.get(prefix, range_end=end_of(prefix))
    assert (response.count, response.header.revision) == (1000, max(revisions))


def test_metadata_that_the_server_does_not_know_is_no_obstacle(client: Client, prefix: str) -> None:
    request = rpc.RangeRequest(key=prefix.encode())
    metadata = (("hasleader", "true"), ("client-api-version", "3.5.1"), ("x-bin", b"\x00\xff"))
    _, call = client.KV.Range.with_call(request, metadata=metadata)
    assert call.code() == grpc.StatusCode.OK


def test_a_method_that_there_is_not_is_unimplemented(client: Client) -> None:
    for path, text in (
        ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
        ("/etcdserverpb.Nope/Put", "unknown service etcdserverpb.Nope"),
    ):
        with pytest.raises(grpc.RpcError) as error:
            client.channel.unary_unary(path)(b"")
        assert refused(error) == (grpc.StatusCode.UNIMPLEMENTED, text)


def test_the_member_answers_for_itself(client: Client) -> None:
    [member] = client.Cluster.MemberList(rpc.MemberListRequest()).members
    status = client.Maintenance.Status(rpc.StatusRequest())
    assert status.leader == status.header.member_id == member.ID
