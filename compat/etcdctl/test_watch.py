"""`etcdctl watch`: what it prints, in which order, and how it ends."""

import signal

import pytest

from compat.differences import differs
from compat.etcdctl.command import Etcdctl
from compat.targets import Server
from compat.waiting import wait_until


def revision(etcdctl: Etcdctl) -> int:
    """The store's current revision."""
    fields = dict(
        line.split(" : ") for line in etcdctl("get", "nothing", "-w", "fields").splitlines()
    )
    return int(fields['"Revision"'])


def test_a_watch_prints_puts_and_deletes_of_its_key_only(etcdctl: Etcdctl, prefix: str) -> None:
    with etcdctl.running("watch", f"{prefix}a", f"--rev={revision(etcdctl) + 1}") as watch:
        etcdctl("put", f"{prefix}a", "1")
        etcdctl("put", f"{prefix}ab", "other")
        etcdctl("put", f"{prefix}a", "")
        etcdctl("del", f"{prefix}a")
        assert watch.lines(3) == ["PUT", f"{prefix}a", "1"]
        assert watch.lines(3) == ["PUT", f"{prefix}a", ""]
        assert watch.lines(3) == ["DELETE", f"{prefix}a", ""]
        assert watch.silent()


def test_a_watch_of_a_prefix_from_an_old_revision_starts_with_history(
    etcdctl: Etcdctl, prefix: str
) -> None:
    start = revision(etcdctl) + 1
    etcdctl("put", f"{prefix}a", "1")
    etcdctl("put", f"{prefix}b", "2")
    etcdctl("del", f"{prefix}a")
    with etcdctl.running("watch", "--prefix", prefix, f"--rev={start}") as watch:
        assert watch.lines(3) == ["PUT", f"{prefix}a", "1"]
        assert watch.lines(3) == ["PUT", f"{prefix}b", "2"]
        assert watch.lines(3) == ["DELETE", f"{prefix}a", ""]
        etcdctl("put", f"{prefix}c", "live")
        assert watch.lines(3) == ["PUT", f"{prefix}c", "live"]
    with etcdctl.running("watch", "--prefix", prefix, f"--rev={start + 2}") as watch:
        assert watch.lines(3) == ["DELETE", f"{prefix}a", ""]


def test_a_watch_of_a_range_takes_the_start_and_leaves_the_end(
    etcdctl: Etcdctl, prefix: str
) -> None:
    start = revision(etcdctl) + 1
    for name in ("a", "b", "c", "d"):
        etcdctl("put", prefix + name, "x")
    with etcdctl.running("watch", f"{prefix}b", f"{prefix}d", f"--rev={start}") as watch:
        assert watch.lines(6) == ["PUT", f"{prefix}b", "x", "PUT", f"{prefix}c", "x"]


def test_a_watch_with_prev_kv_prints_what_was_there_before(etcdctl: Etcdctl, prefix: str) -> None:
    start = revision(etcdctl) + 1
    etcdctl("put", f"{prefix}a", "1")
    etcdctl("put", f"{prefix}a", "2")
    etcdctl("del", f"{prefix}a")
    with etcdctl.running("watch", f"{prefix}a", "--prev-kv", f"--rev={start}") as watch:
        assert watch.lines(3) == ["PUT", f"{prefix}a", "1"]
        assert watch.lines(5) == ["PUT", f"{prefix}a", "1", f"{prefix}a", "2"]
        assert watch.lines(5) == ["DELETE", f"{prefix}a", "2", f"{prefix}a", ""]


def test_all_events_of_one_transaction_come_together(etcdctl: Etcdctl, prefix: str) -> None:
    start = revision(etcdctl) + 1
    puts = "".join(f"put {prefix}{name} {name}\n" for name in ("c", "a", "b"))
    etcdctl("txn", stdin=f"\n{puts}\n\n")
    with etcdctl.running("watch", "--prefix", prefix, f"--rev={start}", "-w", "json") as watch:
        line = watch.line()
    assert line.count('"kv":') == 3
    assert line.count(f'"mod_revision":{start},') == 3


def test_a_watch_of_a_future_revision_waits_for_it(etcdctl: Etcdctl, prefix: str) -> None:
    start = revision(etcdctl)
    with etcdctl.running("watch", f"{prefix}a", f"--rev={start + 3}") as watch:
        for value in ("1", "2", "3"):
            etcdctl("put", f"{prefix}a", value)
        assert watch.lines(3) == ["PUT", f"{prefix}a", "3"]


