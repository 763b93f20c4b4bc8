"""The file of settings: etcd's keys and types, and what happens beside it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from server.settings.config import Config, ConfigError
from server.settings.config_file import BYTES_MAX
from server.settings.flags import ALL_SETTINGS, Parsed, UsageError, VersionRequested, parse

# What etcd's own sample holds, in its order (etcd.conf.yml.sample), where it is not at its default.
SAMPLE = """
# This is the configuration file for the etcd server.
name: 'a'
data-dir: /data
wal-dir:
snapshot-count: 10000
heartbeat-interval: 200
election-timeout: 2000
quota-backend-bytes: 1024
listen-peer-urls: http://localhost:3380
listen-client-urls: https://127.0.0.1:3379,unix://a.sock
max-snapshots: 5
cors: http://x,http://y
initial-advertise-peer-urls: http://localhost:3380
advertise-client-urls: http://localhost:3379
discovery:
initial-cluster-token: 't'
initial-cluster-state: 'new'
strict-reconfig-check: false
enable-pprof: true
grpc-keepalive-interval: 60000000000
client-transport-security:
  cert-file: c.crt
  key-file: c.key
  client-cert-auth: true
  trusted-ca-file: ca.crt
  allowed-hostname: [n, m]
  auto-tls: false
peer-transport-security:
  cert-file:
  client-cert-auth: false
