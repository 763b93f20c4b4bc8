"""Commands that change nothing, for what the engine does with any command."""

from __future__ import annotations

from server.commands.base import State, WritesOnly


class Note(WritesOnly):
    """Writes down when it is applied; optionally fails."""

    def __init__(self, notes: list[str], name: str, bug: Exception | None = None) -> None:
        self._notes = notes
        self._name = name
        self._bug = bug

    def check(self, state: State) -> None: ...

    def apply(self, state: State) -> str:  # noqa: ARG002  # it changes nothing
        if self._bug is not None:
            raise self._bug
        self._notes.append(self._name)
        return self._name


class ReadsDisk(Note):
    """Notes what it finds in the open batch."""

    reads_disk = True

    def apply(self, state: State) -> str:
        assert state.store.batch is not None
        self._notes.append(f"{self._name} after {len(state.store.batch)} rows")
        return self._name


class Refused(Note):
    def __init__(self) -> None:
        super().__init__([], "refused")

    def check(self, state: State) -> None:
        state.compactor.check(-1)
