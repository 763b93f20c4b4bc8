"""grpc-python: what operators ask of the one member, and what probes ask."""

import grpc
import pytest

from compat.differences import differs
from compat.grpc_python import Client, health, refused, rpc
from compat.targets import Server, Target

INVALID = grpc.StatusCode.INVALID_ARGUMENT
FAILED = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "etcdserver: member not found")
TOO_FEW = (
    grpc.StatusCode.UNKNOWN,
    "etcdserver: re-configuration failed due to not enough started members",
)
STRANGER = 5


def member(client: Client) -> rpc.Member:
    listed = client.Cluster.MemberList(rpc.MemberListRequest(linearizable=True))
    assert listed.header.revision == 0
    [only] = listed.members
    assert listed.header.member_id == only.ID
    return only


def downgrade(client: Client, action: str, version: str = "") -> rpc.DowngradeResponse:
    request = rpc.DowngradeRequest(action=action, version=version)
    response: rpc.DowngradeResponse = client.Maintenance.Downgrade(request, timeout=20)
    return response


def below(version: str, minors: int = 1) -> str:
    """The version that is so many minor ones below that."""
    major, minor, _ = version.split(".")
    return f"{major}.{int(minor) - minors}"


def test_the_members_peer_urls_are_what_was_asked_for(client: Client, fresh_server: Server) -> None:
    only = member(client)
    assert (only.name, only.isLearner) == ("default", False)
    assert list(only.peerURLs) == ["http://localhost:2380"]
    assert list(only.clientURLs) == [fresh_server.url]
    for urls in (["http://10.0.0.1:1", "http://10.0.0.2:2"], ["no url"], []):
        request = rpc.MemberUpdateRequest(ID=only.ID, peerURLs=urls)
        updated = client.Cluster.MemberUpdate(request)
        assert updated.header.revision == 0
        assert list(updated.members[0].peerURLs) == urls
        assert member(client) == updated.members[0]


def test_the_only_member_stays(client: Client) -> None:
    me = member(client).ID
    with pytest.raises(grpc.RpcError) as error:
        client.Cluster.MemberRemove(rpc.MemberRemoveRequest(ID=me))
    assert refused(error) == TOO_FEW
    with pytest.raises(grpc.RpcError) as error:
        client.Cluster.MemberPromote(rpc.MemberPromoteRequest(ID=me))
    assert refused(error) == (FAILED, "etcdserver: can only promote a learner member")


def test_a_member_that_is_not_there_is_not_found(client: Client) -> None:
    cluster = client.Cluster
    for method, request in (
        (cluster.MemberRemove, rpc.MemberRemoveRequest(ID=STRANGER)),
        (cluster.MemberPromote, rpc.MemberPromoteRequest(ID=STRANGER)),
        (cluster.MemberUpdate, rpc.MemberUpdateRequest(ID=STRANGER, peerURLs=["http://a:1"])),
    ):
        with pytest.raises(grpc.RpcError) as error:
            method(request)
        assert refused(error) == NOT_FOUND


@pytest.mark.parametrize(
    "urls", [[], [""], ["junk"], ["http://a:1/path"], ["ftp://a:1"], ["http://a"]]
)
def test_a_member_needs_addresses(client: Client, urls: list[str]) -> None:
    with pytest.raises(grpc.RpcError) as error:
        client.Cluster.MemberAdd(rpc.MemberAddRequest(peerURLs=urls))
    assert refused(error) == (INVALID, "etcdserver: given member URLs are invalid")


def test_an_address_belongs_to_one_member(client: Client, fresh_server: Server) -> None:
    assert fresh_server.endpoint
    request = rpc.MemberAddRequest(peerURLs=["http://localhost:2380"])
    with pytest.raises(grpc.RpcError) as error:
        client.Cluster.MemberAdd(request)
    assert refused(error) == (FAILED, "etcdserver: Peer URLs already exists")


@pytest.mark.parametrize("is_learner", [False, True])
def test_a_second_member_is_refused(
    client: Client, fresh_server: Server, target: Target, is_learner: bool
) -> None:
    assert fresh_server.endpoint
    request = rpc.MemberAddRequest(peerURLs=["http://10.0.0.9:1"], isLearner=is_learner)
    if differs("second-member", target):
        with pytest.raises(grpc.RpcError) as error:
            client.Cluster.MemberAdd(request)
        assert refused(error) == TOO_FEW
        client.put("key")
    else:
        added = client.Cluster.MemberAdd(request)
        assert (len(added.members), added.member.isLearner) == (2, is_learner)


def test_leadership_moves_to_the_member_that_has_it(client: Client) -> None:
    me = member(client).ID
    moved = client.Maintenance.MoveLeader(rpc.MoveLeaderRequest(targetID=me))
    assert moved == rpc.MoveLeaderResponse()
    for stranger in (0, STRANGER):
        with pytest.raises(grpc.RpcError) as error:
            client.Maintenance.MoveLeader(rpc.MoveLeaderRequest(targetID=stranger))
        assert refused(error) == (FAILED, "etcdserver: bad leader transferee")


def test_a_downgrade_is_valid_by_one_minor_version(client: Client, target: Target) -> None:
    now = f"{target.line}.0"
    for version in (below(now), f"{below(now)}.0", f"{below(now)}.9"):
        assert downgrade(client, "VALIDATE", version).version == now
    for version in (target.line, below(now, 2), "4.0", "2.0.0"):
        with pytest.raises(grpc.RpcError) as error:
            downgrade(client, "VALIDATE", version)
        assert refused(error) == (INVALID, "etcdserver: invalid downgrade target version")
    for version in ("", "junk", "3"):
        with pytest.raises(grpc.RpcError) as error:
            downgrade(client, "ENABLE", version)
        assert refused(error) == (INVALID, "etcdserver: wrong downgrade target version format")


def test_cancelling_no_downgrade(client: Client, target: Target) -> None:
    if differs("downgrade-cancel", target):
        assert downgrade(client, "CANCEL").version == f"{target.line}.0"
        return
    with pytest.raises(grpc.RpcError) as error:
        downgrade(client, "CANCEL")
    assert refused(error) == (FAILED, "etcdserver: no inflight downgrade job")


def test_the_server_serves_and_its_services_are_not_known_by_name(client: Client) -> None:
    whole = health.HealthCheckRequest()
    assert client.Health.Check(whole).status == health.HealthCheckResponse.SERVING
    watching = client.Health.Watch(whole, timeout=20)
    assert next(watching).status == health.HealthCheckResponse.SERVING
    watching.cancel()
    with pytest.raises(grpc.RpcError) as error:
        client.Health.Check(health.HealthCheckRequest(service="etcdserverpb.KV"))
    assert refused(error) == (grpc.StatusCode.NOT_FOUND, "unknown service")
    watching = client.Health.Watch(health.HealthCheckRequest(service="x"), timeout=20)
    assert next(watching).status == health.HealthCheckResponse.SERVICE_UNKNOWN
    watching.cancel()
