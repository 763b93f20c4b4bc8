"""A histogram in Prometheus' sense: how many values were at most so large.

Observed from one thread, read from any: the count is added up from the buckets, so what is read
agrees with itself even if it is read while a value is coming in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from server.metrics.text import Family, Sample, number


class Histogram:
    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` are the buckets' largest values, ascending; one for all the rest is added."""
        assert all(low < high for low, high in pairwise(bounds))
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_all(self, values: list[float]) -> None:
        for value in values:
            self.observe(value)


def histogram(
    name: str, help: str, bounds: Sequence[float], counts: Sequence[int], total: float
) -> Family:
    """A family of the values counted by bucket; `counts` has one more for what is above all."""
    assert len(counts) == len(bounds) + 1
    return Family(name, "histogram", help, samples(bounds, counts, total))


def samples(
    bounds: Sequence[float], counts: Sequence[int], total: float, labels: str = ""
) -> Iterator[Sample]:
    """Those of one series; `labels` as `label_text` writes them."""
    others = f"{labels[:-1]}," if labels else "{"
    running = list(accumulate(list(counts)))
    for bound, count in zip(bounds, running, strict=False):
        yield Sample("_bucket", f'{others}le="{number(bound)}"}}', count)
    yield Sample("_bucket", f'{others}le="+Inf"}}', running[-1])
    yield Sample("_sum", labels, total)
    yield Sample("_count", labels, running[-1])


def doubling(first: float, count: int) -> list[float]:
    """So many bounds, each twice the one before."""
    return [first * 2**power for power in range(count)]
