"""The JSON gateway's unary routes, its mapping and its refusals, by HTTP/1.1."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from server.http.errors import HTTP_STATUS
from server.http.paths import ROUTES
from server.status import Code
from tests.server.http.support import ask, b64, refused, web, wired
from tests.support.serving import Running

FOO = b64("foo")
BAR = b64("bar")


# --- routes ---


@web()
async def test_what_is_put_can_be_read_changed_and_deleted(
    server: Running, client: httpx.AsyncClient
) -> None:
    put = await ask(client, "kv/put", {"key": FOO, "value": BAR})
    assert put["header"]["revision"] == "2"
    found = await ask(client, "kv/range", {"key": FOO})
    assert found["kvs"] == [
        {"key": FOO, "create_revision": "2", "mod_revision": "2", "version": "1", "value": BAR}
    ]
    assert found["count"] == "1"
    deleted = await ask(client, "kv/deleterange", {"key": FOO})
    assert deleted["deleted"] == "1"
    await ask(client, "kv/compaction", {"revision": 3})
    assert (await server.client.get(b"foo")).count == 0


@web()
async def test_a_txn_names_its_members_as_the_proto_files_do(client: httpx.AsyncClient) -> None:
    done = await ask(
        client,
        "kv/txn",
        {
            "compare": [{"target": "CREATE", "key": FOO, "create_revision": "0"}],
            "success": [{"request_put": {"key": FOO, "value": BAR}}],
            "failure": [{"request_range": {"key": FOO}}],
        },
    )
    assert done["succeeded"] is True
    assert done["responses"] == [{"response_put": {"header": {"revision": "2"}}}]
    failed = await ask(
        client,
        "kv/txn",
        {
            "compare": [{"target": "CREATE", "key": FOO, "createRevision": 0}],
            "failure": [{"requestRange": {"key": FOO}}],
        },
    )
    assert "succeeded" not in failed
    assert failed["responses"][0]["response_range"]["kvs"][0]["value"] == BAR


@web()
async def test_leases_are_granted_looked_up_listed_and_revoked_under_both_of_their_paths(
    client: httpx.AsyncClient,
) -> None:
    assert (await ask(client, "lease/grant", {"TTL": 60, "ID": 7}))["TTL"] == "60"
    await ask(client, "kv/put", {"key": FOO, "lease": "7"})
    for prefix in ("lease", "kv/lease"):
        looked_up = await ask(client, f"{prefix}/timetolive", {"ID": 7, "keys": True})
        assert looked_up["grantedTTL"] == "60"
        assert looked_up["keys"] == [FOO]
        assert (await ask(client, f"{prefix}/leases"))["leases"] == [{"ID": "7"}]
    await ask(client, "kv/lease/revoke", {"ID": "7"})
    assert "leases" not in await ask(client, "lease/leases")
    await ask(client, "lease/grant", {"TTL": 60, "ID": 8})
    await ask(client, "lease/revoke", {"ID": 8})


@web()
async def test_the_one_member_is_listed_without_a_revision(client: httpx.AsyncClient) -> None:
    listed = await ask(client, "cluster/member/list")
    assert "revision" not in listed["header"]
    (member,) = listed["members"]
    assert member["clientURLs"] == ["http://localhost:2379"]


@web()
async def test_maintenance_is_reachable(client: httpx.AsyncClient) -> None:
    status = await ask(client, "maintenance/status")
    assert status["version"]
    assert isinstance(status["dbSize"], str)
    assert await ask(client, "maintenance/defragment") == {}
    assert isinstance((await ask(client, "maintenance/hash"))["hash"], int)
    assert isinstance((await ask(client, "maintenance/hashkv"))["hash"], int)
    raised = await ask(
        client, "maintenance/alarm", {"action": "ACTIVATE", "memberID": 5, "alarm": "NOSPACE"}
    )
    assert raised["alarms"] == [{"memberID": "5", "alarm": "NOSPACE"}]


@web()
async def test_v3beta_means_v3_and_v3alpha_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v3beta/kv/put", json={"key": FOO})).status_code == 200
    unknown = await client.post("/v3alpha/kv/put", json={"key": FOO})
    assert (unknown.status_code, unknown.text) == (404, "404 page not found\n")


@web()
async def test_every_route_leads_to_a_method_or_says_that_there_is_none(
    server: Running, client: httpx.AsyncClient
) -> None:
    methods = server.core.methods
    for path, route in ROUTES.items():
        if methods.get(route.path) is None:
            text = methods.unknown(route.path).message
            assert await refused(client, path.removeprefix("/v3/"), "{}") == (501, 12, text)
    # What does exist is not lost by a typing error in the table.
    routed = {route.path for route in ROUTES.values()}
    of_etcd = {path for path in methods.paths() if not path.startswith("/grpc.health.v1.")}
    assert of_etcd - routed == {"/etcdserverpb.KV/RangeStream"}


@web(enable_grpc_gateway=False)
async def test_without_the_gateway_its_paths_are_not_found_and_the_rest_is(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.post("/v3/kv/put", json={})).status_code == 404
    assert (await client.get("/health")).status_code == 200


# --- the mapping ---


@web()
async def test_an_empty_body_and_null_are_an_empty_message(client: httpx.AsyncClient) -> None:
    for body in (b"", b"  \n", b"null", b"{}"):
        answer = await client.post("/v3/lease/leases", content=body)
        assert answer.status_code == 200
        assert set(answer.json()) == {"header"}


@web()
async def test_integers_are_taken_as_numbers_and_as_strings_and_given_as_strings(
    client: httpx.AsyncClient,
) -> None:
    largest = 2**63 - 1
    assert (await ask(client, "lease/grant", {"TTL": "60", "ID": largest}))["ID"] == str(largest)
    assert (await ask(client, "lease/grant", {"TTL": 60, "ID": "9"}))["ID"] == "9"
    assert (await refused(client, "lease/grant", '{"TTL":"x"}'))[:2] == (400, 3)
    assert (await refused(client, "lease/grant", f'{{"TTL":{2**63}}}'))[:2] == (400, 3)


@web()
async def test_bytes_are_taken_in_both_alphabets_and_refused_if_they_are_neither(
    client: httpx.AsyncClient,
) -> None:
    await ask(client, "kv/put", {"key": "_-8=", "value": "/+8="})
    found = await ask(client, "kv/range", {"key": "/+8="})
    assert found["kvs"][0]["key"] == "/+8="
    assert found["kvs"][0]["value"] == "/+8="
    # Dropping what is no base64, as a lax reader does, would write another key.
    for key in ("Zm9v!", "Zm 9v", "Zm9v\\n", "Zm+_", "é"):
        assert (await refused(client, "kv/put", f'{{"key":"{key}"}}'))[:2] == (400, 3)
    assert (await refused(client, "kv/put", '{"key":12}'))[:2] == (400, 3)


@web()
async def test_enums_are_taken_by_name_and_number_and_an_unknown_name_is_refused(
    client: httpx.AsyncClient,
) -> None:
    for text in ("a", "b"):
        await ask(client, "kv/put", {"key": b64(text)})
    everything = {"key": "AA==", "range_end": "AA==", "sort_target": "KEY"}
    for order in ("DESCEND", 2):
        found = await ask(client, "kv/range", {**everything, "sort_order": order})
        assert [each["key"] for each in found["kvs"]] == [b64("b"), b64("a")]
    body = json.dumps({**everything, "sort_order": "BAD"})
    text = 'unknown value "BAD" for enum etcdserverpb.RangeRequest.SortOrder'
    assert await refused(client, "kv/range", body) == (400, 3, text)


@web()
async def test_fields_that_nobody_knows_and_what_follows_the_object_are_ignored(
    client: httpx.AsyncClient,
) -> None:
    body = json.dumps({"key": FOO, "nope": {"deep": [1]}}) + ' {"key": "'
    assert (await client.post("/v3/kv/put", content=body)).status_code == 200


@web()
async def test_nothing_that_is_zero_or_empty_is_said(client: httpx.AsyncClient) -> None:
    assert set(await ask(client, "kv/range", {"key": FOO})) == {"header"}


@pytest.mark.parametrize("body", [b"{", b'{"key"', b"[]", b"1", b'"x"', b"\xff", b"{'a':1}"])
def test_what_is_no_json_object_is_an_invalid_argument(body: bytes) -> None:
    @web()
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await refused(client, "kv/range", body))[:2] == (400, 3)

    scenario()


@web()
async def test_json_nested_without_end_is_an_invalid_argument(client: httpx.AsyncClient) -> None:
    deep = '{"success":[{"request_txn":' * 5000
    assert (await refused(client, "kv/txn", deep))[:2] == (400, 3)
    assert (await refused(client, "kv/txn", deep + "{}" + "}]}" * 5000))[:2] == (400, 3)
    assert (await refused(client, "kv/txn", '{"x":' + "[" * 100_000))[:2] == (400, 3)


@web()
async def test_a_large_range_arrives_whole_while_others_are_served(
    server: Running, client: httpx.AsyncClient
) -> None:
    await server.put_many(1, value=b"v" * 1_000_000, key=b"big")
    large, small = await asyncio.gather(
        ask(client, "kv/range", {"key": b64("big")}), ask(client, "kv/range", {"key": FOO})
    )
    assert len(large["kvs"][0]["value"]) == 1_333_336
    assert "kvs" not in small


# --- refusals ---


@web()
async def test_a_refusal_has_etcds_text_its_code_and_the_status_of_that_code(
    client: httpx.AsyncClient,
) -> None:
    missing = (404, 5, "etcdserver: requested lease not found")
    assert await refused(client, "lease/revoke", '{"ID":5}') == missing
    assert await refused(client, "kv/put", '{"key":"Zm9v","lease":"77"}') == missing
    no_key = (400, 3, "etcdserver: key is not provided")
    assert await refused(client, "kv/put", "{}") == no_key
    future = "etcdserver: mvcc: required revision is a future revision"
    assert await refused(client, "kv/range", '{"key":"Zm9v","revision":9}') == (400, 11, future)
    await ask(client, "lease/grant", {"TTL": 60, "ID": 7})
    exists = (400, 9, "etcdserver: lease already exists")
    assert await refused(client, "lease/grant", '{"TTL":60,"ID":7}') == exists


def test_every_code_has_its_status_as_the_newer_gateway_maps_it() -> None:
    assert set(HTTP_STATUS) == set(Code)
    assert [HTTP_STATUS[code] for code in Code] == [
        200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
    ]  # fmt: skip


@web()
async def test_an_unknown_path_and_a_wrong_method_are_refused_in_json(
    client: httpx.AsyncClient,
) -> None:
    assert await refused(client, "nope", "{}") == (404, 5, "Not Found")
    assert await refused(client, "kv/range/", "{}") == (404, 5, "Not Found")
    for method in ("GET", "PUT", "DELETE"):
        answer = await client.request(method, "/v3/kv/range")
        assert answer.status_code == 501
        assert answer.json() == {
            "error": "Method Not Allowed", "code": 12, "message": "Method Not Allowed"
        }  # fmt: skip


@web(max_request_bytes=1000)
async def test_a_message_above_the_limit_is_refused_with_grpcs_text(
    client: httpx.AsyncClient,
) -> None:
    limit = 1000 + (512 << 10)
    overhead = 11  # Of the key, and of the tag and length of the value.
    value = b64("v" * (limit - overhead))
    too_large = "etcdserver: request is too large"  # It got through, to the engine's own limit.
    body = json.dumps({"key": "YWI=", "value": value})
    assert await refused(client, "kv/put", body) == (400, 3, too_large)
    value = b64("v" * (limit + 1))
    body = json.dumps({"key": FOO, "value": value})
    status, code, text = await refused(client, "kv/put", body)
    assert (status, code) == (429, 8)
    assert text.startswith("grpc: received message larger than max (")
    assert text.endswith(f" vs. {limit})")


@web(max_request_bytes=1000)
async def test_json_without_end_is_refused_unread_and_its_connection_closed(
    server: Running,
) -> None:
    limit = 2 * (1000 + (512 << 10))
    async with wired(server) as wire:
        await wire.post("/v3/kv/put", b" " * limit, is_last=False)
        await wire.send_chunks(b" ")
        status, headers = await wire.head()
        assert status == 429
        assert headers["connection"] == "close"
        assert json.loads(await wire.body(headers))["code"] == 8
        assert await wire.rest() == b""


@web()
async def test_an_answer_has_the_headers_that_grpc_gateway_gives(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v3/kv/range", json={"key": FOO})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["grpc-metadata-content-type"] == "application/grpc"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["date"].endswith("GMT")
