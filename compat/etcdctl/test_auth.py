"""A user of etcdctl whose token runs out while it works: Go's client gets itself another."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat.etcdctl.command import Etcdctl
from compat.etcdctl.test_lease import grant
from compat.targets import Server, Target
from compat.wires import Certificates

TOKEN_TTL_S = 1
LEASE_TTL_S = 6  # Kept alive every third of it: by then the token has long run out.
ANN = ("--user", "ann:secret")


@pytest.fixture
def server(target: Target, wire: str, tmp_path: Path) -> Iterator[Server]:
    """One whose users' tokens live for a second."""
    certificates = Certificates.make(tmp_path) if wire == "tls" else None
    flags = ("--auth-token-ttl", str(TOKEN_TTL_S), "--bcrypt-cost", "4")
    server = Server(target, tmp_path / "data", certificates, flags)
    server.start()
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def users(etcdctl: Etcdctl) -> None:
    """Root, and ann, who may read and write below `a/`; they count."""
    etcdctl("user", "add", "root:secret")
    etcdctl("user", "add", "ann:secret")
    etcdctl("role", "add", "role")
    etcdctl("role", "grant-permission", "role", "readwrite", "a/", "--prefix=true")
    etcdctl("user", "grant-role", "ann", "role")
    etcdctl("auth", "enable")


@pytest.mark.usefixtures("users")
def test_a_lease_is_kept_alive_by_a_user_whose_token_has_run_out(etcdctl: Etcdctl) -> None:
    lease = grant(etcdctl, LEASE_TTL_S, *ANN)
    etcdctl(*ANN, "put", "a/key", "value", f"--lease={lease}")
    with etcdctl.running(*ANN, "lease", "keep-alive", lease) as keepalive:
        for _ in range(3):
            line = keepalive.line(LEASE_TTL_S)
            assert line == f"lease {lease} keepalived with TTL({LEASE_TTL_S})"
    assert etcdctl(*ANN, "get", "a/key") == "a/key\nvalue\n"


@pytest.mark.usefixtures("users")
def test_a_watch_goes_on_when_the_token_that_it_was_made_with_has_run_out(
    etcdctl: Etcdctl,
) -> None:
    lease = grant(etcdctl, 2 * TOKEN_TTL_S, *ANN)
    with etcdctl.running(*ANN, "watch", "--prefix", "a/", "--rev=1") as watch:
        etcdctl(*ANN, "put", "a/key", "value", f"--lease={lease}")
        assert watch.lines(3) == ["PUT", "a/key", "value"]
        assert watch.lines(3) == ["DELETE", "a/key", ""]  # The lease's end, later than its own.


@pytest.mark.usefixtures("users")
def test_a_user_is_known_again_after_the_server_was_killed(
    etcdctl: Etcdctl, server: Server
) -> None:
    etcdctl(*ANN, "put", "a/key", "value")
    server.restart(signal.SIGKILL)
    assert etcdctl(*ANN, "get", "a/key") == "a/key\nvalue\n"
    assert "permission denied" in etcdctl.run(*ANN, "get", "b").stderr
