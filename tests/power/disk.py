"""A model of what a disk is sure to hold, kept beside a real directory that a program works in.

What is sure: of a file the bytes that it had when the last fsync of it that ended well began; of
a directory the names that it had then. Everything since may have reached the disk or not:

  - of a file any sectors of 512 bytes, each as it was or as it is now, and any length between;
    for one of a page or less, which may be mapped into memory, as it was whenever it was looked at;
  - of a directory the names as they were after any of the changes since, in their order: file
    systems that keep a journal do not reorder them.

fsync of a file says nothing of its name here, which is stricter than most file systems are.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from tests.power.ptrace import SYNCS, Call

SECTOR_BYTES: Final = 512
PAGE_BYTES: Final = 4096
_SEEN_MAX: Final = 32  # States remembered of a page.


@dataclass(eq=False, slots=True)
class File:
    path: Path
    sure: bytes = b""
    seen: list[bytes] = field(default_factory=list)
    is_gone: bool = False  # It has no name any more, and its path may be another one's.

    def now(self) -> bytes | None:
        """None once it has no name."""
        if self.is_gone:
            return None
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None


@dataclass(eq=False, slots=True)
class Directory:
    path: Path
    sure: Names = field(default_factory=dict)
    since: list[Names] = field(default_factory=list)  # After each change of them.

    def now(self) -> Names:
        return self.since[-1] if self.since else self.sure


Node: TypeAlias = File | Directory
Names: TypeAlias = dict[str, Node]


class Disk:
    """Everything below one directory, which is sure itself. Told of calls by a tracer."""

    def __init__(self, top: Path) -> None:
        self.top = Directory(top)
        self._by_inode: dict[int, Node] = {top.stat().st_ino: self.top}
        self._syncing: tuple[Node, bytes | Names] | None = None
        self.all_is_sure()

    def all_is_sure(self) -> None:
        """The machine has come up: the disk is what can be read."""
        self._by_inode = {self.top.path.stat().st_ino: self.top}
        self.look()
        for node in self._by_inode.values():
            if isinstance(node, Directory):
                node.sure, node.since = node.now(), []
            else:
                node.sure, node.seen = node.now() or b"", []

    def begins(self, call: Call) -> str:
        """Returns the name of the file that is about to be synced, if it is one of these."""
        self.look()
        self._syncing = None
        if call.name not in SYNCS:
            return ""
        path = Path(call.path())
        if not path.is_relative_to(self.top.path):
            return ""
        node = self._by_inode[path.stat().st_ino]
        covered = node.now()
        assert covered is not None, path
        self._syncing = node, covered
        return path.name

    def ended(self, *, well: bool) -> None:
        if well and self._syncing is not None:
            node, covered = self._syncing
            if isinstance(node, Directory):
                assert isinstance(covered, dict)
                node.sure, node.since = covered, []
            else:
                assert isinstance(covered, bytes)
                node.sure, node.seen = covered, [covered] if len(covered) <= PAGE_BYTES else []
        self._syncing = None
        self.look()

    def look(self) -> None:
        """Notice which names have changed, and what small files hold."""
        found: dict[int, Node] = {}
        self._look_into(self.top, self.top.path.stat().st_ino, found)
        for inode, node in self._by_inode.items():
            if isinstance(node, File) and found.get(inode) is not node:
                node.is_gone = True
        self._by_inode = found  # An inode that went may come back as another file.

    def _look_into(self, directory: Directory, inode: int, found: dict[int, Node]) -> None:
        found[inode] = directory
        names: Names = {}
        for entry in sorted(os.scandir(directory.path), key=lambda each: each.name):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # A call of a thread that is not stopped: it is noticed.
                continue
            path = Path(entry.path)
            kind = Directory if stat.S_ISDIR(status.st_mode) else File
            node = found.get(status.st_ino) or self._by_inode.get(status.st_ino)
            if not isinstance(node, kind):
                node = kind(path)
            node.path = path
            names[entry.name] = found[status.st_ino] = node
            if isinstance(node, Directory):
                self._look_into(node, status.st_ino, found)
            elif status.st_size <= PAGE_BYTES:
                self._note(node)
        if names != directory.now():
            directory.since.append(names)

    @staticmethod
    def _note(file: File) -> None:
        now = file.now()
        if now is not None and (not file.seen or file.seen[-1] != now):
            file.seen.append(now)
            del file.seen[1:-_SEEN_MAX]

    # --- a power cut ---

    def leave_sure(self, target: Path) -> None:
        """Put what is sure, and nothing else, into the new directory `target`."""
        _leave(self.top, target, lambda each: each.sure, lambda each: each.sure)

    def leave_some(self, target: Path, chance: random.Random) -> None:
        """Put there what is sure, and of everything since as much as chance will have it."""
        _leave(
            self.top,
            target,
            lambda each: chance.choice([each.sure, *each.since]),
            lambda each: _some(each, chance),
        )

    def leave_all(self, target: Path) -> None:
        """Put there what can be read now, as if only the program had died."""
        _leave(self.top, target, Directory.now, lambda each: each.now() or b"")


def _leave(
    directory: Directory,
    target: Path,
    names_of: Callable[[Directory], Names],
    content_of: Callable[[File], bytes],
) -> None:
    target.mkdir(mode=0o700)
    for name, node in names_of(directory).items():
        if isinstance(node, Directory):
            _leave(node, target / name, names_of, content_of)
        else:
            (target / name).write_bytes(content_of(node))


def _some(file: File, chance: random.Random) -> bytes:
    """One state of a file that a power cut may leave."""
    sure, now = file.sure, file.now()
    if now is None or now == sure:
        return sure
    first = next(
        (at for at, (a, b) in enumerate(zip(sure, now, strict=False)) if a != b),
        min(len(sure), len(now)),
    )
    kind = chance.randrange(4)
    if kind == 0:
        return sure
    if kind == 1:
        return now
    if kind == 2:  # In order, up to somewhere.
        end = chance.randint(first, max(len(now), len(sure)))
        return now[:end] + sure[end:]
    states = [sure, now] if max(len(sure), len(now)) > PAGE_BYTES else [sure, now, *file.seen]
    out = bytearray(now[: first - first % SECTOR_BYTES])
    size = chance.randint(*sorted((len(sure), len(now))))
    for at in range(len(out), size, SECTOR_BYTES):
        out += chance.choice(states)[at : at + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0")
    return bytes(out[:size])
