"""The URLs of --listen-metrics-urls: the metrics and the health, for whoever gets there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from server.settings.config import Config, ConfigError
from server.settings.urls import URL, parse_urls
from tests.server.http.support import WAIT_S, http_client
from tests.server.metrics import parse
from tests.support.serving import Running, served


async def monitoring(server: Running) -> httpx.AsyncClient:
    """Listen there too, as the process does by its settings, and connect."""
    socket = server.socket.with_name("metrics.sock")
    await server.front.listen_metrics(URL.parse(f"unix://{socket}"))
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=WAIT_S)


@served()
async def test_the_metrics_and_the_health_checks_are_served_on_urls_of_their_own(
    server: Running,
) -> None:
    await server.client.put(b"a")
    async with await monitoring(server) as client:
        page = parse((await client.get("/metrics")).text)
        assert page.calls("started", "KV", "Put") == 1
        assert (await client.get("/health")).json() == {"health": "true", "reason": ""}
        for path in ("/livez", "/readyz", "/readyz/linearizable_read"):
            assert (await client.get(path)).text == "ok\n"
        assert parse((await client.get("/metrics")).text)["etcd_server_health_success"] == 1


@served()
async def test_nothing_else_is_served_there(server: Running) -> None:
    async with await monitoring(server) as client:
        assert (await client.get("/version")).status_code == 404
        assert (await client.post("/v3/kv/range", json={"key": "YQ=="})).status_code == 404
        assert (await client.post("/metrics")).status_code == 405


@served(host_whitelist=("a",), cors=("http://b",))
async def test_hosts_and_origins_are_not_looked_at_there(server: Running) -> None:
    async with await monitoring(server) as client:
        reply = await client.get("/health", headers={"host": "c", "origin": "http://b"})
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


@served()
async def test_what_moves_there_stays_on_the_client_port_too(server: Running) -> None:
    if server.config.transport == "grpcio":
        return  # It has no HTTP on its client port in the first place.
    async with await monitoring(server), http_client(server) as client:
        for path in ("/metrics", "/health", "/livez", "/readyz", "/version"):
            assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("other", ["listen_client_urls", "listen_client_http_urls"])
def test_an_address_cannot_be_for_both(other: str) -> None:
    urls = parse_urls("http://127.0.0.1:1")
    settings: dict[str, Any] = {other: urls, "listen_metrics_urls": urls}
    with pytest.raises(ConfigError, match="cannot bind both"):
        Config(**settings)


def test_a_url_with_tls_needs_a_certificate() -> None:
    with pytest.raises(ConfigError, match="TLS key/cert"):
        Config(listen_metrics_urls=parse_urls("https://127.0.0.1:1"))
