"""The line of the log for a request that took too long: when it comes, and what it says."""

from __future__ import annotations

from typing import Any, Final

import pytest
from google.protobuf.message import Message

from etcdpb import rpc_pb2 as pb
from lease.errors import LeaseNotFoundError
from server.commands.base import State, WritesOnly
from server.commands.kv import Put
from server.metrics.observed import Observed
from server.request_text import BYTES_MAX, TEXT_MAX, text_of, text_of_command
from server.settings.values import go_duration
from tests.server.metrics import scrape
from tests.support.client import refusal
from tests.support.clock import FakeClock
from tests.support.serving import Running, served

SLOW: Final = "apply request took too long"
ALWAYS_S: Final = 1e-9  # A threshold that nothing is below.


class Takes(WritesOnly):
    """A command that is applied for so long."""

    __slots__ = ("_clock", "_refusal", "_request", "_seconds")

    def __init__(self, clock: FakeClock, seconds: float, refusal: Exception | None = None) -> None:
        self._clock = clock
        self._seconds = seconds
        self._refusal = refusal
        self._request = pb.PutRequest(key=b"k", value=b"secret", lease=5)

    def check(self, state: State) -> None:  # noqa: ARG002  # what it is about is the time
        if self._refusal is not None:
            self._clock._now += self._seconds
            raise self._refusal

    def apply(self, state: State) -> None:  # noqa: ARG002
        self._clock._now += self._seconds


def lines(caplog: pytest.LogCaptureFixture, text: str = SLOW) -> list[dict[str, Any]]:
    return [vars(record)["fields"] for record in caplog.records if record.getMessage() == text]


@served(clock=FakeClock)
async def test_a_change_is_slow_above_the_threshold_and_not_at_it(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    server.time._now = 1024.0  # Where an eighth of a second is exact.
    server.core.engine.slow.threshold_s = 0.125
    await server.core.engine.run(Takes(server.time, 0.125))
    assert lines(caplog) == []
    await server.core.engine.run(Takes(server.time, 0.25))
    assert lines(caplog) == [
        {
            "took": "250ms",
            "expected-duration": "125ms",
            "prefix": "",
            "request": 'takes:<key:"k" value_size:6 lease:5 >',
            "response": "size:0",
        }
    ]
    assert scrape(server.core.metrics)["etcd_server_slow_apply_total"] == 1


@served(clock=FakeClock)
async def test_each_command_of_a_group_is_timed_by_itself(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    engine, slow = server.core.engine, Takes(server.time, 1)
    put = Put(pb.PutRequest(key=b"a"))
    waiting = [engine.run(each) for each in (put, slow, put)]
    for each in waiting:
        await each
    assert [line["request"].split(":")[0] for line in lines(caplog)] == ["takes"]


@served(clock=FakeClock)
async def test_one_that_is_refused_in_the_end_says_why(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LeaseNotFoundError):
        await server.core.engine.run(Takes(server.time, 1, LeaseNotFoundError(5)))
    (line,) = lines(caplog)
    assert (line["response"], line["took"]) == ("", "1s")
    assert line["error"] == "etcdserver: requested lease not found"


@served(warning_apply_duration_s=ALWAYS_S)
async def test_what_clients_are_answered_is_what_they_always_are(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    reply = await server.client.put(b"a", b"1")
    assert reply.header.revision == 2
    await server.client.put(b"ab", b"1")
    await refusal(server.client.put(b"a", lease=7))
    found = await server.client.get(b"a", b"b")
    txn = pb.TxnRequest(success=[pb.RequestOp(request_range=pb.RangeRequest(key=b"a"))])
    await server.client.kv.Txn(txn)
    await server.client.get(b"a")  # One key is never slow, and not timed.
    size = found.ByteSize()
    assert [(line["prefix"], line["request"], line["response"]) for line in lines(caplog)] == [
        ("", 'put:<key:"a" value_size:1 >', f"size:{reply.ByteSize()}"),
        ("", 'put:<key:"ab" value_size:1 >', f"size:{reply.ByteSize()}"),
        ("", 'put:<key:"a" lease:7 >', ""),
        ("read-only range ", 'key:"a" range_end:"b" ', f"range_response_count:2 size:{size}"),
        (
            "read-only txn ",
            'success:<request_range:<key:"a" > > ',
            lines(caplog)[-1]["response"],
        ),
    ]
    assert lines(caplog)[-1]["response"].startswith("responses:<range_response_count:1 > size:")
    assert lines(caplog)[2]["error"] == "etcdserver: requested lease not found"


def test_a_slow_fsync_has_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    observed = Observed()
    observed.synced(1)
    assert lines(caplog, "slow fdatasync") == []
    observed.synced(1.5)
    told = {"took": "1.5s", "expected-duration": "1s"}
    assert lines(caplog, "slow fdatasync") == [told]
    assert sum(observed.fsync_s.counts) == 2


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (pb.PutRequest(), ""),
        (pb.PutRequest(key=b'\0a"\\\xff', value=b"123"), r'key:"\000a\042\134\377" value_size:3 '),
        (
            pb.RangeRequest(key=b"a", sort_order=pb.RangeRequest.DESCEND, keys_only=True),
            'key:"a" sort_order:DESCEND keys_only:true ',
        ),
        (
            pb.TxnRequest(
                compare=[pb.Compare(key=b"a", value=b"xy")],
                success=[
                    pb.RequestOp(request_put=pb.PutRequest(key=b"a", value=b"z")),
                    pb.RequestOp(request_range=pb.RangeRequest(key=b"b")),
                ],
            ),
            'compare:<key:"a" value_size:2 > success:<request_put:<key:"a" value_size:1 > > '
            'success:<request_range:<key:"b" > > ',
        ),
        (
            pb.AuthUserAddRequest(name="n", password="geheim", hashedPassword="$2b$x"),
            'name:"n" password:"<value removed>" hashedPassword:"<value removed>" ',
        ),
    ],
)
def test_a_request_is_told_without_what_it_stores(message: Message, text: str) -> None:
    assert text_of(message) == text


def test_a_long_request_is_cut() -> None:
    key = b"k" * (BYTES_MAX + 1)
    assert text_of(pb.RangeRequest(key=key)) == f'key:"{"k" * BYTES_MAX}..." '
    operation = pb.RequestOp(request_range=pb.RangeRequest(key=key))
    text = text_of(pb.TxnRequest(success=[operation] * 10_000))
    assert len(text) == TEXT_MAX + len("...")


def test_a_command_is_told_by_what_it_was_made_of() -> None:
    assert text_of_command(Put(pb.PutRequest(key=b"a"))) == 'put:<key:"a" >'
    assert text_of_command(object()) == "object:<>"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1e-6, "1µs"),
        (0.0005, "500µs"),
        (0.10325, "103.25ms"),
        (0.1, "100ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (120.5, "2m0.5s"),
        (3600, "1h0m0s"),
        (-2, "-2s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
