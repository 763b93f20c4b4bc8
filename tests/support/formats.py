"""Data directories of formats that were, kept as archives."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "process" / "testdata"


def unpack(number: int, directory: Path) -> None:
    """Put what is kept of format `number` into a directory."""
    with tarfile.open(FOLDER / f"format-{number}.tar.gz") as archive:
        # Python 3.11.4 and later have it, and later ones want to be told; earlier ones know none.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(directory)
