"""Every setting that has an effect, once: default, unit, syntax, help; and what must hold of all.

The flag, the environment variable and the row in `docs/configuration.md` follow from the field:
`grpc_keepalive_min_time_s` is `--grpc-keepalive-min-time` and `ETCD_GRPC_KEEPALIVE_MIN_TIME`, a
unit at the end of a name being for the reader of the code. A `Config` that exists is valid: the
checks run when it is made, in etcd's order and with etcd's texts (server/embed/config.go).

Flags of etcd that are taken and ignored, or refused, are in `server.settings.accepted`.
`server.cli` reads the command line and the environment, and nothing else does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from server.settings.compacting import Compacting
from server.settings.log_settings import LogSettings
from server.settings.security import Security
from server.settings.setting import ConfigError, Effect, Setting, StartError, option, variable_of
from server.settings.urls import URL, format_urls, parse_urls
from server.settings.values import (
    BOOL,
    DURATION,
    INT,
    LIST,
    STRING,
    UINT,
    UINT32,
    URLS,
    Kind,
    choice,
)

__all__ = ("Config", "ConfigError", "Effect", "Setting", "StartError", "settings", "variable_of")

TRANSPORTS: Final = ("native", "grpcio")
KEPT: Final = "kept"
VOLATILE: Final = "volatile"
ELECTION_MS_MAX: Final = 50_000  # etcd's maxElectionMs.
QUOTA_DEFAULT_BYTES: Final = 2 * 1024**3  # What a quota of 0 means; etcd's DefaultQuotaBytes.
REQUEST_TIMEOUT_BASE_S: Final = 5.0  # etcd adds two election timeouts to it (ReqTimeout).
PROGRESS_INTERVAL_DEFAULT_S: Final = 600.0  # What an interval of 0 means.
PROGRESS_INTERVAL_MIN_S: Final = 0.1  # etcd's minWatchProgressInterval.

_UNITS: Final = ("_s", "_ms")  # At the end of a field's name; not part of the flag's.


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Security, Compacting, LogSettings):
    """What one server was told to do.

    Raises:
        ConfigError: the settings contradict each other, or ask for what is not offered.
    """

    name: str = option("default", STRING, "Member", "Human-readable name of this member.")
    config_file: str = option(
        "",
        STRING,
        "Member",
        "File of settings in YAML. All other flags and variables are then ignored.",
    )
    data_dir: Path = option(
        Path(), STRING, "Member", "Directory that holds all data.", shown="${name}.etcd"
    )
    listen_client_urls: tuple[URL, ...] = option(
        parse_urls("http://localhost:2379"),
        URLS,
        "Member",
        "URLs to serve clients on. Schemes: http, https, unix and unixs.",
    )
    advertise_client_urls: tuple[URL, ...] = option(
        parse_urls("http://localhost:2379"),
        URLS,
        "Member",
        "URLs told to clients that ask for the members. Required with --listen-client-urls.",
    )
    listen_client_http_urls: tuple[URL, ...] = option(
        (),
        URLS,
        "Member",
        "URLs to serve HTTP on, and no gRPC; --listen-client-urls then serve gRPC only."
        " By default those serve both, if --transport can.",
    )
    listen_metrics_urls: tuple[URL, ...] = option(
        (),
        URLS,
        "Member",
        "URLs to serve /metrics and the health checks on, and nothing else."
        " They stay where HTTP is served besides.",
    )
    ephemeral: bool = option(
        False, BOOL, "Member", "Keep everything in memory and touch no disk. Not in etcd."
    )
    transport: str = option(
        "native", choice(*TRANSPORTS), "Member", "Which gRPC stack serves clients. Not in etcd."
    )
    lease_renewals: str = option(
        KEPT,
        choice(KEPT, VOLATILE),
        "Member",
        "kept: after a restart leases go on with the time they had left, within one boot of the"
        " machine. volatile: a restart gives each its full TTL, as on etcd. Not in etcd.",
    )
    heartbeat_interval_ms: int = option(
        100, UINT, "Member", "Heartbeat in milliseconds; bounds --election-timeout."
    )
    election_timeout_ms: int = option(
        1000,
        UINT,
        "Member",
        "Election timeout in milliseconds. No lease gets a TTL below 1.5 times this.",
    )

    initial_advertise_peer_urls: tuple[URL, ...] = option(
        parse_urls("http://localhost:2380"),
        URLS,
        "Cluster",
        "Peer URLs; only the member id is derived from them, at the first start.",
    )
    listen_peer_urls: tuple[URL, ...] = option(
        parse_urls("http://localhost:2380"),
        URLS,
        "Cluster",
        "Peer URLs; checked as etcd does, but nothing listens there.",
    )
    initial_cluster: str = option(
        "",
        STRING,
        "Cluster",
        "Must name this member and its peer URLs, and no other, at the first start.",
        shown="${name}=${initial-advertise-peer-urls}",
    )
    initial_cluster_token: str = option(
        "etcd-cluster",
        STRING,
        "Cluster",
        "Goes into the member and cluster id at the first start.",
    )
    initial_cluster_state: str = option(
        "new",
        choice("new", "existing"),
        "Cluster",
        "Must be new at the first start: there is no cluster to join.",
    )

    quota_backend_bytes: int = option(
        0,
        INT,
        "Limits",
        "Size of the database, in bytes, that raises the NOSPACE alarm."
        " 0 means 2 GiB, less means no limit.",
    )
    max_txn_ops: int = option(128, UINT, "Limits", "Most operations in one list of a transaction.")
    max_request_bytes: int = option(
        1_572_864, UINT, "Limits", "Largest request, in bytes, that is applied."
    )
    max_concurrent_streams: int = option(
        2**32 - 1, UINT32, "Limits", "Most calls under way at once on one connection."
    )
    lease_revoke_rate: int = option(
        0, UINT, "Limits", "Most expired leases revoked a second; 0 means no cap. Not in etcd."
    )

    grpc_keepalive_min_time_s: float = option(
        5.0, DURATION, "Timing", "Shortest time between two pings of a client."
    )
    grpc_keepalive_interval_s: float = option(
        7200.0, DURATION, "Timing", "How long a connection is silent before it is pinged; 0: never."
    )
    grpc_keepalive_timeout_s: float = option(
        20.0, DURATION, "Timing", "How long a ping may go unanswered before the connection ends."
    )
    warning_apply_duration_s: float = option(
        0.1,
        DURATION,
        "Timing",
        "A request that takes longer to apply, or to answer from memory, is named in the log.",
        aliases=("experimental-warning-apply-duration",),
    )
    watch_progress_notify_interval_s: float = option(
        PROGRESS_INTERVAL_DEFAULT_S,
        DURATION,
        "Timing",
        "How long a watch that asked for progress is silent before it is told the revision.",
        aliases=("experimental-watch-progress-notify-interval",),
    )

    auth_token: str = option(
        "simple",
        STRING,
        "Auth",
        "Tokens that users get for their password: simple, or"
        " jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m; none if empty.",
    )
    auth_token_ttl_s: int = option(
        300, UINT, "Auth", "Seconds that a simple token lives without being used."
    )
    bcrypt_cost: int = option(
        10, UINT, "Auth", "Work that goes into a password's hash, 4 to 31; one more doubles it."
    )

    enable_grpc_gateway: bool = option(True, BOOL, "HTTP", "Serve the JSON gateway below /v3/.")
    cors: tuple[str, ...] = option(
        ("*",), LIST, "HTTP", "Origins whose pages browsers let read answers; * for any. A list."
    )
    host_whitelist: tuple[str, ...] = option(
        ("*",),
        LIST,
        "HTTP",
        "Hosts that HTTP requests without TLS may be made to; * for any. A list.",
    )
    metrics: str = option(
        "basic",
        STRING,
        "HTTP",
        "extensive adds histograms of how long calls take; anything else means basic.",
    )

    unsafe_no_fsync: bool = option(
        False, BOOL, "Unsafe", "Do not wait for the disk. A power cut loses acknowledged changes."
    )

    explicit: frozenset[str] = frozenset()
    """The flags that were given rather than left at their defaults."""

    def __post_init__(self) -> None:
        if self.data_dir == Path():
            object.__setattr__(self, "data_dir", Path(f"{self.name}.etcd"))
        _check_bindable(self.listen_peer_urls)
        _check_bindable(self.listen_client_urls)
        _check_bindable(self.listen_client_http_urls)
        _check_bindable(self.listen_metrics_urls)
        _check_host(
            self.initial_advertise_peer_urls,
            '--initial-advertise-peer-urls "%s" must be "host:port"',
        )
        _check_host(
            self.advertise_client_urls,
            '--advertise-client-urls "%s" must be in the format "host:port",'
            ' "unix:/path/to/socket" or "unixs:/path/to/socket"',
        )
        self._check_timing()
        given = self.explicit
        if not self.advertise_client_urls or (
            "listen-client-urls" in given and "advertise-client-urls" not in given
        ):
            raise ConfigError(
                "--advertise-client-urls is required when --listen-client-urls is set explicitly"
            )
        self.check_logging()
        self.check_compacting()
        self._check_offered()

    def _check_timing(self) -> None:
        heartbeat, election = self.heartbeat_interval_ms, self.election_timeout_ms
        if heartbeat == 0:
            raise ConfigError("--heartbeat-interval must be >0 (set to 0ms)")
        if election == 0:
            raise ConfigError("--election-timeout must be >0 (set to 0ms)")
        if 5 * heartbeat > election:
            raise ConfigError(
                f"--election-timeout[{election}ms] should be at least as 5 times as"
                f" --heartbeat-interval[{heartbeat}ms]"
            )
        if election > ELECTION_MS_MAX:
            raise ConfigError(
                f"--election-timeout[{election}ms] is too long,"
                f" and should be set less than {ELECTION_MS_MAX}ms"
            )

    def _check_offered(self) -> None:
        """Refuse what would otherwise be done less safely than it was asked for."""
        if not self.listen_client_urls:
            raise ConfigError("--listen-client-urls names no URL, so no client could be served")
        for flag, urls, others in (
            ("listen-client-http-urls", self.listen_client_http_urls, self.listen_client_urls),
            (
                "listen-metrics-urls",
                self.listen_metrics_urls,
                (*self.listen_client_urls, *self.listen_client_http_urls),
            ),
        ):
            for url in urls:
                if any(url.is_same_address(other) for other in others):
                    raise ConfigError(
                        f"cannot bind both --listen-client-urls and --{flag} on the same url {url}"
                    )
        self.check_security(self.served_urls, transport=self.transport, is_ephemeral=self.ephemeral)

    @property
    def served_urls(self) -> tuple[URL, ...]:
        """All that is listened on."""
        return (
            *self.listen_client_urls,
            *self.listen_client_http_urls,
            *self.listen_metrics_urls,
        )

    @property
    def serves_http(self) -> bool:
        """Whether there is a URL to reach the JSON gateway, /health and the like by."""
        return bool(self.listen_client_http_urls) or self.transport != "grpcio"

    @property
    def times_calls(self) -> bool:
        """Whether there are histograms of how long calls take."""
        return self.metrics == "extensive"

    @property
    def lease_ttl_min(self) -> int:
        """Seconds; a shorter TTL is raised to it.

        One and a half election timeouts, both divisions rounded down as in etcd
        (minTTL in server/etcdserver/server.go), then up to whole seconds.
        """
        election_ticks = self.election_timeout_ms // self.heartbeat_interval_ms
        return math.ceil(3 * election_ticks // 2 * self.heartbeat_interval_ms / 1000)

    @property
    def keeps_renewals(self) -> bool:
        """Whether a restart is to find how much of its TTL each lease has left."""
        return self.lease_renewals == KEPT and not self.ephemeral

    @property
    def request_timeout_s(self) -> float:
        """How long a unary request may take before it fails as timed out."""
        return REQUEST_TIMEOUT_BASE_S + 2 * self.election_timeout_ms / 1000

    @property
    def quota_bytes(self) -> int | None:
        """The quota in force; None for no limit."""
        if self.quota_backend_bytes < 0:
            return None
        return self.quota_backend_bytes or QUOTA_DEFAULT_BYTES

    @property
    def progress_interval_s(self) -> float:
        """The interval between progress notifications that is in force."""
        asked = self.watch_progress_notify_interval_s
        if asked <= 0:
            return PROGRESS_INTERVAL_DEFAULT_S
        return max(asked, PROGRESS_INTERVAL_MIN_S)


def settings() -> tuple[Setting, ...]:
    """The settings of `Config`, in the order in which they are declared; what it inherits last."""
    found = []
    inherited = {each.name for base in Config.__bases__ for each in fields(base)}
    for declared in sorted(fields(Config), key=lambda each: each.name in inherited):
        if not declared.metadata:
            continue
        kind: Kind = declared.metadata["kind"]
        flag = declared.name
        for unit in _UNITS:
            flag = flag.removesuffix(unit)
        shown = declared.metadata["shown"]
        found.append(
            Setting(
                flag=flag.replace("_", "-"),
                kind=kind,
                default=kind.format(declared.default) if shown is None else shown,
                help=declared.metadata["help"],
                group=declared.metadata["group"],
                effect=Effect.YES,
                field=declared.name,
                aliases=declared.metadata["aliases"],
            )
        )
    return tuple(found)


def _check_bindable(urls: tuple[URL, ...]) -> None:
    for url in urls:
        if not url.can_be_bound:
            raise ConfigError(f"expected IP in URL for binding ({url})")


def _check_host(urls: tuple[URL, ...], refusal: str) -> None:
    for url in urls:
        if not url.is_unix and not url.host:
            raise ConfigError(f"{refusal % format_urls(urls)} (unexpected empty host ({url}))")
