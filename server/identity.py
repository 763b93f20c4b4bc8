"""Who this server is to its clients: the member and the cluster id.

Both are derived once, at the first start, from the peer URLs and the cluster token, as etcd
derives them (server/etcdserver/api/membership/member.go and cluster.go); from then on they are
read from the store, and the --initial-* flags are ignored. The same flags give the same ids as
on etcd, so a client that has learned them, and a golden test, need not be told of the change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from server.settings.config import Config, ConfigError
from server.settings.urls import URL, format_urls

_ID_BYTES: Final = 8  # An id is the head of a SHA-1, big-endian.


@dataclass(frozen=True, slots=True)
class Identity:
    """Two unsigned 64-bit numbers that never change for the life of a data directory."""

    member_id: int
    cluster_id: int


def bootstrap_identity(config: Config) -> Identity:
    """The identity of a server whose data directory is new, once its settings allow a first start.

    Raises:
        ConfigError: the --initial-* flags ask for anything but a new cluster of this one member.
    """
    check_bootstrap(config)
    urls = config.initial_advertise_peer_urls
    member_id = derive_member_id((url.text for url in urls), config.initial_cluster_token)
    return Identity(member_id, derive_cluster_id([member_id]))


def check_bootstrap(config: Config) -> None:
    """Refuse a first start that could not become what it was asked to become.

    Two servers that were each told of the other would both be the primary of their own data,
    so more than one member is refused here and not merely ignored.

    Raises:
        ConfigError: with etcd's text where etcd refuses the same (server/config/config.go).
    """
    members = _parse_initial_cluster(config)
    if config.name not in members:
        raise ConfigError(
            f'couldn\'t find local name "{config.name}" in the initial cluster configuration'
        )
    others = sorted(members.keys() - {config.name})
    if others:
        raise ConfigError(
            f"--initial-cluster names other members ({', '.join(others)}), but a Tenure is one"
            " server: each of them would think itself the primary. Name this member only."
        )
    _check_peer_urls_agree(config, members[config.name])
    if config.initial_cluster_state == "existing":
        raise ConfigError(
            f"--initial-cluster-state existing, but {config.data_dir} holds no data of a Tenure"
            " and there is no cluster to join. Use --initial-cluster-state new for a first start."
        )


def derive_member_id(peer_urls: Iterable[str], token: str) -> int:
    """Head of the SHA-1 of the sorted peer URLs and the cluster token, all run together."""
    return _head_of_sha1("".join(sorted(peer_urls)).encode() + token.encode())


def derive_cluster_id(member_ids: Iterable[int]) -> int:
    """Head of the SHA-1 of the sorted member ids, eight bytes each."""
    return _head_of_sha1(b"".join(each.to_bytes(_ID_BYTES, "big") for each in sorted(member_ids)))


def _head_of_sha1(data: bytes) -> int:
    digest = hashlib.sha1(data, usedforsecurity=False).digest()
    return int.from_bytes(digest[:_ID_BYTES], "big")


def _parse_initial_cluster(config: Config) -> dict[str, tuple[URL, ...]]:
    """The peer URLs of each member that --initial-cluster names: `name=url,name=url`.

    Left out, it is this member with the peer URLs it advertises.
    """
    if not config.initial_cluster:
        return {config.name: config.initial_advertise_peer_urls}
    texts: dict[str, list[str]] = {}
    for pair in config.initial_cluster.split(","):
        name, _, url = pair.strip().partition("=")
        texts.setdefault(name, []).append(url)
    try:
        return {name: tuple(map(URL.parse, urls)) for name, urls in texts.items()}
    except ValueError as error:
        raise ConfigError(f"error setting up initial cluster: {error}") from error


def _check_peer_urls_agree(config: Config, named: tuple[URL, ...]) -> None:
    """The two flags that give this member's peer URLs must give the same ones.

    They are compared as texts; etcd also takes a name for the address it is looked up to.
    """
    advertised = config.initial_advertise_peer_urls
    if not advertised:
        raise ConfigError("--initial-advertise-peer-urls must name at least one URL")
    missing = sorted({url.text for url in named} - {url.text for url in advertised})
    if missing:
        pairs = ",".join(f"{config.name}={text}" for text in missing)
        raise ConfigError(
            f"--initial-cluster has {pairs} but missing from"
            f" --initial-advertise-peer-urls={format_urls(advertised)}"
        )
    missing = sorted({url.text for url in advertised} - {url.text for url in named})
    if missing:
        pairs = ",".join(f"{config.name}={url}" for url in named)
        raise ConfigError(
            f"--initial-advertise-peer-urls has {','.join(missing)}"
            f" but missing from --initial-cluster={pairs}"
        )
