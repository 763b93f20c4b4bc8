"""Sessions with etcdctl written down as they look, to be replayed against any server.

A transcript starts with a line `# title`, and runs on a server of its own at revision 1:

    $ put foo bar
    OK

    $ txn <<END
    value("foo") = "bar"

    del foo

    END
    SUCCESS

    1

    $ lease revoke L9
    ! Error: …                      a line of standard error
    (exit 128)                      an exit code other than 0

A line that starts with `[3.4]`, `[3.5]`, `[tenure]` or `[etcd-3.5.1]` is expected only of that
client or that server; a command marked with a client is run by that one only. Everything else is
the same for all. Where the servers are to differ, the remark above the step says `differs: NAME`,
one of `compat.differences`.

`python -m compat.etcdctl.transcript FILE…` writes down anew what etcd 3.5.1 answers to both
clients; read what it changed before you commit it.
"""

import difflib
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from compat.differences import DIFFERENCES
from compat.etcdctl.command import Etcdctl
from compat.etcdctl.masking import Masks
from compat.etcdctl.versions import ETCDCTLS, etcdctl_version
from compat.targets import ETCD, TARGETS, Server

FOLDER: Final = Path(__file__).parent / "transcripts"
_TAG: Final = re.compile(r"^\[(3\.4|3\.5|tenure|etcd-3\.5\.1)\](?: (.*))?$")
_COMMAND: Final = re.compile(r"^(?:\[(3\.4|3\.5)\] )?\$ (.*)$")
_DIFFERS: Final = re.compile(r"\bdiffers: (\S+)")
_HEREDOC: Final = " <<END"


@dataclass
class Step:
    """One command, its input, the remarks above it, and the lines expected of it, tags included."""

    command: str
    remarks: list[str]
    only: str | None = None  # The one client it is for.
    stdin: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def head(self) -> list[str]:
        """The lines before the output, as they stand in the file."""
        prompt = f"[{self.only}] $" if self.only else "$"
        if not self.stdin:
            return [*self.remarks, f"{prompt} {self.command}"]
        return [*self.remarks, f"{prompt} {self.command}{_HEREDOC}", *self.stdin, "END"]

    def expected_of(self, tags: Iterable[str]) -> list[str]:
        """The lines expected of the client and the server named by `tags`."""
        lines = []
        for line in self.expected:
            tag = _TAG.match(line)
            if tag is None:
                lines.append(line)
            elif tag[1] in tags:
                lines.append(tag[2] or "")
        return lines


@dataclass
class Transcript:
    """A file of steps."""

    title: str
    steps: list[Step]

    @classmethod
    def read(cls, path: Path) -> "Transcript":
        """Parse `path`.

        Raises:
            ValueError: it does not start with a title, an input is not closed by END, or a
                difference between servers has no name.
        """
        lines = iter(path.read_text().splitlines())
        first = next(lines, "")
        if not first.startswith("# "):
            raise ValueError(f"{path.name} has no title")
        steps: list[Step] = []
        remarks: list[str] = []
        for line in lines:
            if line.startswith("# "):
                remarks.append(line)
            elif command := _COMMAND.match(line):
                steps.append(_step(command, remarks, lines))
                remarks = []
            elif steps and not remarks:
                steps[-1].expected.append(line)
        for step in steps:
            step.expected = _stripped(step.expected)
            _check_difference(step)
        return cls(first.removeprefix("# "), steps)

    def steps_of(self, line: str) -> list[Step]:
        """The steps that etcdctl of that release line takes."""
        return [step for step in self.steps if step.only in (None, line)]

    def expected_of(self, line: str, tag: str) -> str:
        """The whole session as it should look to that client, against the server of that tag."""
        steps = self.steps_of(line)
        return _text([*step.head(), *step.expected_of((line, tag))] for step in steps)

    def replay(self, etcdctl: Etcdctl) -> str:
        """Run every step, and return the session as it looked."""
        steps, outputs = self.steps_of(etcdctl.line), self.outputs(etcdctl)
        return _text([*step.head(), *output] for step, output in zip(steps, outputs, strict=True))

    def outputs(self, etcdctl: Etcdctl) -> list[list[str]]:
        """Run every step, and return the lines that each gave."""
        header = json.loads(etcdctl("get", "nothing", "-w", "json"))["header"]
        masks = Masks(
            cluster_id=header["cluster_id"],
            member_id=header["member_id"],
            endpoint=etcdctl.endpoint,
        )
        return [_run(step, etcdctl, masks) for step in self.steps_of(etcdctl.line)]


