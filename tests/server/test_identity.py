"""Member and cluster ids, held to numbers that etcd itself gave for the same flags."""

from __future__ import annotations

from typing import Any

import pytest

from server.identity import Identity, bootstrap_identity, derive_cluster_id, derive_member_id
from server.settings.config import Config, ConfigError
from server.settings.urls import parse_urls


def _config(peer_urls: str = "http://localhost:2380", **changed: Any) -> Config:
    return Config(initial_advertise_peer_urls=parse_urls(peer_urls), **changed)


def _refusal(config: Config) -> str:
    with pytest.raises(ConfigError) as caught:
        bootstrap_identity(config)
    return str(caught.value)


def test_the_defaults_give_the_ids_that_everyone_knows_from_etcd() -> None:
    expected = Identity(0x8E9E05C52164694D, 0xCDF818194E3A8C32)
    assert bootstrap_identity(Config()) == expected


def test_url_and_token_give_the_ids_that_etcd_gives() -> None:
    """Asked of etcd 3.5.1, started with these flags."""
    config = _config("http://127.0.0.1:34801", name="one", initial_cluster_token="tok-7")
    assert bootstrap_identity(config) == Identity(2098366596055566485, 11714326042312962860)


def test_several_peer_urls_are_sorted_before_they_are_hashed() -> None:
    """Asked of etcd 3.5.1, started with these flags, the URLs in this order."""
    config = _config("http://127.0.0.1:34809,http://127.0.0.1:34808", name="two")
    assert bootstrap_identity(config) == Identity(13421584087297537641, 16912944511710946256)


def test_the_order_of_peer_urls_does_not_change_the_member_id() -> None:
    urls = ["http://a:1", "http://b:1"]
    assert derive_member_id(urls, "t") == derive_member_id(urls[::-1], "t")


def test_the_order_of_members_does_not_change_the_cluster_id() -> None:
    assert derive_cluster_id([1, 2**64 - 1]) == derive_cluster_id([2**64 - 1, 1])


def test_the_name_is_not_part_of_the_id() -> None:
    assert bootstrap_identity(Config(name="a")) == bootstrap_identity(Config(name="b"))


def test_an_initial_cluster_of_this_member_alone_is_taken() -> None:
    config = _config(
        "http://a:1,http://b:1", name="m", initial_cluster="m=http://b:1, m=http://a:1"
    )
    assert bootstrap_identity(config) == bootstrap_identity(_config("http://a:1,http://b:1"))


def test_an_initial_cluster_without_this_member_is_refused() -> None:
    config = Config(initial_cluster="other=http://localhost:2380")
    assert _refusal(config) == (
        'couldn\'t find local name "default" in the initial cluster configuration'
    )


def test_an_initial_cluster_of_two_members_is_refused() -> None:
    config = Config(initial_cluster="default=http://localhost:2380,b=http://b:1")
    assert _refusal(config).startswith("--initial-cluster names other members (b), but")


def test_the_other_members_of_an_initial_cluster_are_named_in_order() -> None:
    config = Config(initial_cluster="default=http://localhost:2380,b=http://b:1,a=http://a:1")
    assert _refusal(config) == (
        "--initial-cluster names other members (a, b), but a Tenure is one server:"
        " each of them would think itself the primary. Name this member only."
    )


def test_a_peer_url_of_the_cluster_that_is_not_advertised_is_refused() -> None:
    config = Config(initial_cluster="default=http://a:1")
    assert _refusal(config) == (
        "--initial-cluster has default=http://a:1 but missing from"
        " --initial-advertise-peer-urls=http://localhost:2380"
    )


def test_an_advertised_peer_url_that_is_not_in_the_cluster_is_refused() -> None:
    config = _config("http://a:1,http://b:1", initial_cluster="default=http://a:1")
    assert _refusal(config) == (
        "--initial-advertise-peer-urls has http://b:1"
        " but missing from --initial-cluster=default=http://a:1"
    )


@pytest.mark.parametrize("text", ["default", "default=", "default=ftp://a:1", ","])
def test_an_initial_cluster_that_cannot_be_read_is_refused(text: str) -> None:
    assert _refusal(Config(initial_cluster=text)).startswith(
        "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: "
    )


def test_a_member_needs_a_peer_url() -> None:
    assert _refusal(_config("")) == "--initial-advertise-peer-urls must name at least one URL"


def test_there_is_no_existing_cluster_to_join() -> None:
    refusal = _refusal(Config(initial_cluster_state="existing"))
    assert refusal.startswith("--initial-cluster-state existing, but default.etcd holds no data")
