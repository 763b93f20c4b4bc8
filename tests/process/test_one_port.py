"""A process, and everything that a client port of etcd's speaks, with tools that are not ours."""

from __future__ import annotations

import http.client
import json

import pytest

from tests.process.conftest import Servers
from tests.process.tools import TOOL_MAX_S, free_url, get, output, tool
from tests.support.process import ServerProcess


def native(servers: Servers, *flags: str) -> ServerProcess:
    return servers.spawn(*flags, url=free_url()).wait_until_ready()


def test_grpc_and_http_clients_use_one_port(servers: Servers) -> None:
    server = native(servers)
    with servers.client(server) as client:
        client.put(b"foo", b"bar")
    status, body = get(server.url, "/version")
    assert status == 200
    assert set(json.loads(body)) == {"etcdserver", "etcdcluster", "storage"}
    assert get(server.url, "/health") == (200, b'{"health":"true","reason":""}')
    server.terminate()
    assert not server.noise


def test_curl_and_etcdctl_use_one_port(servers: Servers) -> None:
    curl, etcdctl = tool("curl"), tool("etcdctl")
    server = native(servers)
    put = f"{server.url}/v3/kv/put"
    for version in ("--http1.1", "--http2-prior-knowledge"):
        output(curl, "-sf", version, put, "-d", '{"key":"Zm9v","value":"YmFy"}')
        assert output(etcdctl, "--endpoints", server.url, "get", "foo") == "foo\nbar\n"
        output(etcdctl, "--endpoints", server.url, "put", "foo", "baz")
        found = output(curl, "-sf", version, f"{server.url}/v3/kv/range", "-d", '{"key":"Zm9v"}')
        assert json.loads(found)["kvs"][0]["value"] == "YmF6"


def test_http_moves_away_to_urls_of_its_own(servers: Servers) -> None:
    for transport in ("native", "grpcio"):
        apart = free_url()
        server = servers.spawn(
            f"--transport={transport}",
            f"--listen-client-http-urls={apart}",
            url=free_url(),
            data_dir=servers.data_dir / transport,
        ).wait_until_ready()
        with servers.client(server) as client:
            client.put(b"foo", b"bar")
        assert get(apart, "/health")[0] == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            get(server.url, "/health")
        server.close()


def test_grpcio_says_that_it_serves_no_http(servers: Servers) -> None:
    server = servers.spawn("--transport=grpcio").wait_until_ready()
    (line,) = [each for each in server.messages if "--listen-client-http-urls" in each]
    assert line.startswith("HTTP is not served")


def test_one_address_for_both_is_an_error_at_the_start(servers: Servers) -> None:
    url = free_url()
    server = servers.spawn(f"--listen-client-http-urls={url}", url=url)
    assert server.wait() == 1
    assert "cannot bind both" in server.fatal()["error"]


def test_a_gateway_stream_does_not_hold_up_the_end(servers: Servers) -> None:
    server = native(servers)
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=TOOL_MAX_S)
    connection.request("POST", "/v3/watch", '{"create_request":{"key":"Zm9v"}}')
    answer = connection.getresponse()
    assert json.loads(answer.readline())["result"]["created"]
    server.terminate()
    assert json.loads(answer.readline())["error"]["message"] == "etcdserver: server stopped"
    assert answer.read() == b""
    connection.close()
