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
    options: tuple[str, ...] = ()  # Of pytest.

    @property
    def path(self) -> Path:
        return FOLDER / self.folder


# A watcher thread of python-etcd3's ends by an exception when its channel is closed, which may be
# when pytest has done everything but look for such threads.
_WITH_ETCD3: Final = ("-p", "no:threadexception")

# The longest first, since that is the order they are started in.
SUITES: Final[Mapping[str, Suite]] = {
    suite.folder: suite
    for suite in (
        Suite("etcdctl", "etcdctl", _WITH_ETCD3),
        Suite("python_etcd3", "python-etcd3", _WITH_ETCD3),
        Suite("grpc_python", "grpc-python"),
        Suite("node_etcd3", "node etcd3"),
        Suite("go_clientv3", "Go clientv3"),
        Suite("aetcd", "aetcd"),
        Suite("etcd3gw", "etcd3gw"),
        Suite("patroni", "Patroni"),
        Suite("websockets_lib", "websockets"),
    )
}
