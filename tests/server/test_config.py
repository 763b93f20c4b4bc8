"""What must hold of all settings together, and what follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.settings.config import Config, ConfigError, settings
from server.settings.urls import parse_urls


def _refusal(**changed: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Config(**changed)
    return str(caught.value)


def test_the_defaults_are_valid() -> None:
    config = Config()
    assert config.data_dir == Path("default.etcd")
    assert [str(url) for url in config.listen_client_urls] == ["http://localhost:2379"]


def test_the_data_directory_is_named_after_the_member() -> None:
    assert Config(name="a").data_dir == Path("a.etcd")
    assert Config(name="a", data_dir=Path("b")).data_dir == Path("b")


@pytest.mark.parametrize(
    ("heartbeat_ms", "election_ms", "ttl_min"),
    [
        (100, 1000, 2),  # 1.5 s
        (100, 5000, 8),  # 7.5 s
        (100, 500, 1),  # 7 ticks, rounded down, of 100 ms
        (100, 2000, 3),  # 3 s exactly
        (300, 1500, 3),  # 7 ticks of 300 ms are 2.1 s
        (1000, 50_000, 75),
        (1, 5, 1),  # 7 ms
    ],
)
def test_the_shortest_ttl_is_one_and_a_half_election_timeouts_in_whole_seconds(
    heartbeat_ms: int, election_ms: int, ttl_min: int
) -> None:
    config = Config(heartbeat_interval_ms=heartbeat_ms, election_timeout_ms=election_ms)
    assert config.lease_ttl_min == ttl_min


def test_a_request_has_five_seconds_and_two_election_timeouts() -> None:
    assert Config().request_timeout_s == 7.0
    assert Config(election_timeout_ms=5000).request_timeout_s == 15.0


@pytest.mark.parametrize(("given", "in_force"), [(0, 2 * 1024**3), (1, 1), (-1, None)])
def test_a_quota_of_zero_is_two_gib_and_less_is_none(given: int, in_force: int | None) -> None:
    assert Config(quota_backend_bytes=given).quota_bytes == in_force


@pytest.mark.parametrize(
    ("given_s", "in_force_s"), [(0.0, 600.0), (-1.0, 600.0), (0.05, 0.1), (0.1, 0.1), (30.0, 30.0)]
)
def test_the_progress_interval_has_a_default_and_a_floor(given_s: float, in_force_s: float) -> None:
    assert Config(watch_progress_notify_interval_s=given_s).progress_interval_s == in_force_s


def test_an_election_takes_at_least_five_heartbeats() -> None:
    Config(heartbeat_interval_ms=100, election_timeout_ms=500)
    assert _refusal(heartbeat_interval_ms=100, election_timeout_ms=499) == (
        "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]"
    )


def test_an_election_takes_at_most_fifty_seconds() -> None:
    Config(election_timeout_ms=50_000)
    assert _refusal(election_timeout_ms=50_001) == (
        "--election-timeout[50001ms] is too long, and should be set less than 50000ms"
    )


def test_heartbeat_and_election_take_time() -> None:
    assert _refusal(heartbeat_interval_ms=0) == "--heartbeat-interval must be >0 (set to 0ms)"
    assert _refusal(election_timeout_ms=0) == "--election-timeout must be >0 (set to 0ms)"


@pytest.mark.parametrize("field", ["listen_client_urls", "listen_peer_urls"])
def test_a_listener_is_not_given_a_name(field: str) -> None:
    assert _refusal(**{field: parse_urls("http://example.com:1")}) == (
        "expected IP in URL for binding (http://example.com:1)"
    )


def test_an_advertised_url_has_a_host() -> None:
    assert _refusal(advertise_client_urls=parse_urls("http://:1")) == (
        '--advertise-client-urls "http://:1" must be in the format "host:port",'
        ' "unix:/path/to/socket" or "unixs:/path/to/socket" (unexpected empty host (http://:1))'
    )
    assert _refusal(initial_advertise_peer_urls=parse_urls("http://:1")) == (
        '--initial-advertise-peer-urls "http://:1" must be "host:port"'
        " (unexpected empty host (http://:1))"
    )


def test_an_advertised_url_may_be_a_name_or_a_socket() -> None:
    Config(advertise_client_urls=parse_urls("http://example.com:1,unix:///a,https://b:1"))


def test_who_says_where_to_listen_says_what_to_advertise() -> None:
    refusal = "--advertise-client-urls is required when --listen-client-urls is set explicitly"
    assert _refusal(explicit=frozenset({"listen-client-urls"})) == refusal
    assert _refusal(advertise_client_urls=()) == refusal
    Config(explicit=frozenset({"listen-client-urls", "advertise-client-urls"}))
    Config(explicit=frozenset({"advertise-client-urls"}))


def test_a_server_that_listens_nowhere_is_refused() -> None:
    assert "names no URL" in _refusal(listen_client_urls=())


def test_a_log_level_or_format_nobody_knows_is_refused() -> None:
    assert _refusal(log_level="loud") == 'unrecognized level: "loud"'
    assert _refusal(log_format="xml") == ("unknown log format: xml, supported values json, console")


def test_every_default_can_be_typed() -> None:
    for setting in settings():
        if "${" not in setting.default:
            assert setting.kind.format(setting.kind.parse(setting.default)) == setting.default


def test_every_setting_says_what_it_does_in_a_sentence() -> None:
    for setting in settings():
        assert setting.help.endswith("."), setting.flag
