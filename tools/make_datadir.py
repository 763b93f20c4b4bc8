"""Make the data directory of the present format that the upgrade test keeps.

    python tools/make_datadir.py

It holds something of everything that a store can hold, in files of both kinds that RocksDB has: the
tables of what was there at a defragmentation, and the log of what came after it, since the server
is killed. Beside it stands what the server said of it all. Run once when `server.recovery.FORMAT`
has been raised; a file that is there is what an older server wrote, and is left as it is.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # It is run as a script.

from etcdpb import rpc_pb2 as pb  # noqa: E402  # they are found by then
from etcdpb.auth_pb2 import Permission  # noqa: E402
from server.recovery import FORMAT  # noqa: E402
from server.version import TENURE_VERSION  # noqa: E402
from tests.process.client import Client  # noqa: E402
from tests.process.contents import Asker, contents  # noqa: E402
from tests.support.process import ServerProcess  # noqa: E402

FOLDER: Final = ROOT / "tests" / "process" / "testdata"
EXPECTED: Final = "expected.json"  # In the archive, beside the data directory `data`.
TTL_S: Final = 9_000_000_000  # etcd's longest: nothing runs out in the archive.
ROOTS_PASSWORD: Final = "root's"


def _put(key: bytes, value: bytes = b"", **fields: object) -> pb.PutRequest:
    return pb.PutRequest(key=key, value=value, **fields)  # type: ignore[arg-type]  # all integers


def _fill_tables(ask: Asker) -> None:
    """History, a compaction within it, a key of no text, and leases with and without keys."""
    for lease_id in (1, 2, (1 << 63) - 1):
        ask("Lease", "LeaseGrant", pb.LeaseGrantRequest(ID=lease_id, TTL=TTL_S))
    for version in range(3):
        for number in range(20):
            ask("KV", "Put", _put(b"plain/%02d" % number, b"value %d" % version))
    ask("KV", "Put", _put(b"\0\xff\n", bytes(range(256))))
    ask("KV", "Put", _put(b"large", b"0123456789" * 1000))
    ask("KV", "DeleteRange", pb.DeleteRangeRequest(key=b"plain/1", range_end=b"plain/2"))
    ask("KV", "Compact", pb.CompactionRequest(revision=40, physical=True))
    ask("Maintenance", "Defragment", pb.DefragmentRequest())


def _fill_log(ask: Asker) -> None:
    """A transaction, keys that moved between leases, users, an alarm; auth counts at the end."""
    for key, lease in ((b"leased/a", 1), (b"leased/b", 1), (b"leased/b", 2), (b"leased/c", 2)):
        ask("KV", "Put", _put(key, b"held", lease=lease))
    ask("KV", "Put", _put(b"leased/c", b"free"))
    operations = [pb.RequestOp(request_put=_put(b"txn/%d" % number)) for number in range(3)]
    deleted = pb.DeleteRangeRequest(key=b"plain/00", range_end=b"plain/05")
    operations.append(pb.RequestOp(request_delete_range=deleted))
    ask("KV", "Txn", pb.TxnRequest(success=operations))
    ask("KV", "Put", _put(b"plain/10", b"again"))
    ask("Lease", "LeaseRevoke", pb.LeaseRevokeRequest(ID=2))
    urls = ["http://127.0.0.1:12380", "http://127.0.0.1:12381"]
    member = ask("Cluster", "MemberList", pb.MemberListRequest()).members[0].ID
    ask("Cluster", "MemberUpdate", pb.MemberUpdateRequest(ID=member, peerURLs=urls))
    read = Permission(permType=Permission.READ, key=b"plain/", range_end=b"plain0")
    write = Permission(permType=Permission.WRITE, key=b"leased/a")
    for name, request in (
        ("UserAdd", pb.AuthUserAddRequest(name="root", password=ROOTS_PASSWORD)),
        ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
        ("RoleAdd", pb.AuthRoleAddRequest(name="reader")),
        ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="reader", perm=read)),
        ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="reader", perm=write)),
        ("UserAdd", pb.AuthUserAddRequest(name="ann", password="ann's")),
        ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="reader")),
    ):
        ask("Auth", name, request)
    certified = pb.AuthUserAddRequest(name="certified")
    certified.options.no_password = True
    ask("Auth", "UserAdd", certified)
    alarm = pb.AlarmRequest(
        action=pb.AlarmRequest.ACTIVATE, memberID=member, alarm=pb.AlarmType.NOSPACE
    )
    ask("Maintenance", "Alarm", alarm)
    ask("Auth", "AuthEnable", pb.AuthEnableRequest())


def make(folder: Path) -> dict[str, object]:
    """Fill `folder`/data by a server that is killed then; what it said that is in it."""
    socket = folder / "s"
    with ServerProcess(folder / "data", "--bcrypt-cost=4", socket=socket) as server:
        server.wait_until_ready()
        with Client(server.target) as client:
            ask = Asker(client)
            _fill_tables(ask)
            _fill_log(ask)
            ask.log_in("root", ROOTS_PASSWORD)
            said = contents(ask)
        server.kill()
    made_by = {"tenure": TENURE_VERSION, "rocksdict": importlib.metadata.version("rocksdict")}
    return {"format": FORMAT, "made_by": made_by, "contents": said}


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without RocksDB's diary (LOG), which nothing reads and which tells of the machine."""
    member.uname = member.gname = ""
    return None if Path(member.name).name.startswith("LOG") and member.size else member


def main() -> int:
    target = FOLDER / f"format-{FORMAT}.tar.gz"
    if target.exists():
        print(f"{target.relative_to(ROOT)} is there and stays as it is")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="tenure-"))
    try:
        (folder / EXPECTED).write_text(json.dumps(make(folder), indent=1, sort_keys=True))
        with tarfile.open(target, "w:gz") as archive:
            for name in (EXPECTED, "data"):
                archive.add(folder / name, name, filter=_kept)
    finally:
        shutil.rmtree(folder)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
