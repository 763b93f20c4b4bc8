"""The table of all metrics, read off a server in memory that nobody has asked anything."""

from __future__ import annotations

import asyncio

from server.metrics.exposition import families
from tests.support.serving import running


def metrics_table() -> str:
    """A row for each, in the order of their names."""
    lines = [f"| `{name}` | {kind} | {text} |" for name, kind, text in asyncio.run(_rows())]
    return "\n".join(["| Name | Type | What it says |", "|---|---|---|", *lines]) + "\n"


async def _rows() -> list[tuple[str, str, str]]:
    async with running(metrics="extensive") as server:
        return sorted((each.name, each.kind, each.help) for each in families(server.core.metrics))
