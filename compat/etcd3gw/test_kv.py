"""etcd3gw: keys, ranges, deletes, transactions, and what the server says of itself."""

import base64
import json

import pytest
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import ConnectionFailedError, Etcd3Exception

from compat.targets import Server


def wire(text: bytes | str) -> str:
    """Bytes as JSON has them."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def end_of(prefix: str) -> str:
    """The first key behind all keys with the prefix, which ends in a slash."""
    return prefix[:-1] + "0"


def refused(error: pytest.ExceptionInfo[Etcd3Exception]) -> tuple[int, str]:
    """gRPC's code and the text, of a refusal's body."""
    body = json.loads(error.value.detail_text)
    assert body["error"] == body["message"]
    return body["code"], body["message"]


def test_the_api_path_is_found_out(client: Etcd3Client) -> None:
    assert client.api_path == "/v3/"


def test_what_was_put_is_got_with_its_history(client: Etcd3Client, prefix: str) -> None:
    key, value = f"{prefix}ключ".encode(), bytes(range(256)) * 100
    assert client.get(key) == []
    assert client.put(key, "one") is True
    client.put(key, value)
    assert client.get(key) == [value]
    [(got, metadata)] = client.get(key, metadata=True)
    assert (got, metadata["key"], metadata["version"]) == (value, key, "2")
    assert int(metadata["mod_revision"]) == int(metadata["create_revision"]) + 1
    assert "lease" not in metadata
    client.put(key, "")
    assert client.get(key) == [b""]


def test_a_range_has_limits_orders_filters_and_a_past(client: Etcd3Client, prefix: str) -> None:
    for name in ("b", "c", "a", "d"):
        client.put(prefix + name, name)
    end = end_of(prefix)
    assert client.get(prefix, range_end=end) == [b"a", b"b", b"c", b"d"]
    assert client.get(prefix, range_end=end, limit=2) == [b"a", b"b"]
    assert client.get(prefix, range_end=end, keys_only=True) == [b""] * 4
    assert client.get(prefix, range_end=end, count_only=True) == []
    order = {"sort_order": "descend", "sort_target": "mod"}
    assert client.get(prefix, range_end=end, **order) == [b"d", b"a", b"c", b"b"]
    [(_, metadata)] = client.get(f"{prefix}c", metadata=True)
    revision = int(metadata["mod_revision"])
    assert client.get(prefix, range_end=end, revision=revision) == [b"b", b"c"]
    assert client.get(prefix, range_end=end, min_mod_revision=revision + 1) == [b"a", b"d"]
    assert [value for value, _ in client.get_prefix(prefix, sort_order="descend")] == [
        *(b"d", b"c", b"b", b"a")
    ]


@pytest.mark.usefixtures("fresh_server")
def test_get_all_gets_all(client: Etcd3Client) -> None:
    assert client.get_all() == []
    for name in (b"\x00", b"a", b"\xff\xff"):
        client.put(name, name)
    assert [value for value, _ in client.get_all()] == [b"\x00", b"a", b"\xff\xff"]


def test_delete_tells_whether_there_was_something(client: Etcd3Client, prefix: str) -> None:
    for name in ("a", "b", "c"):
        client.put(prefix + name, name)
    assert client.delete(f"{prefix}a") is True
    assert client.delete(f"{prefix}a") is False
    assert client.delete_prefix(prefix) is True
    assert client.delete_prefix(prefix) is False
    assert client.get_prefix(prefix) == []


def test_create_and_replace_are_transactions(client: Etcd3Client, prefix: str) -> None:
    key = f"{prefix}key"
    assert client.replace(key, "0", "1") is False
    assert client.create(key, "1") is True
    assert client.create(key, "2") is False
    assert client.replace(key, "2", "3") is False
    assert client.replace(key, "1", "2") is True
    assert client.get(key) == [b"2"]


def test_a_transaction_answers_for_each_operation(client: Etcd3Client, prefix: str) -> None:
    a, b = wire(f"{prefix}a"), wire(f"{prefix}b")
    txn = {
        "compare": [{"key": a, "target": "VERSION", "result": "GREATER", "version": "0"}],
        "success": [{"request_delete_range": {"key": a, "prev_kv": True}}],
        "failure": [
            {"request_put": {"key": a, "value": wire("1")}},
            {"requestRange": {"key": a}},
            {"request_txn": {"success": [{"request_put": {"key": b, "value": wire("2")}}]}},
        ],
    }
    failed = client.transaction(txn)
    assert "succeeded" not in failed
    put, got, nested = failed["responses"]
    assert put["response_put"]["header"]["revision"] == failed["header"]["revision"]
    assert got["response_range"]["count"] == "1"
    assert got["response_range"]["kvs"][0]["value"] == wire("1")
    assert nested["response_txn"]["succeeded"] is True
    succeeded = client.transaction(txn)
    assert succeeded["succeeded"] is True
    [deleted] = succeeded["responses"]
    assert deleted["response_delete_range"]["deleted"] == "1"
    assert deleted["response_delete_range"]["prev_kvs"][0]["value"] == wire("1")
    assert int(succeeded["header"]["revision"]) == int(failed["header"]["revision"]) + 1


def test_refusals_have_code_and_text(client: Etcd3Client, prefix: str) -> None:
    put = wire(f"{prefix}a")
    twice = [{"request_put": {"key": put}}, {"request_put": {"key": put}}]
    for path, request, expected in (
        ("/kv/put", {"value": "eA=="}, (3, "etcdserver: key is not provided")),
        (
            "/kv/range",
            {"key": "YQ==", "revision": 2**40},
            (11, "etcdserver: mvcc: required revision is a future revision"),
        ),
        ("/kv/txn", {"success": twice}, (3, "etcdserver: duplicate key given in txn request")),
        ("/kv/put", {"key": "YQ==", "lease": 4831}, (5, "etcdserver: requested lease not found")),
        ("/lease/grant", {"TTL": 9_000_000_001}, (11, "etcdserver: too large lease TTL")),
    ):
        with pytest.raises(Etcd3Exception) as error:
            client.post(client.get_url(path), json=request)
        assert refused(error) == expected


@pytest.mark.usefixtures("fresh_server")
def test_what_is_compacted_is_refused(client: Etcd3Client) -> None:
    for value in ("1", "2", "3"):
        client.put("key", value)
    client.post(client.get_url("/kv/compaction"), json={"revision": 3, "physical": True})
    assert client.get("key", revision=3) == [b"2"]
    with pytest.raises(Etcd3Exception) as error:
        client.get("key", revision=2)
    assert refused(error) == (11, "etcdserver: mvcc: required revision has been compacted")


def test_the_only_member_leads(client: Etcd3Client, server: Server) -> None:
    client.put("key", "value")
    [member] = client.members()
    assert member["clientURLs"] == [server.url]
    status = client.status()
    assert status["leader"] == status["header"]["member_id"] == member["ID"]
    assert int(status["dbSize"]) > 0


def test_no_server_is_a_connection_that_failed(client: Etcd3Client, fresh_server: Server) -> None:
    client.put("key", "value")
    fresh_server.stop()
    with pytest.raises(ConnectionFailedError):
        client.get("key")
    fresh_server.start()
    assert client.get("key") == [b"value"]
