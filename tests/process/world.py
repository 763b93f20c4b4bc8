"""An authority, certificates by it, and clients that show them or do not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import grpc

from etcdpb import rpc_pb2 as pb
from tests.process.tools import PATH, TOOL_MAX_S, free_port, tool
from tests.support.authority import Authority, Issued


class World:
    """An authority and certificates by it, for a server that requires them."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority.make(directory)
        self.own = self.authority.issue("server")
        self.alice = self.authority.issue("alice")
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.flags = (
            f"--cert-file={self.own.cert_file}",
            f"--key-file={self.own.key_file}",
            f"--trusted-ca-file={self.authority.ca_file}",
            "--client-cert-auth",
        )

    def put(self, root: bytes, own: Issued | None) -> int:
        """The revision of a put over a new connection."""
        credentials = grpc.ssl_channel_credentials(
            root,
            own.key_file.read_bytes() if own else None,
            own.cert_file.read_bytes() if own else None,
        )
        # A subchannel of its own: one that was refused would make the next wait.
        options = [("grpc.use_local_subchannel_pool", 1)]
        target = f"127.0.0.1:{self.port}"
        with grpc.secure_channel(target, credentials, options=options) as channel:
            method = channel.unary_unary(
                "/etcdserverpb.KV/Put",
                request_serializer=pb.PutRequest.SerializeToString,
                response_deserializer=pb.PutResponse.FromString,
            )
            return int(method(pb.PutRequest(key=b"k"), timeout=TOOL_MAX_S).header.revision)

    def etcdctl(self, own: Issued | None, *arguments: str) -> subprocess.CompletedProcess[str]:
        certificate = [f"--cert={own.cert_file}", f"--key={own.key_file}"] if own else []
        return subprocess.run(
            [
                tool("etcdctl"),
                f"--endpoints={self.url}",
                f"--cacert={self.authority.ca_file}",
                *certificate,
                *arguments,
            ],
            env={"ETCDCTL_API": "3", "PATH": PATH},
            capture_output=True,
            text=True,
            check=False,
            timeout=TOOL_MAX_S,
        )

    def s_client(self, *arguments: str) -> str:
        """What OpenSSL's own client prints of a handshake."""
        done = subprocess.run(
            [
                *(tool("openssl"), "s_client", "-connect", f"127.0.0.1:{self.port}"),
                *("-CAfile", str(self.authority.ca_file), "-alpn", "h2", *arguments),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",  # Behind the handshake the server's first frames are printed.
            check=False,
            timeout=TOOL_MAX_S,
        )
        return done.stdout + done.stderr
