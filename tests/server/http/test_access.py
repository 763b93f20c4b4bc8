"""CORS headers, and the hosts that are answered for."""

from __future__ import annotations

import httpx
import pytest

from server.http.access import host_name
from tests.server.http.support import web

CORS = {
    "access-control-allow-methods": "POST, GET, OPTIONS, PUT, DELETE",
    "access-control-allow-headers": "accept, content-type, authorization",
}
PATHS = ("/version", "/nope", "/v3/nope", "/v3/lease/leases", "/health")


@web()
async def test_by_default_every_answer_lets_every_origin_read_it(client: httpx.AsyncClient) -> None:
    for path in PATHS:
        headers = (await client.post(path)).headers
        assert {**CORS, "access-control-allow-origin": "*"}.items() <= dict(headers).items()


@web(cors=("http://a", "http://b"))
async def test_with_a_list_an_origin_on_it_is_echoed_and_no_other(
    client: httpx.AsyncClient,
) -> None:
    for path in PATHS:
        headers = (await client.get(path, headers={"origin": "http://b"})).headers
        assert {**CORS, "access-control-allow-origin": "http://b"}.items() <= dict(headers).items()
        for sent in ({}, {"origin": "http://c"}):
            answer = await client.get(path, headers=sent)
            assert not any(name.startswith("access-control") for name in answer.headers)


@web()
async def test_options_is_answered_empty_whatever_the_path(client: httpx.AsyncClient) -> None:
    for path in PATHS:
        answer = await client.options(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["access-control-allow-origin"] == "*"


@web(host_whitelist=("good", "127.0.0.1", "::1"))
async def test_a_host_that_is_not_on_the_list_is_misdirected(client: httpx.AsyncClient) -> None:
    for host in ("good", "good:2379", "127.0.0.1:1", "[::1]:2379"):
        answer = await client.get("/version", headers={"host": host})
        assert answer.status_code == 200
    for host in ("bad", "bad:2379", "good.bad", "good:1:2"):
        for path in ("/version", "/v3/lease/leases"):
            answer = await client.post(path, headers={"host": host})
            assert answer.status_code == 421
            assert "--host-whitelist" in answer.text
    # Nothing is told to browsers by an answer that is for nobody.
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a", "a"), ("a:1", "a"), ("[::1]:1", "::1"), ("[::1]", "[::1]"), ("::1", "::1"),
        ("a:b:c", "a:b:c"), ("", ""), (":1", ""),
    ],
)  # fmt: skip
def test_a_host_is_split_from_its_port_as_go_splits_it(host: str, name: str) -> None:
    assert host_name(host) == name
