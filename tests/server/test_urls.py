"""URLs and lists of them, by etcd's rules and with its texts."""

from __future__ import annotations

import pytest

from server.settings.urls import URL, format_urls, parse_urls


def test_a_host_and_a_port_are_read() -> None:
    url = URL.parse(" http://127.0.0.1:2379 ")
    assert (url.scheme, url.host, url.port, str(url)) == (
        "http",
        "127.0.0.1",
        2379,
        "http://127.0.0.1:2379",
    )


def test_an_ipv6_address_loses_its_brackets() -> None:
    url = URL.parse("http://[::1]:2379")
    assert (url.host, url.port, url.can_be_bound) == ("::1", 2379, True)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix://localhost:1234", "localhost:1234"),
        ("unix:///run/tenure.sock", "/run/tenure.sock"),
        ("unixs:///run/tenure.sock", "/run/tenure.sock"),
        ("unix:/run/tenure.sock", "/run/tenure.sock"),
    ],
)
def test_a_unix_url_names_a_file_by_all_that_follows_the_scheme(text: str, path: str) -> None:
    url = URL.parse(text)
    assert (url.is_unix, url.path, url.can_be_bound) == (True, path, True)


@pytest.mark.parametrize("text", ["https://a:1", "unixs:///a"])
def test_two_schemes_mean_tls(text: str) -> None:
    assert URL.parse(text).is_tls


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "URL scheme must be http, https, unix, or unixs: "),
        ("127.0.0.1:2379", "URL scheme must be http, https, unix, or unixs: 127.0.0.1:2379"),
        ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
        ("http://a", 'URL address does not have the form "host:port": http://a'),
        ("http://a:", 'URL address does not have the form "host:port": http://a:'),
        ("http://a:x", 'URL address does not have the form "host:port": http://a:x'),
        ("http://::1:1", 'URL address does not have the form "host:port": http://::1:1'),
        ("http://a:65536", 'URL address does not have the form "host:port": http://a:65536'),
        ("http://a:1/b", "URL must not contain a path: http://a:1/b"),
        ("http://a:1/", "URL must not contain a path: http://a:1/"),
        ("http://a:1?b", "URL must not contain a path: http://a:1?b"),
        ("unix://", "URL names no socket file: unix://"),
    ],
)
def test_what_is_no_url_is_refused_with_etcds_text(text: str, refusal: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # The text is compared whole below.
        URL.parse(text)
    assert str(caught.value) == refusal


def test_brackets_left_open_are_refused() -> None:
    with pytest.raises(ValueError, match=r'^parse "http://\[::1:1": '):
        URL.parse("http://[::1:1")


@pytest.mark.parametrize(
    ("host", "can"), [("localhost", True), ("0.0.0.0", True), ("example.com", False), ("", False)]
)
def test_a_listener_takes_an_address_or_localhost(host: str, can: bool) -> None:
    assert URL.parse(f"http://{host}:1").can_be_bound is can


def test_a_list_is_sorted_and_has_no_doubles() -> None:
    urls = parse_urls("http://b:1, http://a:1,http://b:1")
    assert format_urls(urls) == "http://a:1,http://b:1"


def test_an_empty_list_is_empty() -> None:
    assert parse_urls("") == ()