def _check_difference(step: Step) -> None:
    named = _DIFFERS.findall("\n".join(step.remarks))
    tags = {target.tag for target in TARGETS.values()}
    tagged = any(f"[{tag}]" in line for tag in tags for line in step.expected)
    if tagged != bool(named) or not set(named) <= DIFFERENCES.keys():
        raise ValueError(f"`{step.command}` and the named differences do not agree")


def _step(found: re.Match[str], remarks: list[str], lines: Iterator[str]) -> Step:
    only, command = found[1], found[2]
    if not command.endswith(_HEREDOC):
        return Step(command, remarks, only)
    step = Step(command.removesuffix(_HEREDOC), remarks, only)
    for line in lines:
        if line == "END":
            return step
        step.stdin.append(line)
    raise ValueError(f"the input of `{step.command}` has no END")


def _run(step: Step, etcdctl: Etcdctl, masks: Masks) -> list[str]:
    arguments = shlex.split(masks.unmask(step.command))
    stdin = masks.unmask("".join(f"{line}\n" for line in step.stdin))
    result = etcdctl.run(*arguments, stdin=stdin)
    lines = masks.mask(result.stdout).splitlines()
    lines += [f"! {line}" for line in masks.mask(result.stderr).splitlines()]
    if result.code != 0:
        lines.append(f"(exit {result.code})")
    return _stripped([line.rstrip() for line in lines])


def _stripped(lines: list[str]) -> list[str]:
    """Blank lines at the end separate steps, and are no part of an output."""
    end = len(lines)
    while end and not lines[end - 1]:
        end -= 1
    return lines[:end]


def _text(steps: Iterable[list[str]]) -> str:
    return "\n\n".join("\n".join(step) for step in steps) + "\n"


def _merged(outputs: dict[str, list[str]]) -> list[str]:
    """The lines both clients gave, and those that only one gave under its tag."""
    old, new = outputs["3.4"], outputs["3.5"]
    lines = []
    for kind, a, b, c, d in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if kind == "equal":
            lines += old[a:b]
        else:
            lines += [f"[3.4] {line}".rstrip() for line in old[a:b]]
            lines += [f"[3.5] {line}".rstrip() for line in new[c:d]]
    return lines


def rewrite(path: Path) -> None:
    """Write down what etcd answers; a step that already knows two servers apart stays as it is."""
    transcript = Transcript.read(path)
    given: dict[int, dict[str, list[str]]] = {id(step): {} for step in transcript.steps}
    for line, locate in ETCDCTLS.items():
        binary = locate()
        with tempfile.TemporaryDirectory() as folder:
            server = Server(ETCD, Path(folder) / "data")
            server.start()
            try:
                etcdctl = Etcdctl(binary, etcdctl_version(binary), server.endpoint)
                outputs = transcript.outputs(etcdctl)
            finally:
                server.stop()
        for step, output in zip(transcript.steps_of(line), outputs, strict=True):
            given[id(step)][line] = output
    for step in transcript.steps:
        if not _DIFFERS.search("\n".join(step.remarks)):
            step.expected = given[id(step)][step.only] if step.only else _merged(given[id(step)])
    body = _text([*step.head(), *step.expected] for step in transcript.steps)
    path.write_text(f"# {transcript.title}\n\n{body}")


if __name__ == "__main__":
    for file in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.txt")):
        rewrite(file)
