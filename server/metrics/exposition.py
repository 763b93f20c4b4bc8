"""The page: everything of everyone, as of now."""

from __future__ import annotations

from server.metrics import calls, lease, member, process, store
from server.metrics.sources import Sources
from server.metrics.text import Family, exposition


def render(sources: Sources) -> bytes:
    """The text of /metrics, of type `text.CONTENT_TYPE`. On the loop; changes nothing.

    Costs some milliseconds, and a step more for each watcher.
    """
    return exposition(families(sources))


def families(sources: Sources) -> tuple[Family, ...]:
    """All there are, those without a sample too."""
    return (
        *member.families(sources),
        *store.families(sources),
        *lease.families(sources),
        *calls.families(sources.calls),
        *process.families(),
    )
