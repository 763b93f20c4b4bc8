"""Flags of etcd that Tenure takes without giving them an effect, and flags that it refuses.

A deployment made for etcd must start unchanged, so every flag of a member of etcd 3.4 to 3.6 is
known here (server/embed/config.go, server/etcdmain/help.go of those lines). A value is still read
by the flag's own syntax, and a flag that was given is named in a log line at start. Refused is
what would leave the server something else than it was asked to be: silence would be dangerous.
"""

from __future__ import annotations

from typing import Final

from server.settings.config import Effect, Setting
from server.settings.values import BOOL, DURATION, INT, LIST, STRING, UINT, Kind, choice

_TLS: Final = "Security"
_HTTP: Final = "HTTP and monitoring"
_LOGGING: Final = "Logging"
_RAFT: Final = "Raft and peers"
_STORAGE: Final = "Storage engine"
_CHECKS: Final = "Checks and warnings"
_OLD: Final = "Of older versions"

# Group, then flag, syntax and etcd's default.
_WITHOUT_EFFECT: Final[dict[str, tuple[tuple[str, Kind, str], ...]]] = {
    _TLS: (
        ("client-cert-file", STRING, ""),
        ("client-key-file", STRING, ""),
        ("peer-cert-file", STRING, ""),
        ("peer-key-file", STRING, ""),
        ("peer-client-cert-file", STRING, ""),
        ("peer-client-key-file", STRING, ""),
        ("peer-client-cert-auth", BOOL, "false"),
        ("peer-trusted-ca-file", STRING, ""),
        ("peer-auto-tls", BOOL, "false"),
        ("peer-crl-file", STRING, ""),
        ("peer-cert-allowed-cn", LIST, ""),
        ("peer-cert-allowed-hostname", LIST, ""),
        ("peer-skip-client-san-verification", BOOL, "false"),
    ),
    _HTTP: (
        ("enable-pprof", BOOL, "false"),
        ("enable-distributed-tracing", BOOL, "false"),
        ("distributed-tracing-address", STRING, "localhost:4317"),
        ("distributed-tracing-service-name", STRING, "etcd"),
        ("distributed-tracing-instance-id", STRING, ""),
        ("distributed-tracing-sampling-rate", INT, "0"),
    ),
    _LOGGING: (("disable-log-sampling", BOOL, "false"),),
    _RAFT: (
        ("initial-election-tick-advance", BOOL, "true"),
        ("pre-vote", BOOL, "true"),
        ("strict-reconfig-check", BOOL, "true"),
        ("force-new-cluster", BOOL, "false"),
        ("max-learners", INT, "1"),
        ("raft-read-timeout", DURATION, "5s"),
        ("raft-write-timeout", DURATION, "5s"),
        ("snapshot-catchup-entries", UINT, "5000"),
        ("snapshot-count", UINT, "10000"),
        ("socket-reuse-address", BOOL, "false"),
        ("socket-reuse-port", BOOL, "false"),
    ),
    _STORAGE: (
        ("wal-dir", STRING, ""),
        ("max-snapshots", UINT, "5"),
        ("max-wals", UINT, "5"),
        ("backend-batch-interval", DURATION, "0s"),
        ("backend-batch-limit", INT, "0"),
        ("backend-bbolt-freelist-type", STRING, "map"),
        ("bootstrap-defrag-threshold-megabytes", UINT, "0"),
        ("memory-mlock", BOOL, "false"),
    ),
    _CHECKS: (
        ("corrupt-check-time", DURATION, "0s"),
        ("compact-hash-check-time", DURATION, "1m"),
        ("downgrade-check-time", DURATION, "5s"),
        ("warning-unary-request-duration", DURATION, "300ms"),
        ("feature-gates", STRING, ""),
    ),
    _OLD: (
        ("debug", BOOL, "false"),
        ("enable-v2", BOOL, "false"),
        ("v2-deprecation", STRING, "not-yet"),
        ("log-package-levels", STRING, ""),
        ("proxy", choice("off", "readonly", "on"), "off"),
        ("proxy-failure-wait", UINT, "5000"),
        ("proxy-refresh-interval", UINT, "30000"),
        ("proxy-dial-timeout", UINT, "1000"),
        ("proxy-write-timeout", UINT, "5000"),
        ("proxy-read-timeout", UINT, "0"),
        ("discovery-fallback", choice("exit", "proxy"), "proxy"),
        ("discovery-proxy", STRING, ""),
        ("experimental-compact-hash-check-enabled", BOOL, "false"),
        ("experimental-enable-lease-checkpoint", BOOL, "false"),
        ("experimental-enable-lease-checkpoint-persist", BOOL, "false"),
        ("experimental-enable-v2v3", STRING, ""),
        ("experimental-initial-corrupt-check", BOOL, "false"),
        ("experimental-set-member-localaddr", BOOL, "false"),
        ("experimental-stop-grpc-service-on-defrag", BOOL, "false"),
        ("experimental-txn-mode-write-with-shared-buffer", BOOL, "true"),
    ),
}

