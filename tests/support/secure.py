"""A transport that serves TLS on a socket file, and clients that say what they met there.

The service behind it answers with the name that the transport gave it for the client.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import grpc.aio

from etcdpb import kv_pb2
from etcdpb import rpc_pb2 as pb
from server.call import PeerCall, Stream
from server.clock import Clock, SystemClock
from server.outbox import Outbox
from server.settings.config import Config
from server.settings.urls import parse_urls
from server.tls import ServerTLS, open_tls
from server.transport.base import Transport
from server.transport.dispatch import MethodTable
from server.transport.make import make_transport
from server.transport.room import Room, connections_max
from tests.support.authority import Authority, Issued
from tests.support.client import Client

PATIENCE_S: Final = 20.0  # Everything here takes milliseconds.
NOBODY: Final = "(nobody)"
HOST: Final = "localhost"  # What every client takes the server for.


class RefusedError(Exception):
    """The server did not want the connection."""


class Shown(NamedTuple):
    """What a client that completed a handshake saw."""

    serial: int  # Of the server's certificate.
    version: str
    suite: str
    protocol: str | None


class WhoAmI:
    """Two methods of etcd's, one of each kind, that tell the client its name."""

    def Put(self, message: bytes, call: PeerCall) -> bytes:  # noqa: ARG002, N802
        kv = kv_pb2.KeyValue(key=(call.peer_cn or NOBODY).encode())
        return pb.PutResponse(prev_kv=kv).SerializeToString()

    async def Watch(self, stream: Stream) -> None:  # noqa: N802
        await stream.receive()
        reply = pb.WatchResponse(cancel_reason=stream.peer_cn or NOBODY)
        await stream.send(reply.SerializeToString())


class Secure:
    """A server that serves, and who may come to it."""

    def __init__(self, socket: Path, tls: ServerTLS, transport: Transport) -> None:
        self.socket = socket
        self.tls = tls
        self.transport = transport

    def client(self, authority: Authority, own: Issued | None = None) -> Client:
        """A gRPC client that trusts `authority`; to be closed."""
        credentials = grpc.ssl_channel_credentials(
            authority.ca_file.read_bytes(),
            own.key_file.read_bytes() if own else None,
            own.cert_file.read_bytes() if own else None,
        )
        return Client(f"unix:{self.socket}", credentials=credentials, host=HOST)

    async def name_of(self, authority: Authority, own: Issued | None = None) -> str:
        """What the server calls the one who comes with that certificate.

        Raises:
            RefusedError
        """
        client = self.client(authority, own)
        try:
            reply = await client.kv.Put(pb.PutRequest(key=b"a"))
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            raise RefusedError(error.details()) from error
        finally:
            await client.close()
        return reply.prev_kv.key.decode()

    async def handshake(self, context: ssl.SSLContext) -> Shown:
        """Connect, see what the server shows, wait for its first byte, and leave.

        Raises:
            RefusedError
        """
        async with asyncio.timeout(PATIENCE_S):
            try:
                reader, writer = await asyncio.open_unix_connection(
                    self.socket, ssl=context, server_hostname=HOST
                )
            except (ssl.SSLError, ConnectionError) as error:
                raise RefusedError(str(error)) from error
            try:
                writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                if not await reader.read(1):
                    raise RefusedError("closed")
            except (ssl.SSLError, ConnectionError) as error:
                raise RefusedError(str(error)) from error
            finally:
                writer.transport.abort()
            return _shown(writer.get_extra_info("ssl_object"))


def trusting(
    authority: Authority | Path, own: Issued | None = None, alpn: Sequence[str] = ("h2",)
) -> ssl.SSLContext:
    """What a client that trusts the authority connects with."""
    path = authority if isinstance(authority, Path) else authority.ca_file
    context = ssl.create_default_context(cafile=path)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Our tiny authority skips some formalities.
    if alpn:
        context.set_alpn_protocols(alpn)
    if own is not None:
        context.load_cert_chain(own.cert_file, own.key_file)
    return context


def _shown(connection: ssl.SSLObject) -> Shown:
    certificate: Any = connection.getpeercert()
    cipher = connection.cipher()
    version = connection.version()
    assert certificate
    assert cipher
    assert version
    return Shown(
        int(certificate["serialNumber"], 16),
        version,
        cipher[0],
        connection.selected_alpn_protocol(),
    )


@asynccontextmanager
async def secure(
    transport: str, clock: Clock | None = None, /, **settings: Any
) -> AsyncIterator[Secure]:
    """Serve with TLS until the block ends; `settings` are fields of `Config`."""
    clock = clock or SystemClock()
    with tempfile.TemporaryDirectory(prefix="tenure-") as directory:
        socket = Path(directory) / "s"
        urls = parse_urls(f"unixs://{socket}")
        config = Config(transport=transport, listen_client_urls=urls, **settings)
        tls = open_tls(config, clock, unix_s=time.time)
        assert tls is not None
        methods = MethodTable()
        for name in ("KV", "Watch"):
            methods.add(pb.DESCRIPTOR.services_by_name[name], WhoAmI())
        server = make_transport(config, methods, clock, Room(connections_max()), Outbox(), tls)
        await server.listen(urls[0])
        await server.start()
        try:
            yield Secure(socket, tls, server)
        finally:
            await server.drain(PATIENCE_S)
            await server.close()