def test_a_watch_below_the_compacted_revision_is_cancelled_with_the_reason(
    etcdctl: Etcdctl, prefix: str
) -> None:
    etcdctl("put", f"{prefix}a", "1")
    etcdctl("put", f"{prefix}a", "2")
    etcdctl("compaction", str(revision(etcdctl)))
    with etcdctl.running("watch", f"{prefix}a", f"--rev={revision(etcdctl) - 1}") as watch:
        ended = watch.end()
    assert ended.code != 0
    assert "etcdserver: mvcc: required revision has been compacted" in ended.stderr


def test_a_watch_from_a_revision_below_zero_is_refused_or_starts_now(
    etcdctl: Etcdctl, fresh_server: Server
) -> None:
    etcdctl("put", "key", "value")
    with etcdctl.running("watch", "key", "--rev=-1") as watch:
        if differs("negative-watch-revision", fresh_server.target):
            assert "required revision has been compacted" in watch.end().stderr
        else:
            wait_until(lambda: etcdctl("put", "key", "live") and not watch.silent())
            assert watch.lines(3) == ["PUT", "key", "live"]


def test_a_watch_from_the_compacted_revision_sees_what_is_left(
    etcdctl: Etcdctl, prefix: str
) -> None:
    etcdctl("put", f"{prefix}a", "1")
    etcdctl("put", f"{prefix}a", "2")
    compacted = revision(etcdctl)
    etcdctl("compaction", str(compacted), "--physical")
    with etcdctl.running("watch", f"{prefix}a", f"--rev={compacted}") as watch:
        assert watch.lines(3) == ["PUT", f"{prefix}a", "2"]


def test_the_progress_notify_flag_is_taken_and_events_still_come(
    etcdctl: Etcdctl, prefix: str
) -> None:
    flags = () if etcdctl.line == "3.4" else ("--progress-notify",)
    start = revision(etcdctl) + 1
    with etcdctl.running("watch", *flags, f"{prefix}a", f"--rev={start}") as watch:
        etcdctl("put", f"{prefix}a", "1")
        assert watch.lines(3) == ["PUT", f"{prefix}a", "1"]


def test_interactive_watches_share_a_stream_and_can_ask_for_progress(
    etcdctl: Etcdctl, prefix: str
) -> None:
    start = revision(etcdctl) + 1
    etcdctl("put", f"{prefix}a", "1")
    etcdctl("put", f"{prefix}b", "2")
    with etcdctl.running("watch", "-i", stdin=f"watch {prefix}a --rev={start}\n") as watch:
        assert watch.lines(3) == ["PUT", f"{prefix}a", "1"]
        watch.write(f"watch --prefix {prefix} --rev={start + 1}\n")
        assert watch.lines(3) == ["PUT", f"{prefix}b", "2"]
        etcdctl("put", f"{prefix}a", "3")
        # The two print at once, and lines may come between lines.
        assert sorted(watch.lines(6)) == sorted(["PUT", f"{prefix}a", "3"] * 2)
        watch.write("progress\n")
        assert watch.line() == f"progress notify: {revision(etcdctl)}"


@pytest.mark.usefixtures("fresh_server")  # The revision told is the newest, whoever brought it.
def test_a_watch_runs_a_command_for_every_event(etcdctl: Etcdctl, prefix: str) -> None:
    start = revision(etcdctl) + 1
    etcdctl("put", f"{prefix}a", "1")
    command = ("sh", "-c", "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_VALUE at $ETCD_WATCH_REVISION")
    with etcdctl.running("watch", f"{prefix}a", f"--rev={start}", "--", *command) as watch:
        assert watch.lines(4) == ["PUT", f"{prefix}a", "1", f'"PUT" "1" at {start}']


def test_a_watch_goes_on_after_the_server_was_restarted(
    etcdctl: Etcdctl, fresh_server: Server
) -> None:
    with etcdctl.running("watch", "key", "--rev=2") as watch:
        etcdctl("put", "key", "before")
        assert watch.lines(3) == ["PUT", "key", "before"]
        fresh_server.restart(signal.SIGTERM)
        etcdctl("put", "key", "after")
        assert watch.lines(3) == ["PUT", "key", "after"]


def test_watchers_that_were_interrupted_leave_the_server_well(
    etcdctl: Etcdctl, prefix: str
) -> None:
    start = revision(etcdctl) + 1
    etcdctl("put", f"{prefix}a", "1")
    for _ in range(3):
        with etcdctl.running("watch", f"{prefix}a", f"--rev={start}") as watch:
            assert watch.lines(3) == ["PUT", f"{prefix}a", "1"]
            watch.send(signal.SIGKILL)
    assert etcdctl("put", f"{prefix}a", "2") == "OK\n"
