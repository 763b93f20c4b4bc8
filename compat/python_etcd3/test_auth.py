"""python-etcd3: a user logs in when the client is made, and does what it may.

Over TLS only: with a user it gives its calls credentials of a kind that grpc does not send in the
clear.
"""

import grpc
import pytest

from compat.etcdctl.command import Etcdctl
from compat.etcdctl.versions import etcdctl_35
from compat.python_etcd3 import etcd3, refused
from compat.targets import Server
from compat.wires import Identity

CALL_MAX_S = 10
DENIED = (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")


@pytest.fixture
def users(fresh_server: Server) -> None:
    """Root, and ann, who may read and write below `a/`; they count."""
    etcdctl = Etcdctl(etcdctl_35(), "3.5.1", fresh_server.endpoint, fresh_server.identity)
    etcdctl("user", "add", "root:secret")
    etcdctl("user", "add", "ann:secret")
    etcdctl("role", "add", "role")
    etcdctl("role", "grant-permission", "role", "readwrite", "a/", "--prefix=true")
    etcdctl("user", "grant-role", "ann", "role")
    etcdctl("auth", "enable")


def logged_in(server: Server, identity: Identity, user: str, password: str) -> etcd3.Etcd3Client:
    return etcd3.client(
        "127.0.0.1",
        server.port,
        user=user,
        password=password,
        timeout=CALL_MAX_S,
        ca_cert=identity.ca_file,
        cert_cert=identity.cert_file,
        cert_key=identity.key_file,
    )


@pytest.mark.usefixtures("users")
def test_a_user_does_what_it_may_and_no_more(fresh_server: Server, identity: Identity) -> None:
    with logged_in(fresh_server, identity, "ann", "secret") as ann:
        lease = ann.lease(60)
        ann.put("a/key", "value", lease=lease)
        assert ann.get("a/key")[0] == b"value"
        assert [value for value, _ in ann.get_prefix("a/")] == [b"value"]
        assert lease.keys == [b"a/key"]
        events, cancel = ann.watch("a/key")
        ann.put("a/key", "other")
        assert next(events).value == b"other"
        cancel()
        for ask in (
            lambda: ann.put("b", "value"),
            lambda: ann.get("b"),
            lambda: ann.delete_prefix("b"),
        ):
            with pytest.raises(grpc.RpcError) as error:
                ask()
            assert refused(error) == DENIED


@pytest.mark.usefixtures("users")
def test_who_does_not_know_the_password_gets_no_client(
    fresh_server: Server, identity: Identity
) -> None:
    for user, password in (("ann", "wrong"), ("nobody", "secret")):
        with pytest.raises(grpc.RpcError) as error:
            logged_in(fresh_server, identity, user, password)
        assert refused(error) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "etcdserver: authentication failed, invalid user ID or password",
        )
