"""Certificates that are genuine and yet let nobody in: revoked ones, and those for other hosts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from server.settings.config import StartError
from tests.support.authority import Authority
from tests.support.loop import run_in_loop
from tests.support.secure import RefusedError, secure


class World:
    """An authority, and settings by which only its clients get in."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority.make(directory)
        own = self.authority.issue("server")
        self.crl = directory / "revoked.crl"
        self.settings = {
            "cert_file": str(own.cert_file),
            "key_file": str(own.key_file),
            "trusted_ca_file": str(self.authority.ca_file),
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("encoding", ["PEM", "DER"])
def test_a_certificate_is_refused_from_the_moment_it_is_on_the_list(
    encoding: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        alice, bob = world.authority.issue("alice"), world.authority.issue("bob")
        world.authority.revoke(world.crl, encoding=encoding)
        async with secure("native", client_crl_file=str(world.crl), **world.settings) as server:
            assert await server.name_of(world.authority, alice) == "alice"
            world.authority.revoke(world.crl, alice, encoding=encoding)
            with pytest.raises(RefusedError):
                await server.name_of(world.authority, alice)
            assert await server.name_of(world.authority, bob) == "bob"
            number = alice.certificate.serial_number
            assert f"transport: certificate serial {number:x} revoked" in _errors(caplog)

    run_in_loop(scenario())


def test_a_certificate_is_worth_as_much_as_those_who_vouch_for_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What a client sends along is looked up, too (checkCRL in etcd's client/pkg/transport)."""

    async def scenario() -> None:
        good, bad = (world.authority.subordinate(name) for name in ("good", "bad"))
        alice, mallory = good.issue("alice"), bad.issue("mallory")
        world.authority.revoke(world.crl)
        async with secure("native", client_crl_file=str(world.crl), **world.settings) as server:
            assert await server.name_of(world.authority, alice) == "alice"
            assert await server.name_of(world.authority, mallory) == "mallory"
            world.authority.revoke(world.crl, bad.own)
            assert await server.name_of(world.authority, alice) == "alice"
            with pytest.raises(RefusedError):
                await server.name_of(world.authority, mallory)
            number = bad.own.certificate.serial_number
            assert f"transport: certificate serial {number:x} revoked" in _errors(caplog)

    run_in_loop(scenario())


def test_nobody_gets_in_while_the_list_cannot_be_read(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        alice = world.authority.issue("alice")
        world.authority.revoke(world.crl)
        async with secure("native", client_crl_file=str(world.crl), **world.settings) as server:
            world.crl.unlink()
            with pytest.raises(RefusedError):
                await server.name_of(world.authority, alice)
            world.crl.write_bytes(b"garbage")
            with pytest.raises(RefusedError):
                await server.name_of(world.authority, alice)
            assert "list of revoked certificates" in _errors(caplog)
            world.authority.revoke(world.crl)
            assert await server.name_of(world.authority, alice) == "alice"

    run_in_loop(scenario())


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_list_that_cannot_be_read_is_named_at_the_start(
    content: bytes | None, world: World
) -> None:
    async def scenario() -> None:
        if content is not None:
            world.crl.write_bytes(content)
        with pytest.raises(StartError, match="list of revoked certificates"):
            async with secure("native", client_crl_file=str(world.crl), **world.settings):
                pass

    run_in_loop(scenario())


def test_a_certificate_must_be_for_one_of_the_allowed_hosts(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        allowed = ("a.example", "10.0.0.1")
        async with secure(
            "native", client_cert_allowed_hostname=allowed, **world.settings
        ) as server:
            for hosts in (("a.example",), ("b", "A.Example"), ("*.example",), ("10.0.0.1",)):
                client = world.authority.issue("alice", hosts=hosts)
                assert await server.name_of(world.authority, client) == "alice"
            for hosts in (("b.example",), ("a.a.example",), ("10.0.0.2",)):
                with pytest.raises(RefusedError):
                    await server.name_of(world.authority, world.authority.issue("x", hosts=hosts))
            assert "client certificate authentication failed" in _errors(caplog)

    run_in_loop(scenario())


def test_the_cn_is_no_host(world: World) -> None:
    async def scenario() -> None:
        async with secure(
            "native", client_cert_allowed_hostname=("a.example",), **world.settings
        ) as server:
            client = world.authority.issue("a.example", hosts=("b.example",))
            with pytest.raises(RefusedError):
                await server.name_of(world.authority, client)

    run_in_loop(scenario())


def _errors(caplog: pytest.LogCaptureFixture) -> str:
    """What was said of the connections that were rejected."""
    rejected = [each for each in caplog.records if each.getMessage() == "rejected connection"]
    assert all(each.levelno == logging.WARNING for each in rejected)
    return "\n".join(str(each.__dict__["fields"]["error"]) for each in rejected)
