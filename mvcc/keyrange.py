"""A half-open interval of keys, and the one place that knows how the wire spells it."""

from __future__ import annotations

from typing import NamedTuple, Self


class KeyRange(NamedTuple):
    """Keys k with start <= k < end. `end` is None where there is no upper bound."""

    start: bytes
    end: bytes | None

    @classmethod
    def from_wire(cls, key: bytes, range_end: bytes) -> Self:
        r"""Decode (key, range_end) as etcd's rpc.proto defines them.

        range_end b"" is `key` alone; b"\0" is every key from `key` on; anything else is
        the exclusive end, taken literally: one that is not above `key` is an empty range.
        """
        if not range_end:
            return cls(key, key + b"\0")
        if range_end == b"\0":
            return cls(key, None)
        return cls(key, range_end)

    @property
    def is_empty(self) -> bool:
        return self.end is not None and self.end <= self.start

    @property
    def is_single(self) -> bool:
        """True where no key but `start` can lie in it."""
        return self.end is not None and self.end == self.start + b"\0"

    @property
    def prefix(self) -> bytes | None:
        r"""What all keys of the range begin with, and no other key does; None if there is no such.

        b"" is every key there is: none is empty, so the range may begin at b"\0" as well.
        """
        start, end = self
        if end is None:
            return b"" if start in (b"", b"\0") else None
        stem = start.rstrip(b"\xff")
        if stem and end == stem[:-1] + bytes((stem[-1] + 1,)):
            return start
        return None

    def __contains__(self, key: object) -> bool:
        assert isinstance(key, bytes)
        return self.start <= key and (self.end is None or key < self.end)
