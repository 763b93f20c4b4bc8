"""/health, /livez, /readyz, /version, and what is not found."""

from __future__ import annotations

import json

import httpx

from etcdpb import rpc_pb2 as pb
from server.version import ETCD_VERSION
from tests.server.http.support import web
from tests.support.serving import Running

TEXT = "text/plain; charset=utf-8"


async def raise_alarm(server: Running, alarm: pb.AlarmType) -> None:
    request = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=7, alarm=alarm)
    await server.client.maintenance.Alarm(request)


@web()
async def test_the_version_has_three_numbers_and_that_of_the_cluster(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/version")
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert said["etcdserver"] == ETCD_VERSION
    assert all(part.isdigit() for part in said["etcdserver"].split("."))
    assert said["etcdcluster"] == said["storage"] == "3.6.0"


@web()
async def test_a_healthy_server_says_so_in_etcds_bytes(client: httpx.AsyncClient) -> None:
    for query in ("", "?serializable=true", "?exclude=NOSPACE"):
        answer = await client.get(f"/health{query}")
        assert answer.status_code == 200
        assert answer.content == b'{"health":"true","reason":""}'
        assert answer.headers["content-type"] == TEXT


@web()
async def test_an_alarm_makes_it_unhealthy_unless_it_is_excluded(
    server: Running, client: httpx.AsyncClient
) -> None:
    await raise_alarm(server, pb.NOSPACE)
    answer = await client.get("/health")
    assert answer.status_code == 503
    assert answer.content == b'{"health":"false","reason":"ALARM NOSPACE"}\n'
    assert (await client.get("/health?exclude=NOSPACE")).status_code == 200
    await raise_alarm(server, pb.CORRUPT)
    answer = await client.get("/health?exclude=NOSPACE")
    assert json.loads(answer.content)["reason"] == "ALARM CORRUPT"
    both = await client.get("/health?exclude=NOSPACE&exclude=CORRUPT")
    reason = both.json()["reason"]
    assert (both.status_code, reason) in ((200, ""), (503, reason))
    assert reason == "" or reason.startswith("RANGE ERROR:")


@web()
async def test_liveness_and_readiness_are_told_check_by_check(client: httpx.AsyncClient) -> None:
    answer = await client.get("/livez")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert answer.headers["content-type"] == TEXT
    assert (await client.get("/readyz")).text == "ok\n"
    assert (await client.get("/livez?verbose")).text == "[+]serializable_read ok\nok\n"
    assert (await client.get("/readyz?verbose=no")).text == (
        "[+]data_corruption ok\n"
        "[+]serializable_read ok\n"
        "[+]linearizable_read ok\n"
        "[+]non_learner ok\n"
        "ok\n"
    )


@web()
async def test_checks_can_be_left_out_and_asked_one_by_one(client: httpx.AsyncClient) -> None:
    some = await client.get("/readyz?verbose&exclude=data_corruption&exclude=nope")
    assert "data_corruption" not in some.text
    assert "[+]non_learner ok" in some.text
    for path in (
        "livez/serializable_read",
        "readyz/data_corruption",
        "readyz/serializable_read",
        "readyz/linearizable_read",
        "readyz/non_learner",
    ):
        answer = await client.get(f"/{path}?verbose")
        assert answer.text == f"[+]{path.partition('/')[2]} ok\nok\n"
    assert (await client.get("/livez/linearizable_read")).status_code == 404
    assert (await client.get("/readyz/")).status_code == 404


@web()
async def test_a_full_store_is_ready_and_a_corrupt_one_is_not(
    server: Running, client: httpx.AsyncClient
) -> None:
    await raise_alarm(server, pb.NOSPACE)
    assert (await client.get("/readyz")).status_code == 200
    await raise_alarm(server, pb.CORRUPT)
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert "[-]data_corruption failed: alarm activated: CORRUPT\n" in answer.text
    assert "[+]non_learner ok\n" in answer.text
    assert (await client.get("/readyz/data_corruption")).status_code == 503
    assert (await client.get("/readyz/non_learner")).status_code == 200


@web()
async def test_only_get_is_allowed(client: httpx.AsyncClient) -> None:
    for path in ("/health", "/livez", "/readyz", "/version", "/readyz/non_learner"):
        for method in ("POST", "HEAD", "DELETE"):
            answer = await client.request(method, path)
            assert answer.status_code == 405
            assert answer.headers["allow"] == "GET"
            assert answer.text == ("" if method == "HEAD" else "Method Not Allowed\n")


@web()
async def test_any_other_path_is_not_found_in_gos_words(client: httpx.AsyncClient) -> None:
    for path in ("/", "/v2/keys", "/members", "/v3", "/health/", "/HEALTH"):
        for method in ("GET", "POST"):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.text) == (404, "404 page not found\n")
            assert answer.headers["content-type"] == TEXT
            assert answer.headers["x-content-type-options"] == "nosniff"