self-signed-cert-validity: 1
log-level: debug
logger: zap
log-outputs: [stderr, a.log]
force-new-cluster: false
auto-compaction-mode: periodic
auto-compaction-retention: "1"
cipher-suites: [
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
]
tls-min-version: 'TLS1.2'
"""


def parsed(tmp_path: Path, text: str, *arguments: str, **environment: str) -> Parsed:
    path = tmp_path / "c.yml"
    path.write_text(text)
    return parse([f"--config-file={path}", *arguments], environment)


def config_of(tmp_path: Path, text: str) -> Config:
    return parsed(tmp_path, text).config


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(tmp_path, text)
    return str(caught.value).removeprefix(f"{tmp_path / 'c.yml'}: ")


def test_a_file_that_was_written_for_etcd_is_read(tmp_path: Path) -> None:
    config = config_of(tmp_path, SAMPLE)
    assert config.name == "a"
    assert config.data_dir == Path("/data")
    assert (config.heartbeat_interval_ms, config.election_timeout_ms) == (200, 2000)
    assert config.quota_backend_bytes == 1024
    urls = ["https://127.0.0.1:3379", "unix://a.sock"]
    assert [str(url) for url in config.listen_client_urls] == urls
    assert config.cors == ("http://x", "http://y")
    assert config.grpc_keepalive_interval_s == 60
    assert (config.cert_file, config.key_file) == ("c.crt", "c.key")
    assert (config.trusted_ca_file, config.client_cert_auth) == ("ca.crt", True)
    assert config.client_cert_allowed_hostname == ("n", "m")
    assert config.log_outputs == ("stderr", "a.log")
    assert len(config.cipher_suites) == 2


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "{}", "name:\nlisten-client-urls: ''\n"):
        path = str(tmp_path / "c.yml")
        assert config_of(tmp_path, text) == Config(config_file=path)


def test_flags_and_variables_are_ignored_beside_a_file(tmp_path: Path) -> None:
    arguments = ("--name=b", "--max-txn-ops=5", "--listen-client-urls=http://127.0.0.1:1")
    found = parsed(tmp_path, "max-txn-ops: 7", *arguments, ETCD_NAME="c", ETCD_NOPE="1")
    assert found.config.name == "default"
    assert found.config.max_txn_ops == 7
    loaded = (
        "loaded server configuration, other configuration command line flags and"
        " environment variables will be ignored if provided"
    )
    path = str(tmp_path / "c.yml")
    assert [(each.level, each.text, each.fields) for each in found.remarks] == [
        (logging.INFO, loaded, {"path": path})
    ]


def test_the_arguments_must_be_flags_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        parsed(tmp_path, "", "--nope")
    with pytest.raises(VersionRequested):
        parsed(tmp_path, "", "--version")
    with pytest.raises(ConfigError, match="'x' is not a valid flag"):
        parsed(tmp_path, "", "x")


def test_a_variable_names_the_file_unless_the_flag_does(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("name: a")
    path = str(tmp_path / "a.yml")
    assert parse([], {"ETCD_CONFIG_FILE": path}).config.name == "a"
    found = parsed(tmp_path, "name: c", ETCD_CONFIG_FILE=path)
    assert found.config.name == "c"
    assert parse(["--config-file="], {}).config.name == "default"


def test_listening_elsewhere_needs_no_url_to_advertise_in_a_file(tmp_path: Path) -> None:
    config = config_of(tmp_path, "listen-client-urls: http://127.0.0.1:1")
    assert [str(url) for url in config.advertise_client_urls] == ["http://localhost:2379"]


def test_what_nobody_knows_is_named_and_nothing_more(tmp_path: Path) -> None:
    text = "nope: 1\ncert-file: a\nclient-transport-security: {nope: 1, auto-tls: false}\nName: x"
    found = parsed(tmp_path, text)
    unknown = [each.fields["key"] for each in found.remarks if "unknown key" in each.text]
    assert unknown == ["nope", "cert-file", "client-transport-security.nope"]
    assert found.config.cert_file == ""
    assert found.config.name == "x", "as in Go, the case of a key is of no account"


def test_what_has_no_effect_is_named(tmp_path: Path) -> None:
    text = (
        "max-wals: 9\nsocket-options: {reuse-port: true}\nfeature-gates: {CompactHashCheck: true}"
    )
    remarks = parsed(tmp_path, text).remarks
    named = [each.fields for each in remarks if each.text == "flag has no effect"]
    assert named == [
        {"flag": "max-wals", "value": "9"},
        {"flag": "socket-reuse-port", "value": "true"},
        {"flag": "feature-gates", "value": "CompactHashCheck=true"},
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: 5", "name: a text is expected, not 5"),
        ("name: [a]", "name: a text is expected, not ['a']"),
        ("max-txn-ops: '12'", "max-txn-ops: a number is expected, not '12'"),
        ("max-txn-ops: true", "max-txn-ops: a number is expected, not True"),
        ("max-txn-ops: -1", "max-txn-ops: parse error"),
        ("max-txn-ops: 1.5", "max-txn-ops: a number is expected, not 1.5"),
        ("max-concurrent-streams: 4294967296", "max-concurrent-streams: value out of range"),
        ("ephemeral: 1", "ephemeral: true or false is expected, not 1"),
        (
            "grpc-keepalive-min-time: 5s",
            "grpc-keepalive-min-time: a number of nanoseconds is expected, not '5s'",
        ),
        ("listen-client-urls: [http://a:1]", "listen-client-urls: a text is expected, not"),
        ("log-outputs: [1]", "log-outputs: a list of texts is expected, not [1]"),
        ("listen-client-urls: http://b.c:1", "expected IP in URL for binding (http://b.c:1)"),
        ("initial-cluster-state: x", "initial-cluster-state: invalid value"),
        ("client-transport-security: x", "client-transport-security has to be a mapping, not 'x'"),
        (
            "client-transport-security: {allowed-cn: [a]}",
            "client-transport-security.allowed-cn is not supported",
        ),
        ("discovery-config: {token: a}", "discovery-config is not supported"),
        ("discovery: http://a", "--discovery is not supported"),
        ("[a]", "it has to be a mapping, not ['a']"),
        ("name: [", "error converting YAML to JSON: yaml: while parsing"),
        ("name: a\nname: b", 'error converting YAML to JSON: yaml: key "name" already set in map'),
        ("!!python/object:os.system {}", "error converting YAML to JSON: yaml: could not"),
        ("[" * 5000, "error converting YAML to JSON: yaml: "),
        ("\x01", "error converting YAML to JSON: yaml: "),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_key(tmp_path: Path, text: str, reason: str) -> None:
    assert refusal(tmp_path, text).startswith(reason)


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(["--config-file=nowhere.yml"], {})
    assert str(caught.value) == "open nowhere.yml: no such file or directory"
    assert config_of(tmp_path, "#" * BYTES_MAX).name == "default"
    assert refusal(tmp_path, "#" * (BYTES_MAX + 1)) == (
        "a file of settings has at most 1048576 bytes"
    )


def test_a_file_of_a_few_bytes_does_not_become_gigabytes(tmp_path: Path) -> None:
    """Each level means ten of the one before; what is shared is not copied."""
    levels = "".join(f"l{at}: &l{at} [{', '.join([f'*l{at - 1}'] * 10)}]\n" for at in range(1, 30))
    found = parsed(tmp_path, f"l0: &l0 [x]\n{levels}")
    assert len([each for each in found.remarks if "unknown key" in each.text]) == 30


def test_every_flag_is_a_key_but_those_that_have_their_place_in_a_section(tmp_path: Path) -> None:
    flags = [name for each in ALL_SETTINGS for name in (each.flag, *each.aliases)]
    remarks = parsed(tmp_path, "".join(f"{flag}:\n" for flag in flags)).remarks
    unknown = {each.fields["key"] for each in remarks if "unknown key" in each.text}
    assert {flag for flag in unknown if not str(flag).startswith("peer-")} == {
        *("cert-file", "key-file", "client-cert-file", "client-key-file", "client-cert-auth"),
        *("trusted-ca-file", "auto-tls", "client-cert-allowed-hostname", "client-crl-file"),
        *("socket-reuse-port", "socket-reuse-address", "config-file"),
    }
