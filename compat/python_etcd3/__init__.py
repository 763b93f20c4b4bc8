"""The one place that imports python-etcd3, and what it needs for that.

Its protobuf messages were generated years ago: only protobuf's pure-Python implementation takes
them, and not without warnings. They also have the names of others' messages. So a suite that uses
it is a pytest process of its own, in which no other generated messages are imported.
"""

import os
import sys
import warnings
from collections.abc import Callable

if "google.protobuf" in sys.modules:
    raise ImportError("protobuf is loaded already: run `make compat`, or pytest on one suite")
os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import etcd3  # type: ignore[import-untyped]  # Published without types.

import grpc
import pytest

__all__ = ["Connect", "etcd3", "refused"]

Connect = Callable[[], etcd3.Etcd3Client]


def refused(error: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str | None]:
    """Code and text of what the server refused, where python-etcd3 lets it through as it is."""
    return error.value.code(), error.value.details()
