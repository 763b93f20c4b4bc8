"""`etcdctl make-mirror` between Tenure and etcd, in both directions."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat.etcdctl.command import Etcdctl
from compat.targets import ETCD, NATIVE, Server, Target
from compat.waiting import wait_until


@pytest.fixture
def mirror(target: Target, tmp_path: Path, etcdctl: Etcdctl) -> Iterator[Etcdctl]:
    """etcdctl, pointed at a fresh server of the other kind."""
    other = Server(ETCD if target.is_tenure else NATIVE, tmp_path / "mirror")
    other.start()
    yield Etcdctl(etcdctl.path, etcdctl.version, other.endpoint)
    other.stop()


def held(etcdctl: Etcdctl, prefix: str = "") -> dict[str, str]:
    """Values by key, both as etcdctl encodes them."""
    found = json.loads(etcdctl("get", prefix, "--prefix", "-w", "json"))
    return {each["key"]: each.get("value", "") for each in found.get("kvs", ())}


def test_a_mirror_gets_what_there_is_and_what_comes(
    etcdctl: Etcdctl, mirror: Etcdctl, fresh_server: Server
) -> None:
    assert fresh_server.endpoint == etcdctl.endpoint
    for number in range(30):
        etcdctl("put", f"key-{number:02}", f"value {number}")
    etcdctl("del", "key-07")
    etcdctl("put", "binary", "\x01\u00e9\n")
    with etcdctl.running("make-mirror", mirror.endpoint):
        wait_until(lambda: held(mirror) == held(etcdctl))
        assert len(held(mirror)) == 30
        etcdctl("put", "key-01", "changed")
        etcdctl("del", "key-02")
        etcdctl("txn", stdin='\nput both 1\nput together 2\ndel "key-03"\n\n\n')
        etcdctl("put", "last", "")
        wait_until(lambda: held(mirror) == held(etcdctl))
        assert len(held(mirror)) == 31


def test_a_prefix_is_mirrored_to_another_one(
    etcdctl: Etcdctl, mirror: Etcdctl, prefix: str
) -> None:
    for name in ("a", "b"):
        etcdctl("put", f"{prefix}{name}", name)
    etcdctl("put", "elsewhere", "1")
    flags = (f"--prefix={prefix}", "--dest-prefix=copy/")
    with etcdctl.running("make-mirror", mirror.endpoint, *flags):
        wait_until(lambda: len(held(mirror)) == 2)
        etcdctl("put", f"{prefix}c", "c")
        wait_until(lambda: len(held(mirror)) == 3)
    assert mirror("get", "", "--prefix").split() == ["copy/a", "a", "copy/b", "b", "copy/c", "c"]
