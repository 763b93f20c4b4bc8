"""Runs a program several times over one directory and cuts its power, on copies, again and again.

    python -m tests.power.record TOP OUT --lives N --cuts N --seed N -- COMMAND...

`{life}` in the command becomes the number of the life; the file OUT/story.LIFE is the program's
(see `story`). Each cut is a directory OUT/NUMBER with what a disk could hold below TOP, and a
line of JSON in OUT/cuts. Between two lives the power is really cut, or the program has just died.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.power import ptrace
from tests.power.disk import Disk
from tests.power.ptrace import Call

CALLS_EXPECTED: Final = 200  # In a life, until it is known how many there are.


class Recorder:
    """Decides when to cut."""

    def __init__(self, disk: Disk, out: Path, chance: random.Random) -> None:
        self.disk = disk
        self.life = 0
        self.cuts = 0
        self.calls = 0
        self.syncs = 0
        self.cut_chance = 0.0
        self._out = out
        self._chance = chance
        self._index = (out / "cuts").open("w", encoding="utf-8")

    def begins(self, call: Call) -> None:
        acknowledged = self._story_bytes()
        name = self.disk.begins(call)
        self.calls += 1
        self.syncs += bool(name)
        self._maybe_cut(acknowledged, f"before {call.name} {name}")

    def ended(self, call: Call, *, well: bool) -> None:
        acknowledged = self._story_bytes()
        self.disk.ended(well=well)
        self._maybe_cut(acknowledged, f"after {call.name}")

    def _maybe_cut(self, acknowledged: int, when: str) -> None:
        if self._chance.random() < self.cut_chance:
            self.cut("sure", acknowledged, when)
            self.cut("some", acknowledged, when)

    def cut(self, what: str, acknowledged: int, when: str) -> Path:
        """Leave one image, and what has to be known to judge it."""
        self.cuts += 1
        image = self._out / f"{self.cuts:05}"
        if what == "sure":
            self.disk.leave_sure(image)
        else:
            self.disk.leave_some(image, self._chance)
        line = {
            "image": image.name,
            "life": self.life,
            "acknowledged": acknowledged,
            "begun": self._story_bytes(),  # After the image was made: the program goes on.
            "when": f"{when}, what is {what}",
        }
        self._index.write(json.dumps(line) + "\n")
        self._index.flush()
        return image

    def _story_bytes(self) -> int:
        story = self._out / f"story.{self.life}"
        return story.stat().st_size if story.exists() else 0


@dataclass(frozen=True, slots=True)
class Summary:
    lives: int
    calls: int
    syncs: int
    cuts: int


def record(
    top: Path, out: Path, command: list[str], *, lives: int, cuts: int, seed: int
) -> Summary:
    chance = random.Random(seed)
    recorder = Recorder(Disk(top), out, chance)
    recorder.cut_chance = cuts / lives / 4 / CALLS_EXPECTED
    for life in range(lives):
        recorder.life = life
        code = ptrace.run([each.replace("{life}", str(life)) for each in command], recorder)
        assert code == 0, f"life {life} ended with {code}"
        recorder.disk.look()
        if life + 1 < lives and chance.random() < 0.5:
            image = recorder.cut("some", recorder._story_bytes(), "at the end")
            _replace(top, image)
            recorder.disk.all_is_sure()
        done = recorder.calls * 2 / (life + 1)  # Occasions in a life.
        left = max(0, cuts - recorder.cuts) / max(1, lives - life - 1)
        recorder.cut_chance = left / 2 / done
    return Summary(lives, recorder.calls, recorder.syncs, recorder.cuts)


def _replace(top: Path, image: Path) -> None:
    """The machine comes up with this on its disk."""
    for each in top.iterdir():
        shutil.rmtree(each)
    shutil.copytree(image, top, dirs_exist_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.power.record")
    parser.add_argument("top", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lives", type=int, default=1)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("command", nargs="+")
    chosen = parser.parse_args()
    summary = record(
        chosen.top.resolve(),
        chosen.out,
        chosen.command,
        lives=chosen.lives,
        cuts=chosen.cuts,
        seed=chosen.seed,
    )
    (chosen.out / "summary").write_text(repr(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
