"""What makes a request malformed (RFC 9113 section 8), and what is read of one that is not."""

from __future__ import annotations

import pytest

from server.transport.head import Head, MalformedError, check_trailers, parse_timeout
from server.transport.hpack import Decoder, encode
from tests.server.transport.support import REQUEST, block


def head(*fields: tuple[bytes, bytes]) -> Head:
    return Head(Decoder().decode(encode(fields)))


def test_a_request_is_read() -> None:
    read = head(*REQUEST, (b"grpc-timeout", b"250m"), (b"grpc-encoding", b"gzip"), (b"token", b"x"))
    assert (read.method, read.scheme, read.path) == (b"POST", b"http", b"/f.S/Echo")
    assert (read.authority, read.content_type) == (b"localhost", b"application/grpc")
    assert (read.timeout_s, read.encoding, read.content_length) == (0.25, b"gzip", -1)
    assert read.get(b"token") == b"x"
    assert read.get(b"nope") is None
    assert (b"te", b"trailers") in read.metadata()
    assert not [name for name, _ in read.metadata() if name.startswith(b":")]


@pytest.mark.parametrize("missing", ["_method", "_scheme", "_path"])
def test_a_request_without_a_pseudo_header_is_malformed(missing: str) -> None:
    """RFC 9113 section 8.3.1."""
    with pytest.raises(MalformedError):
        Head(Decoder().decode(block(**{missing: None})))


@pytest.mark.parametrize(
    "field",
    [
        (b":path", b"/again"),
        (b":status", b"200"),
        (b":unknown", b""),
        (b":protocol", b"websocket"),
        (b"connection", b"close"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"Upper", b""),
        (b"x", b"a\nb"),
        (b"grpc-timeout", b"soon"),
        (b"content-length", b"-1"),
        (b"content-length", b"1" * 19),
    ],
)
def test_a_field_that_no_request_may_have_is_malformed(field: tuple[bytes, bytes]) -> None:
    """RFC 9113 sections 8.1.1, 8.2.1, 8.2.2 and 8.3."""
    with pytest.raises(MalformedError):
        head(*REQUEST, field)


def test_a_pseudo_header_behind_others_is_malformed() -> None:
    """RFC 9113 section 8.3."""
    with pytest.raises(MalformedError):
        head((b"te", b"trailers"), *REQUEST[:4])


def test_an_empty_path_is_malformed() -> None:
    """RFC 9113 section 8.3.1."""
    with pytest.raises(MalformedError):
        head(*REQUEST[:2], (b":path", b""))


def test_two_lengths_that_differ_are_malformed_and_two_that_agree_are_one() -> None:
    """RFC 9110 section 8.6."""
    one, two = (b"content-length", b"1"), (b"content-length", b"2")
    assert head(*REQUEST, one, one).content_length == 1
    with pytest.raises(MalformedError):
        head(*REQUEST, one, two)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 4e-3), (b"5u", 5e-6), (b"99999999n", 0.1)],
)
def test_a_timeout_has_a_unit(text: bytes, seconds: float) -> None:
    assert parse_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [b"", b"S", b"1", b"1s", b"-1S", b"+1S", b" 1S", b"123456789S"])
def test_what_is_no_timeout_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_timeout(text)


@pytest.mark.parametrize("name", [b":path", b":status", b"connection", b"Upper"])
def test_trailers_have_no_pseudo_headers_and_nothing_of_the_connection(name: bytes) -> None:
    """RFC 9113 section 8.1."""
    check_trailers(Decoder().decode(encode(((b"x-checksum", b"1"),))))
    with pytest.raises(MalformedError):
        check_trailers(Decoder().decode(encode(((name, b"1"),))))
