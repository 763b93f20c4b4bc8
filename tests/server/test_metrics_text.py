"""The text format: numbers as Go writes them, histograms, and labels that need care."""

from __future__ import annotations

import pytest

from server.metrics.histogram import Histogram, doubling, histogram
from server.metrics.text import Family, Sample, counter, exposition, gauge, info, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (-1, "-1"),
        (7, "7"),
        (999_999, "999999"),
        (1_000_000, "1e+06"),
        (1_048_576, "1.048576e+06"),
        (2_147_483_648, "2.147483648e+09"),
        (-2_000_000, "-2e+06"),
        (2**64 - 1, "1.8446744073709552e+19"),
        (0.001, "0.001"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.5, "1.5"),
        (123456.75, "123456.75"),
        (1795402657.26, "1.79540265726e+09"),
        (1e100, "1e+100"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_a_number_is_written_as_go_writes_it(value: float, text: str) -> None:
    assert number(value) == text


def test_a_name_may_end_in_total_or_not_whatever_its_type() -> None:
    page = exposition([counter("b_success", "Good ones.", 2), gauge("a_total", "How many.", 1)])
    assert page.decode() == (
        "# HELP a_total How many.\n# TYPE a_total gauge\na_total 1\n"
        "# HELP b_success Good ones.\n# TYPE b_success counter\nb_success 2\n"
    )


def test_a_family_without_series_is_left_out() -> None:
    assert exposition([Family("a", "gauge", "Nothing.", [])]) == b"\n"


def test_a_label_keeps_what_would_end_it() -> None:
    page = exposition([info("a", "A.", {"b": 'x"y\\z\n'})])
    assert page.decode().splitlines()[-1] == r'a{b="x\"y\\z\n"} 1'


def test_labels_come_in_the_order_of_their_names() -> None:
    page = exposition([info("a", "A.", {"c": "2", "b": "1"})])
    assert page.decode().splitlines()[-1] == 'a{b="1",c="2"} 1'


def test_a_bucket_takes_its_own_bound_and_counts_all_below() -> None:
    taken = Histogram((1, 2, 4))
    taken.observe_all([0, 1, 1.5, 2, 4, 5])
    family = histogram("a", "A.", taken.bounds, taken.counts, taken.sum)
    assert list(family.samples) == [
        Sample("_bucket", '{le="1"}', 2),
        Sample("_bucket", '{le="2"}', 4),
        Sample("_bucket", '{le="4"}', 5),
        Sample("_bucket", '{le="+Inf"}', 6),
        Sample("_sum", "", 13.5),
        Sample("_count", "", 6),
    ]


def test_bounds_double() -> None:
    assert doubling(0.001, 4) == [0.001, 0.002, 0.004, 0.008]
