"""Who gets in over TLS, by which certificate, and that a changed file is met by the next one in."""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from etcdpb import rpc_pb2 as pb
from server.settings.config import TRANSPORTS, StartError
from tests.support.authority import Authority, Issued
from tests.support.loop import run_in_loop
from tests.support.secure import NOBODY, RefusedError, secure, trusting

Scenario = Callable[..., Awaitable[None]]

on_both = pytest.mark.parametrize("transport", TRANSPORTS)


def run(scenario: Scenario) -> Callable[..., None]:
    @functools.wraps(scenario)
    def test(**arguments: Any) -> None:
        run_in_loop(scenario(**arguments))  # type: ignore[arg-type]  # a coroutine function's

    return test


class World:
    """An authority that is trusted, one that is not, and a certificate of the server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority.make(directory)
        self.stranger = Authority.make(directory, "stranger")
        self.own = self.authority.issue("server")
        self.pair = {"cert_file": str(self.own.cert_file), "key_file": str(self.own.key_file)}
        self.alice = self.authority.issue("alice")
        self.clients: dict[str, Issued | None] = {
            "none": None,
            "alice": self.alice,
            "expired": self.authority.issue("late", begins=-9, ends=-1),
            "not yet valid": self.authority.issue("early", begins=1, ends=9),
            "stranger": self.stranger.issue("alice"),
        }

    @property
    def required(self) -> dict[str, str]:
        return {**self.pair, "trusted_ca_file": str(self.authority.ca_file)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- who gets in ---


@on_both
@run
async def test_without_an_authority_everybody_gets_in_and_nobody_has_a_name(
    transport: str, world: World
) -> None:
    async with secure(transport, **world.pair) as server:
        for own in world.clients.values():
            assert await server.name_of(world.authority, own) == NOBODY


@on_both
@pytest.mark.parametrize("auth", [False, True])
@run
async def test_an_authority_alone_means_that_certificates_are_required(
    transport: str, auth: bool, world: World
) -> None:
    async with secure(transport, client_cert_auth=auth, **world.required) as server:
        for name, own in world.clients.items():
            if name == "alice":
                assert await server.name_of(world.authority, own) == "alice"
                continue
            with pytest.raises(RefusedError):
                await server.name_of(world.authority, own)


@run
async def test_required_certificates_are_checked_by_the_systems_authorities_if_no_file_is_given(
    world: World,
) -> None:
    async with secure("native", client_cert_auth=True, **world.pair) as server:
        for own in world.clients.values():
            with pytest.raises(RefusedError):
                await server.name_of(world.authority, own)


@run
async def test_a_client_without_a_certificate_is_told_that_it_needs_one(world: World) -> None:
    async with secure("native", **world.required) as server:
        with pytest.raises(RefusedError, match=r"(?i)certificate.required"):
            await server.handshake(trusting(world.authority))
        with pytest.raises(RefusedError, match=r"(?i)unknown.ca"):
            await server.handshake(trusting(world.authority, world.clients["stranger"]))


@on_both
@run
async def test_a_stream_knows_its_client_too(transport: str, world: World) -> None:
    async with secure(transport, **world.required) as server:
        client = server.client(world.authority, world.alice)
        watching = client.channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )(iter([pb.WatchRequest()]))
        async with asyncio.timeout(20):
            assert [reply.cancel_reason async for reply in watching] == ["alice"]
        await client.close()


@on_both
@run
async def test_a_client_that_does_not_trust_the_server_leaves(transport: str, world: World) -> None:
    async with secure(transport, **world.pair) as server:
        with pytest.raises(RefusedError):
            await server.name_of(world.stranger)
        assert await server.name_of(world.authority) == NOBODY


# --- files that change ---


@on_both
@run
async def test_a_new_certificate_is_met_by_the_next_connection(
    transport: str, world: World
) -> None:
    async with secure(transport, **world.pair) as server:
        before = server.client(world.authority)
        assert await before.put(b"a")
        shown = await server.handshake(trusting(world.authority))
        assert shown.serial == world.own.certificate.serial_number
        renewed = world.authority.issue("server")
        renewed.copy_over(world.own)
        shown = await server.handshake(trusting(world.authority))
        assert shown.serial == renewed.certificate.serial_number
        assert await before.put(b"a"), "a connection outlives the certificate it began with"
        await before.close()


@on_both
@run
async def test_a_new_authority_is_met_by_the_next_client(transport: str, world: World) -> None:
    async with secure(transport, **world.required) as server:
        stranger = world.clients["stranger"]
        with pytest.raises(RefusedError):
            await server.name_of(world.authority, stranger)
        world.authority.ca_file.write_bytes(
            world.stranger.ca_file.read_bytes() + world.authority.ca_file.read_bytes()
        )
        assert await server.name_of(world.authority, stranger) == "alice"


@on_both
@run
async def test_files_that_cannot_be_used_change_nothing_and_are_named_once(
    transport: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "server")
    async with secure(transport, **world.pair) as server:
        good = world.own.key_file.read_bytes()
        for bad in (b"garbage", world.alice.key_file.read_bytes()):
            caplog.clear()
            world.own.key_file.write_bytes(bad)
            for _ in range(3):
                shown = await server.handshake(trusting(world.authority))
                assert shown.serial == world.own.certificate.serial_number
            assert [record.levelname for record in caplog.records] == ["ERROR"]
        world.own.key_file.unlink()
        await server.handshake(trusting(world.authority))
        assert "No such file" in str(caplog.records[-1].__dict__["fields"])
        caplog.clear()
        world.own.key_file.write_bytes(good)
        await server.handshake(trusting(world.authority))
        assert "ERROR" not in [record.levelname for record in caplog.records]


@run
async def test_a_certificate_that_has_expired_is_shown_all_the_same(world: World) -> None:
    """Whether to talk to such a server is for its clients to say, as with etcd."""
    async with secure("native", **world.pair) as server:
        world.authority.issue("server", begins=-9, ends=-1).copy_over(world.own)
        with pytest.raises(RefusedError, match="expired"):
            await server.handshake(trusting(world.authority))


# --- what is spoken ---


@pytest.mark.parametrize(
    ("limits", "lowest", "highest"),
    [
        ({}, "TLSv1.2", "TLSv1.3"),
        ({"tls_min_version": ""}, "TLSv1.2", "TLSv1.3"),
        ({"tls_min_version": "TLS1.3"}, "TLSv1.3", "TLSv1.3"),
        ({"tls_max_version": "TLS1.2"}, "TLSv1.2", "TLSv1.2"),
    ],
)
@run
async def test_versions_are_kept_within_their_limits(
    limits: dict[str, str], lowest: str, highest: str, world: World
) -> None:
    async with secure("native", **world.pair, **limits) as server:
        newest = trusting(world.authority)
        assert (await server.handshake(newest)).version == highest
        older = trusting(world.authority)
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        if lowest == "TLSv1.2":
            assert (await server.handshake(older)).version == lowest
        else:
            with pytest.raises(RefusedError):
                await server.handshake(older)


@run
async def test_only_the_suites_that_were_chosen_are_spoken(world: World) -> None:
    chosen = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    async with secure("native", **world.pair, cipher_suites=(chosen,)) as server:
        context = trusting(world.authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert (await server.handshake(context)).suite == "ECDHE-ECDSA-AES256-GCM-SHA384"
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        with pytest.raises(RefusedError):
            await server.handshake(context)
        assert (await server.handshake(trusting(world.authority))).version == "TLSv1.3"


@run
async def test_suites_of_the_newest_version_alone_leave_the_older_out(world: World) -> None:
    suites = ("TLS_AES_128_GCM_SHA256",)
    async with secure("native", **world.pair, cipher_suites=suites) as server:
        context = trusting(world.authority)
        assert (await server.handshake(context)).version == "TLSv1.3"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(RefusedError):
            await server.handshake(context)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("h2",), "h2"),
        (("http/1.1", "h2"), "h2"),
        (("http/1.1",), "http/1.1"),
        (("spdy/3",), None),
    ],
)
@run
async def test_http_2_is_preferred_and_http_1_is_offered(
    offered: tuple[str, ...], chosen: str | None, world: World
) -> None:
    async with secure("native", **world.pair) as server:
        shown = await server.handshake(trusting(world.authority, alpn=offered))
        assert shown.protocol == chosen


# --- files that cannot be used at the start ---


@pytest.mark.parametrize("what", ["cert_file", "key_file", "trusted_ca_file"])
@pytest.mark.parametrize("content", [None, b"", b"garbage"])
@on_both
@run
async def test_a_file_that_cannot_be_used_is_named_at_the_start(
    transport: str, what: str, content: bytes | None, world: World
) -> None:
    path = world.directory / "bad"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartError) as caught:
        await _start(transport, **{**world.required, what: str(path)})
    assert str(path) in str(caught.value)


@run
async def test_a_key_of_another_certificate_is_refused(world: World) -> None:
    with pytest.raises(StartError, match="mismatch"):
        await _start(
            "native", cert_file=world.pair["cert_file"], key_file=str(world.alice.key_file)
        )


@run
async def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_the_password(
    world: World,
) -> None:
    locked = world.authority.issue("locked", password=b"secret")
    with pytest.raises(StartError, match="it is encrypted"):
        await _start("native", cert_file=str(locked.cert_file), key_file=str(locked.key_file))


async def _start(transport: str, **settings: Any) -> None:
    async with secure(transport, **settings):
        pass
