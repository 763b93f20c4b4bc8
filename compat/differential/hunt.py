"""Episodes one after the other, each over two new servers, and what they find made short."""

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from compat.differential.episode import Difference, Episode
from compat.differential.generator import Generator
from compat.differential.operations import Operation
from compat.differential.shrinking import shrink
from compat.targets import Supply, Target

EPISODE_OPERATIONS: Final = 500
TRIES_MAX: Final = 60  # To make one finding shorter; each takes new servers, and about a second.
# Hashes as cheap as may be; and nobody pulls the plug.
FLAGS: Final = ("--bcrypt-cost", "4")
TENURE_FLAGS: Final = (*FLAGS, "--unsafe-no-fsync")


@dataclass
class Finding:
    """A difference that is not meant, and the operations that lead to it; the last shows it."""

    difference: Difference
    operations: Sequence[Operation]
    seed: str

    def __str__(self) -> str:
        steps = "\n".join(f"  {number:3} {each}" for number, each in enumerate(self.operations, 1))
        return f"episode {self.seed}:\n{steps}\n{self.difference}"


@dataclass
class Tally:
    """What was done."""

    operations: int = 0
    meant: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


class Hunt:
    """Both kinds of server, as many as are needed."""

    def __init__(
        self,
        target: Target,
        reference: Target,
        folder: Path,
        target_flags: Sequence[str] = (),
    ) -> None:
        self._supplies = [
            Supply(each, folder / name, None, (*_flags(each), *flags))
            for each, name, flags in (
                (target, "ours", target_flags),
                (reference, "theirs", ()),
            )
        ]

    def close(self) -> None:
        for supply in self._supplies:
            supply.close()

    async def run(
        self, seed: str, count: int, *, findings_max: int, shrinks: bool, first: int = 0
    ) -> Tally:
        """So many operations; ends early with enough findings of different kinds.

        `first` is the number of the episode to begin with: to have one that was named again.
        """
        tally, seen = Tally(), set[tuple[str, ...]]()
        number = first
        while tally.operations < count and len(tally.findings) < findings_max:
            name = f"{seed}/{number}"
            number += 1
            length = min(EPISODE_OPERATIONS, count - tally.operations)
            finding = await self._episode(name, length, tally)
            if finding is not None and finding.difference.signature not in seen:
                seen.add(finding.difference.signature)
                if shrinks:
                    finding = await self._shortened(finding)
                tally.findings.append(finding)
                print(finding, flush=True)
        return tally

    async def replay(self, operations: Sequence[Operation]) -> Difference | None:
        """What the two say differently of these."""
        with self._servers() as endpoints:
            episode = Episode(*endpoints)
            try:
                for operation in operations:
                    if (found := await episode.perform(operation)) is not None:
                        return found
                return await episode.finish(operations[-1]) if operations else None
            finally:
                await episode.close()

    async def _episode(self, seed: str, length: int, tally: Tally) -> Finding | None:
        done: list[Operation] = []
        with self._servers() as endpoints:
            episode = Episode(*endpoints)
            generator = Generator(seed, episode.world)
            try:
                for _ in range(length):
                    done.append(generator.draw())
                    tally.methods[done[-1].method] += 1
                    if (found := await episode.perform(done[-1])) is not None:
                        return Finding(found, done, seed)
                    if episode.is_over:
                        break
                if (found := await episode.finish(done[-1])) is not None:
                    return Finding(found, done, seed)
            finally:
                tally.operations += len(done)
                tally.meant += episode.meant
                await episode.close()
        return None

    async def _shortened(self, finding: Finding) -> Finding:
        newest = finding.difference

        async def fails(operations: Sequence[Operation]) -> bool:
            nonlocal newest
            found = await self.replay(operations)
            if found is None or found.signature != finding.difference.signature:
                return False
            newest = found
            return True

        operations = await shrink(finding.operations, fails, TRIES_MAX)
        return Finding(newest, operations, finding.seed)

    @contextmanager
    def _servers(self) -> Iterator[list[str]]:
        with ExitStack() as stack:
            servers = []
            for supply in self._supplies:
                servers.append(server := supply.take())
                stack.callback(server.stop, signal.SIGKILL)
            yield [server.endpoint for server in servers]


def _flags(target: Target) -> tuple[str, ...]:
    return TENURE_FLAGS if target.is_tenure else FLAGS
