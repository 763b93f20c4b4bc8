"""The clients, each a suite in a folder of its own and a pytest process of its own.

Two clients' protobuf messages have the same names and file names, so one process cannot have both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True)
class Suite:
    """One client's tests."""

    folder: str
    title: str

    @property
    def path(self) -> Path:
        return FOLDER / self.folder


# The longest first, since that is the order they are started in.
SUITES: Final[Mapping[str, Suite]] = {
    suite.folder: suite
    for suite in (
        Suite("etcdctl", "etcdctl"),
        Suite("python_etcd3", "python-etcd3"),
        Suite("grpc_python", "grpc-python"),
        Suite("node_etcd3", "node etcd3"),
        Suite("go_clientv3", "Go clientv3"),
        Suite("aetcd", "aetcd"),
        Suite("etcd3gw", "etcd3gw"),
    )
}
