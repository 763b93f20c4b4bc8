"""What the lessor asks of the place where lease records are kept.

Declared here, in the consumer, so that `lease` knows no storage; `server` composes the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class LeaseBucket(Protocol):
    """The rows of the `lease` bucket. Writes go into whatever batch the caller has open.

    So a lease's record and the keys deleted with it become durable together or not at all.
    """

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes, value_bytes: int) -> None:
        """Remove a row that is there. Its value has so many bytes: nobody need read it to know."""
        ...

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Every row, in byte order of its key."""
        ...
