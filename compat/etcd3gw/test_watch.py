"""etcd3gw: watches, each a request whose answer goes on."""

import threading

import pytest
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import WatchTimedOut


def revision(client: Etcd3Client) -> int:
    return int(client.status()["header"]["revision"])


def test_a_watch_sees_puts_and_deletes_with_what_was_there(
    client: Etcd3Client, prefix: str
) -> None:
    events, cancel = client.watch(f"{prefix}key", prev_kv=True)
    client.put(f"{prefix}key", b"\x00\xff")
    client.put(f"{prefix}key-other", "x")
    client.delete(f"{prefix}key")
    put, deleted = next(events), next(events)
    cancel()
    assert "type" not in put
    assert "prev_kv" not in put
    assert (put["kv"]["value"], put["kv"]["version"]) == (b"\x00\xff", "1")
    assert (deleted["type"], deleted["prev_kv"]["value"]) == ("DELETE", "AP8=")
    assert int(deleted["kv"]["mod_revision"]) == int(put["kv"]["mod_revision"]) + 2


def test_history_comes_first_and_in_order(client: Etcd3Client, prefix: str) -> None:
    start = revision(client) + 1
    for number in range(200):
        client.put(f"{prefix}a", str(number))
    events, cancel = client.watch_prefix(prefix, start_revision=start)
    client.put(f"{prefix}b", "200")
    seen = [next(events)["kv"]["value"] for _ in range(201)]
    cancel()
    assert seen == [b"%d" % number for number in range(201)]


def test_kinds_can_be_left_out(client: Etcd3Client, prefix: str) -> None:
    deletes, cancel_deletes = client.watch(f"{prefix}key", filters=["NOPUT"])
    puts, cancel_puts = client.watch(f"{prefix}key", filters=["NODELETE"])
    for value in ("1", "2"):
        client.put(f"{prefix}key", value)
        client.delete(f"{prefix}key")
    assert [next(deletes)["type"] for _ in range(2)] == ["DELETE"] * 2
    assert [next(puts)["kv"]["value"] for _ in range(2)] == [b"1", b"2"]
    cancel_deletes()
    cancel_puts()


def test_a_watch_once_returns_or_runs_out_of_time(client: Etcd3Client, prefix: str) -> None:
    with pytest.raises(WatchTimedOut):
        client.watch_once(f"{prefix}key", timeout=0.2)
    start = revision(client) + 1
    client.put(f"{prefix}key", "1")
    event = client.watch_once(f"{prefix}key", timeout=10, start_revision=start)
    assert event["kv"]["value"] == b"1"


def test_many_watches_and_calls_go_on_at_once(client: Etcd3Client, prefix: str) -> None:
    watches = [client.watch(f"{prefix}{number}") for number in range(20)]

    def put(number: int) -> None:
        client.put(f"{prefix}{number}", str(number))

    writers = [threading.Thread(target=put, args=(number,)) for number in range(20)]
    for writer in writers:
        writer.start()
    for number, (events, cancel) in enumerate(watches):
        assert next(events)["kv"]["value"] == str(number).encode()
        cancel()
    for writer in writers:
        writer.join()


def test_the_events_of_a_transaction_come_in_order(client: Etcd3Client, prefix: str) -> None:
    lease = client.lease(600)
    for name in ("b", "a", "c"):
        client.put(prefix + name, name, lease=lease)
    events, cancel = client.watch_prefix(prefix)
    lease.revoke()
    seen = [next(events)["kv"] for _ in range(3)]
    cancel()
    assert [kv["key"].decode()[-1] for kv in seen] == ["a", "b", "c"]
    assert len({kv["mod_revision"] for kv in seen}) == 1
