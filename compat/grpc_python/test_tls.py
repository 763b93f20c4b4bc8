"""grpc-python: who is let in over TLS."""

from pathlib import Path

import grpc
import pytest

from compat.grpc_python import CALL_MAX_S, credentials
from compat.targets import Server
from compat.wires import Certificates, Identity

PATH = "/etcdserverpb.Maintenance/Status"


def status(server: Server, shown: grpc.ChannelCredentials | None) -> bytes:
    """The answer to one call on a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if shown is None:
        channel = grpc.insecure_channel(server.endpoint, options)
    else:
        channel = grpc.secure_channel(server.endpoint, shown, options)
    with channel:
        answer: bytes = channel.unary_unary(PATH)(b"", timeout=CALL_MAX_S)
        return answer


def test_who_shows_a_certificate_is_let_in(server: Server, identity: Identity) -> None:
    assert status(server, credentials(*identity))


def test_who_shows_none_or_anothers_or_speaks_in_the_clear_is_not(
    server: Server, identity: Identity, tmp_path: Path
) -> None:
    stranger = Certificates.make(tmp_path).client
    for shown in (
        credentials(identity.ca_file),
        credentials(identity.ca_file, stranger.cert_file, stranger.key_file),
        None,
    ):
        with pytest.raises(grpc.RpcError) as error:
            status(server, shown)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert status(server, credentials(*identity))


def test_a_client_does_not_talk_to_a_server_of_another_authority(
    server: Server, identity: Identity, tmp_path: Path
) -> None:
    other = Certificates.make(tmp_path).client
    with pytest.raises(grpc.RpcError) as error:
        status(server, credentials(other.ca_file, identity.cert_file, identity.key_file))
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
