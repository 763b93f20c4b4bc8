"""What a flag's value may be: Go's syntax, read exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.settings.values import (
    BOOL,
    DURATION,
    INT,
    LIST,
    UINT,
    UINT32,
    Kind,
    choice,
    format_duration,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("5s", 5.0),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("100ms", 0.1),
        ("3us", 3e-06),
        ("3\N{MICRO SIGN}s", 3e-06),
        ("3\N{GREEK SMALL LETTER MU}s", 3e-06),
        ("1ns", 1e-09),
        ("-2s", -2.0),
        ("+2s", 2.0),
        ("-0", 0.0),
        ("1s1h", 3601.0),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert DURATION.parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "-", "5", "s", ".s", "5 s", "5x", "1h30", "00", "1e3s", "٣s", "--5s", "2562048h"]
)
def test_what_go_does_not_take_for_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        DURATION.parse(text)


@given(st.integers(-(10**15), 10**15))
def test_a_duration_that_is_written_is_read_back(microseconds: int) -> None:
    seconds = microseconds / 10**6
    assert DURATION.parse(format_duration(seconds)) == seconds


def test_a_duration_is_written_without_parts_that_are_zero() -> None:
    texts = [format_duration(each) for each in (0, 7200, 5400, 600, 20, 0.1, -1.5)]
    assert texts == ["0s", "2h", "1h30m", "10m", "20s", "100ms", "-1s500ms"]


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_go_has_six_words_for_true(text: str) -> None:
    assert BOOL.parse(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_go_has_six_words_for_false(text: str) -> None:
    assert BOOL.parse(text) is False


@pytest.mark.parametrize("text", ["", "yes", "no", "tRUE", "2", " true"])
def test_other_words_are_no_boolean(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        BOOL.parse(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("128", 128),
        ("0x1F", 31),
        ("0b101", 5),
        ("0o17", 15),
        ("017", 15),
        ("1_000", 1000),
        ("0x_ff", 255),
        ("-5", -5),
        ("+5", 5),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_an_integer_may_be_written_in_gos_bases(text: str, number: int) -> None:
    assert INT.parse(text) == number


@pytest.mark.parametrize("text", ["", "x", "1.5", " 1", "1 ", "08", "1__0", "_1", "1_", "٣", "0x"])
def test_what_go_does_not_take_for_an_integer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        INT.parse(text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (INT, "9223372036854775808"),
        (INT, "-9223372036854775809"),
        (UINT, "18446744073709551616"),
        (UINT32, "4294967296"),
    ],
)
def test_an_integer_beyond_its_width_is_out_of_range(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError, match="value out of range"):
        kind.parse(text)


@pytest.mark.parametrize("text", ["-1", "+1", "-0"])
def test_an_unsigned_integer_has_no_sign(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        UINT.parse(text)


def test_the_widest_unsigned_integers_are_read() -> None:
    assert UINT.parse("18446744073709551615") == 2**64 - 1
    assert UINT32.parse("4294967295") == 2**32 - 1


def test_a_list_keeps_its_order_and_drops_doubles() -> None:
    assert LIST.parse("b,a,b") == ("b", "a")
    assert LIST.parse("") == ()


def test_a_choice_takes_its_words_only() -> None:
    kind = choice("new", "existing")
    assert kind.parse("new") == "new"
    with pytest.raises(ValueError, match="invalid value"):
        kind.parse("New")
