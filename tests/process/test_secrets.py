"""What a server tells about secrets, at its most talkative: nothing, in its log and its errors.

A scenario of logins, users, values and nonsense, over gRPC and JSON, with every request counted as
slow; then everything that the process ever printed is searched.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from etcdpb import rpc_pb2 as pb
from mvcc.backend.journal import find
from tests.process.client import Client
from tests.process.conftest import Servers
from tests.process.tools import TOOL_MAX_S, free_port
from tests.support.process import ServerProcess

# Each is unlike anything else that is printed.
ROOTS: Final = "xqRootsPassword"
ANNS: Final = "xqAnnsPassword"
ANNS_NEXT: Final = "xqAnnsNextOne"
WRONG: Final = "xqWrongGuess"
VALUE: Final = "xqValueOfAKey"
FORGED: Final = "xqForgedToken.7"
HASH: Final = "$2a$04$xqHashOfAPasswordxqHashOfAPasswordxqHashOfAPas"
TALKATIVE: Final = (
    "--bcrypt-cost=4",
    "--log-level=debug",
    "--warning-apply-duration=1ns",
    "--metrics=extensive",
)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class _World:
    def __init__(self, client: Client, port: int) -> None:
        self._client = client
        self._port = port
        self.errors: list[str] = []
        self.secrets = {ROOTS, ANNS, ANNS_NEXT, WRONG, VALUE, FORGED, HASH}

    def ask(self, service: str, name: str, request: Any, token: str = "") -> Any:
        metadata = (("token", token),) if token else None
        method = self._client.method(service, name)
        try:
            return method(request, timeout=TOOL_MAX_S, metadata=metadata)
        except grpc.RpcError as error:
            self.errors.append(str(error.details()))
            return None

    def post(self, path: str, body: str | bytes, token: str = "") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TOOL_MAX_S)
        try:
            connection.request("POST", path, body, {"Authorization": token} if token else {})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status != http.client.OK:
            self.errors.append(text)
        return text

    def log_in(self, name: str, password: str) -> str:
        reply = self.ask(
            "Auth", "Authenticate", pb.AuthenticateRequest(name=name, password=password)
        )
        token = str(reply.token) if reply else ""
        if token:
            self.secrets.add(token)
        return token

    # --- what is done ---

    def make_users(self) -> None:
        for name, request in (
            ("UserAdd", pb.AuthUserAddRequest(name="root", password=ROOTS)),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
            ("UserAdd", pb.AuthUserAddRequest(name="ann", password=ANNS)),
            ("UserAdd", pb.AuthUserAddRequest(name="ann", password=ANNS)),  # Exists.
            ("UserAdd", pb.AuthUserAddRequest(name="", password=ANNS)),
            ("UserAdd", pb.AuthUserAddRequest(name="long", password=ANNS * 9)),
            ("UserAdd", pb.AuthUserAddRequest(name="hashed", hashedPassword=_b64(HASH))),
            ("AuthEnable", pb.AuthEnableRequest()),
        ):
            self.ask("Auth", name, request)

    def talk(self) -> None:
        root = self.log_in("root", ROOTS)
        self.log_in("ann", ANNS)
        self.log_in("ann", WRONG)
        self.log_in("nobody", WRONG)
        for number, password in enumerate((ANNS_NEXT, ANNS_NEXT * 9, "")):
            change = pb.AuthUserChangePasswordRequest(
                name="ann", password=password, hashedPassword="" if number else _b64(HASH)
            )
            self.ask("Auth", "UserChangePassword", change, root)
            self.ask("Auth", "UserChangePassword", change, FORGED)
        put = pb.PutRequest(key=b"k", value=VALUE.encode(), prev_kv=True)
        claim = pb.Compare(key=b"k", target=pb.Compare.VALUE, value=VALUE.encode())
        for token in (root, FORGED, ""):
            self.ask("KV", "Put", put, token)
            operation = pb.RequestOp(request_put=put)
            txn = pb.TxnRequest(compare=[claim], success=[operation], failure=[operation])
            self.ask("KV", "Txn", txn, token)
            self.ask("KV", "Range", pb.RangeRequest(key=b"\0", range_end=b"\0"), token)
            self.ask("KV", "DeleteRange", pb.DeleteRangeRequest(key=b"k", prev_kv=True), token)
        # Larger than a request may be, and of a lease that is not there.
        self.ask("KV", "Put", pb.PutRequest(key=b"k", value=VALUE.encode() * 200_000), root)
        self.ask("KV", "Put", pb.PutRequest(key=b"k", value=VALUE.encode(), lease=99), root)

    def talk_json(self) -> None:
        told = self.post("/v3/auth/authenticate", json.dumps({"name": "root", "password": ROOTS}))
        root = json.loads(told)["token"]
        self.secrets.add(root)
        put = json.dumps({"key": _b64("k"), "value": _b64(VALUE)})
        self.secrets.add(_b64(VALUE))
        for token in (root, FORGED, ""):
            self.post("/v3/kv/put", put, token)
            self.post("/v3/auth/user/add", json.dumps({"name": "b", "password": ANNS}), token)
        for body in (
            put[:-1],
            put.replace("value", "valeu"),
            f"{put}{put}",
            json.dumps({"key": _b64("k"), "value": f"!{VALUE}"}),
            json.dumps({"name": "root", "password": [ROOTS]}),
            put.encode() + b"\xff",
            json.dumps({"key": _b64("k"), "value": {VALUE: VALUE}}),
        ):
            self.post("/v3/kv/put", body, root)
            self.post("/v3/auth/authenticate", body)

    def talk_nonsense(self) -> None:
        """Bytes that are no message, with secrets in them."""
        text = VALUE.encode()
        for path in ("KV/Put", "KV/Txn", "Auth/Authenticate", "Lease/LeaseGrant"):
            for message in (text, b"\x12" + text, b"\n\xff\xff\xff\xff\x7f" + text, b"\0" + text):
                call = self._client.raw(f"/etcdserverpb.{path}")
                try:
                    call(message, timeout=TOOL_MAX_S)
                except grpc.RpcError as error:
                    self.errors.append(str(error.details()))


def _told(secrets: Iterable[str], text: str) -> list[str]:
    return [secret for secret in secrets if secret in text]


def _printed(server: ServerProcess) -> str:
    return "\n".join(
        [*(json.dumps(line, ensure_ascii=False) for line in server.lines), *server.noise]
    )


def test_no_secret_is_in_the_log_nor_in_an_error(servers: Servers) -> None:
    port = free_port()
    server = servers.spawn(*TALKATIVE, url=f"http://127.0.0.1:{port}").wait_until_ready()
    world = _World(servers.client(server), port)
    world.make_users()
    world.talk()
    world.talk_json()
    world.talk_nonsense()
    seen = [Path(f"/proc/{server.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    server.terminate()
    printed = _printed(server)
    assert _told(world.secrets, printed) == []
    assert "apply request took too long" in printed, "or the scenario has missed those lines"
    assert "value_size" in printed
    assert "invalid authentication was requested" in printed
    assert len(world.errors) > 40
    assert _told(world.secrets, "\n".join(world.errors)) == []
    assert _told(world.secrets, "\n".join(each.decode(errors="replace") for each in seen)) == []


def test_no_key_of_a_file_is_told_when_it_cannot_be_used(servers: Servers, tmp_path: Path) -> None:
    """A fatal end says which file it was, and not what is in it."""
    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    body = pem.splitlines()[1]
    kept = tmp_path / "key.pem"
    for text in (pem.replace(body, body[::-1]), VALUE):
        kept.write_text(text)
        server = servers.spawn(f"--auth-token=jwt,sign-method=ES256,priv-key={kept}")
        assert server.wait() == 1
        assert _told((body, body[::-1], VALUE), _printed(server)) == []
        assert "--auth-token" in str(server.fatal()["error"])


def test_a_store_that_is_refused_is_not_quoted(servers: Servers) -> None:
    """Flipped bytes in the store end the start, which does not say what stood there."""
    server, client = servers.start()
    for number in range(50):
        client.put(b"k%d" % number, VALUE.encode())
    server.kill()
    found = find(servers.data_dir / "tenure" / "store")
    assert found is not None
    journal, end = found.newest.path, found.newest.end
    data = bytearray(journal.read_bytes())
    data[end // 2] ^= 0xFF
    journal.write_bytes(data)
    server = servers.spawn("--log-level=debug")
    assert server.wait() == 1
    assert server.fatal()
    assert _told((VALUE,), _printed(server)) == []
