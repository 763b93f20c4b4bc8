"""The command line and the environment, by Go's rules and with etcd's texts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from server.settings.accepted import accepted_settings
from server.settings.config import Config, ConfigError, Effect, settings
from server.settings.flags import (
    ALL_SETTINGS,
    HelpRequested,
    Remark,
    UsageError,
    VersionRequested,
    help_text,
    parse,
    version_text,
)


def _config(*arguments: str, **environment: str) -> Config:
    return parse(arguments, environment).config


def _remarks(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> list[tuple[int, str, Mapping[str, object]]]:
    remarks: tuple[Remark, ...] = parse(arguments, environment or {}).remarks
    return [(each.level, each.text, each.fields) for each in remarks]


def _misuse(*arguments: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(arguments, {})
    return str(caught.value)


def _refusal(*arguments: str, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(arguments, environment)
    return str(caught.value)


def test_nothing_given_is_the_defaults_and_nothing_to_say() -> None:
    parsed = parse([], {})
    assert parsed.config == Config()
    assert parsed.remarks == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-txn-ops", "7"],
        ["--max-txn-ops=7"],
        ["-max-txn-ops", "7"],
        ["-max-txn-ops=7"],
        ["--max-txn-ops", "6", "--max-txn-ops", "7"],
        ["--max-txn-ops", "0x7"],
        ["--max-txn-ops", "7", "--"],
    ],
)
def test_a_flag_is_spelled_in_many_ways(arguments: list[str]) -> None:
    assert _config(*arguments).max_txn_ops == 7


def test_a_value_may_look_like_a_flag() -> None:
    assert _config("--name", "--b").name == "--b"
    assert _config("--quota-backend-bytes", "-1").quota_backend_bytes == -1


def test_a_value_may_hold_an_equals_sign_or_be_empty() -> None:
    assert _config("--initial-cluster=a=http://b:1").initial_cluster == "a=http://b:1"
    assert _config("--name=").name == ""


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("--unsafe-no-fsync", True),
        ("--unsafe-no-fsync=true", True),
        ("--unsafe-no-fsync=T", True),
        ("--unsafe-no-fsync=false", False),
        ("--unsafe-no-fsync=0", False),
    ],
)
def test_a_boolean_stands_alone_or_has_its_value_attached(argument: str, value: bool) -> None:
    assert _config(argument).unsafe_no_fsync is value


def test_a_boolean_never_takes_the_next_argument() -> None:
    assert _refusal("--unsafe-no-fsync", "false") == "'false' is not a valid flag"


def test_durations_and_lists_are_read_by_their_syntax() -> None:
    config = _config("--grpc-keepalive-interval=1m30s", "--log-outputs=stderr,/a/b")
    assert config.grpc_keepalive_interval_s == 90.0
    assert config.log_outputs == ("stderr", "/a/b")


def test_the_data_directory_is_a_path() -> None:
    assert _config("--data-dir", "a/b").data_dir == Path("a/b")
    assert _config("--data-dir", "", "--name", "n").data_dir == Path("n.etcd")


def test_every_flag_that_was_given_is_remembered_as_given() -> None:
    config = _config("--name=default", ETCD_MAX_TXN_OPS="128")
    assert config.explicit == {"name", "max-txn-ops"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--nope"], "flag provided but not defined: -nope"),
        (["-nope=1"], "flag provided but not defined: -nope"),
        (["--name"], "flag needs an argument: -name"),
        (["---name=a"], "bad flag syntax: ---name=a"),
        (["--=a"], "bad flag syntax: --=a"),
        (
            ["--heartbeat-interval", "x"],
            'invalid value "x" for flag -heartbeat-interval: parse error',
        ),
        (
            ["--max-concurrent-streams=4294967296"],
            'invalid value "4294967296" for flag -max-concurrent-streams: value out of range',
        ),
        (
            ["--unsafe-no-fsync=maybe"],
            'invalid boolean value "maybe" for -unsafe-no-fsync: parse error',
        ),
        (
            ["--initial-cluster-state", "old"],
            'invalid value "old" for flag -initial-cluster-state: invalid value',
        ),
        (["--transport=tcp"], 'invalid value "tcp" for flag -transport: invalid value'),
        (
            ["--listen-client-urls", "a"],
            'invalid value "a" for flag -listen-client-urls:'
            " URL scheme must be http, https, unix, or unixs: a",
        ),
        (["--version=x"], 'invalid boolean value "x" for -version: parse error'),
    ],
)
def test_what_is_no_flag_is_refused_in_the_words_of_go(arguments: list[str], text: str) -> None:
    assert _misuse(*arguments) == text


@pytest.mark.parametrize("argument", ["serve", "-", ""])
def test_an_argument_that_is_no_flag_ends_the_flags_and_is_refused(argument: str) -> None:
    assert _refusal("--name=a", argument, "--nope") == f"'{argument}' is not a valid flag"


def test_two_dashes_end_the_flags() -> None:
    assert _refusal("--", "--name=a") == "'--name=a' is not a valid flag"


@pytest.mark.parametrize("argument", ["--help", "-help", "-h", "--h"])
def test_help_is_asked_for_in_four_ways(argument: str) -> None:
    with pytest.raises(HelpRequested):
        parse([argument], {})


@pytest.mark.parametrize("argument", ["--version", "-version", "--version=true"])
def test_the_version_is_asked_for_before_anything_is_checked(argument: str) -> None:
    with pytest.raises(VersionRequested):
        parse([argument, "--election-timeout=1"], {})


def test_not_asking_for_the_version_starts_a_server() -> None:
    assert _config("--version=false") == Config()


def test_a_flag_without_effect_is_taken_and_named() -> None:
    assert _remarks("--max-wals=7", "--pre-vote=false") == [
        (
            logging.WARNING,
            "flag has no effect",
            {"flag": "max-wals", "value": "7"},
        ),
        (logging.WARNING, "flag has no effect", {"flag": "pre-vote", "value": "false"}),
    ]


def test_the_value_of_a_flag_without_effect_must_still_be_readable() -> None:
    assert _misuse("--max-wals=x") == 'invalid value "x" for flag -max-wals: parse error'


def test_every_flag_without_effect_is_taken_at_its_default_and_under_every_name() -> None:
    for setting in accepted_settings():
        for name in (setting.flag, *setting.aliases):
            remarks = _remarks(f"--{name}={setting.default}")
            named = [fields["flag"] for _, _, fields in remarks]
            assert named == ([setting.flag] if setting.effect is Effect.NONE else [])


@pytest.mark.parametrize("name", ["v", "vv", "force", "snapshot", "config"])
def test_what_etcd_swallows_may_stand_alone(name: str) -> None:
    assert _config(f"--{name}") == Config(explicit=frozenset({name}))


@pytest.mark.parametrize(
    "argument",
    [
        "--discovery=http://a:1",
        "--discovery-srv=example.com",
        "--discovery-endpoints=http://a:1",
        "--discovery-token=x",
    ],
)
def test_discovery_is_refused(argument: str) -> None:
    flag = argument.partition("=")[0]
    assert _refusal(argument) == (
        f"{flag} is not supported. A Tenure is one server: there is no cluster to discover."
    )


def test_settings_that_contradict_each_other_are_refused() -> None:
    assert _refusal("--listen-client-urls=http://127.0.0.1:1") == (
        "--advertise-client-urls is required when --listen-client-urls is set explicitly"
    )


def test_an_experimental_twin_sets_the_same_and_loses_against_the_plain_name() -> None:
    twin, plain = (
        "--experimental-watch-progress-notify-interval",
        "--watch-progress-notify-interval",
    )
    assert _config(f"{twin}=1m").watch_progress_notify_interval_s == 60.0
    assert _config(f"{plain}=2m", f"{twin}=1m").watch_progress_notify_interval_s == 120.0
    assert _config(f"{twin}=1m", f"{plain}=2m").watch_progress_notify_interval_s == 120.0


def test_a_variable_sets_a_flag_and_is_named() -> None:
    parsed = parse([], {"ETCD_MAX_TXN_OPS": "7", "PATH": "/bin", "ETCDCTL_API": "3"})
    assert parsed.config.max_txn_ops == 7
    assert parsed.remarks == (
        Remark(
            logging.INFO,
            "recognized and used environment variable",
            {"variable-name": "ETCD_MAX_TXN_OPS", "variable-value": "7"},
        ),
    )


def test_a_variable_and_a_flag_for_one_setting_are_refused() -> None:
    assert _refusal("--name=a", ETCD_NAME="b") == (
        "conflicting environment variable is shadowed by corresponding command-line flag"
        " (either unset environment variable or disable flag): ETCD_NAME"
    )
    assert "ETCD_NAME" in _refusal("--name=a", ETCD_NAME="")


def test_an_empty_variable_sets_nothing() -> None:
    assert _config(ETCD_NAME="") == Config()


def test_a_variable_that_cannot_be_read_is_refused() -> None:
    assert _refusal(ETCD_MAX_TXN_OPS="x") == 'invalid value "x" for ETCD_MAX_TXN_OPS: parse error'


def test_a_variable_nobody_knows_is_named_and_nothing_more() -> None:
    environment = {"ETCD_NOPE": "3", "ETCD_UNSUPPORTED_ARCH": "riscv64"}
    assert _remarks(environment=environment) == [
        (
            logging.WARNING,
            "unrecognized environment variable",
            {"environment-variable": "ETCD_NOPE=3"},
        )
    ]


def test_the_version_that_images_of_etcd_set_does_not_ask_for_the_version() -> None:
    text = "cannot set special environment variable"
    assert _remarks(environment={"ETCD_VERSION": "3"}) == [
        (logging.WARNING, text, {"key": "ETCD_VERSION", "value": "3"})
    ]
    assert _remarks(environment={"ETCD_VERSION": ""}) == []


def test_no_flag_is_declared_twice() -> None:
    names = [name for each in ALL_SETTINGS for name in (each.flag, *each.aliases)]
    assert len(names) == len(set(names))


def test_the_help_mentions_every_flag() -> None:
    """A test harness of Kubernetes passes --unsafe-no-fsync only if the help has it."""
    words = help_text().split()
    for each in ALL_SETTINGS:
        for name in (each.flag, *each.aliases):
            assert f"--{name}" in words
    assert "--unsafe-no-fsync" in words


def test_the_help_gives_the_default_of_every_flag_with_an_effect() -> None:
    lines = help_text().splitlines()
    for each in settings():
        assert f"  --{each.flag} '{each.default}'" in lines


def test_the_version_is_four_lines_and_the_first_is_etcds() -> None:
    lines = version_text().splitlines()
    assert lines[0] == "etcd Version: 3.6.14"
    assert lines[1].startswith("Tenure Version: ")
    assert len(lines) == 4