# Flags that lost the prefix when they left the experiment; the old spelling means the same.
_ONCE_EXPERIMENTAL: Final = frozenset(
    {
        "backend-bbolt-freelist-type",
        "bootstrap-defrag-threshold-megabytes",
        "compact-hash-check-time",
        "corrupt-check-time",
        "distributed-tracing-address",
        "distributed-tracing-instance-id",
        "distributed-tracing-sampling-rate",
        "distributed-tracing-service-name",
        "downgrade-check-time",
        "enable-distributed-tracing",
        "max-learners",
        "memory-mlock",
        "peer-skip-client-san-verification",
        "snapshot-catchup-entries",
        "warning-unary-request-duration",
    }
)

# Swallowed by etcd itself (server/etcdmain/config.go); they may stand without a value.
_SWALLOWED_BY_ETCD: Final = (
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
)
_SWALLOWED: Final = Kind("anything", str, str, is_bool=True)

_NO_CLUSTER: Final = "A Tenure is one server: there is no cluster to discover."
_REFUSED: Final = (
    ("discovery", STRING, "", _NO_CLUSTER),
    ("discovery-endpoints", LIST, "", _NO_CLUSTER),
    ("discovery-token", STRING, "", _NO_CLUSTER),
    ("discovery-dial-timeout", DURATION, "2s", _NO_CLUSTER),
    ("discovery-request-timeout", DURATION, "5s", _NO_CLUSTER),
    ("discovery-keepalive-time", DURATION, "2s", _NO_CLUSTER),
    ("discovery-keepalive-timeout", DURATION, "6s", _NO_CLUSTER),
    ("discovery-insecure-transport", BOOL, "true", _NO_CLUSTER),
    ("discovery-insecure-skip-tls-verify", BOOL, "false", _NO_CLUSTER),
    ("discovery-cert", STRING, "", _NO_CLUSTER),
    ("discovery-key", STRING, "", _NO_CLUSTER),
    ("discovery-cacert", STRING, "", _NO_CLUSTER),
    ("discovery-user", STRING, "", _NO_CLUSTER),
    ("discovery-password", STRING, "", _NO_CLUSTER),
    ("discovery-srv", STRING, "", _NO_CLUSTER),
    ("discovery-srv-name", STRING, "", _NO_CLUSTER),
)


def accepted_settings() -> tuple[Setting, ...]:
    """Every flag of etcd that is not a field of `Config`."""
    ignored = [
        Setting(
            flag=flag,
            kind=kind,
            default=default,
            help="",
            group=group,
            effect=Effect.NONE,
            aliases=(f"experimental-{flag}",) if flag in _ONCE_EXPERIMENTAL else (),
        )
        for group, rows in _WITHOUT_EFFECT.items()
        for flag, kind, default in rows
    ]
    swallowed = [
        Setting(flag, _SWALLOWED, "", "", _OLD, Effect.NONE) for flag in _SWALLOWED_BY_ETCD
    ]
    refused = [
        Setting(flag, kind, default, reason, "Refused", Effect.REFUSED)
        for flag, kind, default, reason in _REFUSED
    ]
    return (*ignored, *swallowed, *refused)
