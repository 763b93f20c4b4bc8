"""aetcd: transactions."""

import pytest

from compat.aetcd import Connect, aetcd


async def test_the_compares_decide_between_the_branches(connect: Connect, prefix: str) -> None:
    a, b = f"{prefix}a".encode(), f"{prefix}b".encode()
    async with connect() as client:
        do = client.transactions
        await client.put(a, b"1")
        revision = (await client.get(a)).mod_revision
        for compare, holds in (
            (do.value(a) == b"1", True),
            (do.value(a) != b"1", False),
            (do.version(a) > 0, True),
            (do.version(a) < 1, False),
            (do.create(a) == revision, True),
            (do.mod(a) > revision, False),
        ):
            succeeded, responses = await client.transaction(
                compare=[compare],
                success=[do.put(b, b"yes"), do.get(b)],
                failure=[do.delete(b), do.get(a)],
            )
            assert succeeded is holds
            [(value, _)] = responses[1]
            assert value == (b"yes" if holds else b"1")
            assert (await client.get(b) is not None) is holds


async def test_operations_run_in_order_in_one_revision(connect: Connect, prefix: str) -> None:
    a, b = f"{prefix}a".encode(), f"{prefix}b".encode()
    async with connect() as client:
        do = client.transactions
        before = (await client.put(a, b"0")).header.revision
        inner = do.txn([do.value(a) == b"0"], [do.put(b, b"inner")], [])
        succeeded, responses = await client.transaction(
            [], [do.get(b), do.delete(a), do.get(a), inner, do.get(b)], []
        )
        assert succeeded
        assert (responses[0], responses[2]) == ([], [])
        assert responses[3].response_txn.succeeded
        [(value, metadata)] = responses[4]
        assert (value, metadata.mod_revision) == (b"inner", before + 1)


async def test_what_is_refused_changes_nothing(connect: Connect, prefix: str) -> None:
    key = f"{prefix}key".encode()
    async with connect() as client:
        do = client.transactions
        for operations, text in (
            ([do.put(key, b"1")] * 2, "etcdserver: duplicate key given in txn request"),
            (
                [do.put(key + b"%d" % number, b"1") for number in range(129)],
                "etcdserver: too many operations in txn request",
            ),
            ([do.put(key, b"1", lease=4822)], "etcdserver: requested lease not found"),
        ):
            with pytest.raises(aetcd.exceptions.ClientError) as error:
                await client.transaction([], operations, [])
            assert str(error.value) == text
        assert await client.get(key) is None
