"""The differential: that it agrees with what is known, and that it finds what is not."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest

from compat.differences import DIFFERENCES
from compat.differential.generator import Generator
from compat.differential.hunt import Hunt
from compat.differential.known import RULES
from compat.differential.operations import Operation
from compat.differential.shrinking import shrink
from compat.differential.world import World
from compat.targets import ETCD, NATIVE, Target, TargetUnavailableError

pytestmark = [pytest.mark.compat, pytest.mark.timeout(600)]

OPERATIONS: Final = 2_000
SEED: Final = "of every run"


@contextmanager
def hunting(reference: Target, folder: Path, *flags: str) -> Iterator[Hunt]:
    """Tenure with those flags beside `reference`."""
    try:
        hunt = Hunt(NATIVE, reference, folder, flags)
    except TargetUnavailableError as error:
        pytest.skip(str(error))
    try:
        yield hunt
    finally:
        hunt.close()


def test_tenure_answers_as_etcd_does(tmp_path: Path) -> None:
    with hunting(ETCD, tmp_path) as hunt:
        tally = asyncio.run(hunt.run(SEED, OPERATIONS, findings_max=1, shrinks=True))
    assert not tally.findings, str(tally.findings[0])
    assert tally.operations == OPERATIONS


def test_a_difference_is_found_and_made_short(tmp_path: Path) -> None:
    """Two of ours, of which one takes fewer operations in a transaction."""
    with hunting(NATIVE, tmp_path, "--max-txn-ops", "2") as hunt:
        tally = asyncio.run(hunt.run("any", 200, findings_max=1, shrinks=True))
    (finding,) = tally.findings
    assert finding.difference.ours.endswith("too many operations in txn request")
    assert [each.method for each in finding.operations] == ["KV/Txn"]


def test_the_same_seed_gives_the_same_operations() -> None:
    def drawn(seed: str) -> list[Operation]:
        generator = Generator(seed, World())
        return [generator.draw() for _ in range(500)]

    assert drawn("a") == drawn("a") != drawn("b")
    methods = {each.method for each in drawn("a")}
    assert {"KV/Put", "KV/Txn", "Watch/Watch", "Lease/LeaseGrant", "KV/Compact"} <= methods


@pytest.mark.parametrize("needed", [(0,), (3, 4), (0, 50, 99), ()])
def test_what_is_not_needed_is_left_out(needed: Sequence[int]) -> None:
    async def fails(items: Sequence[int]) -> bool:
        return items[-1] == 100 and set(needed) <= set(items)

    assert asyncio.run(shrink(range(101), fails, tries_max=1_000)) == [*needed, 100]


def test_making_short_ends_after_so_many_tries() -> None:
    tries = 0
    random = Random(1)

    async def fails(items: Sequence[int]) -> bool:
        nonlocal tries
        tries += 1
        assert items
        return random.random() < 0.1

    asyncio.run(shrink(range(1_000), fails, tries_max=20))
    assert tries == 20


def test_every_rule_has_its_reason() -> None:
    assert RULES.keys() <= DIFFERENCES.keys()
