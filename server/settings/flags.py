"""The command line and the environment, read by the rules of Go's flag package and of etcd.

One dash or two, `--flag value` or `--flag=value`, the first argument that is no flag ends them; a
boolean never takes the next argument. A flag given twice keeps its last value. Every flag can be
set as `ETCD_FLAG_NAME` too, and doing both is refused (pkg/flags/flag.go). Beside a file of
settings all of that is ignored, once it could be read (server/etcdmain/config.go). What cannot be
read as a flag ends with 2 and the usage, what can be read but not honoured with 1, as etcd ends.
"""

from __future__ import annotations

import logging
import platform
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from server.settings.accepted import accepted_settings
from server.settings.config import Config, ConfigError, Effect, Setting, settings, variable_of
from server.settings.config_file import read_config_file
from server.settings.values import BOOL, Kind
from server.version import ETCD_VERSION, TENURE_VERSION

ALL_SETTINGS: Final = (*settings(), *accepted_settings())
_BY_FLAG: Final = {name: each for each in ALL_SETTINGS for name in (each.flag, *each.aliases)}
_VARIABLES_ALLOWED: Final = frozenset({"ETCD_UNSUPPORTED_ARCH"})  # Known to etcd, but no flag.
_VERSION_VARIABLE: Final = "ETCD_VERSION"  # Set in images of etcd; it must not set --version.
_CONFIG_FILE: Final = "config-file"

USAGE: Final = """\
Usage:

  tenure [flags]
    Start a Tenure server.

  tenure snapshot save | status | restore
    Save, look into and restore snapshots; each says more with --help.

  tenure --version
    Show the version of Tenure, and of the etcd it answers as.

  tenure -h | --help
    Show this help.
"""


class UsageError(Exception):
    """The arguments are no flags of ours. The text is what Go's flag package says."""


class HelpRequested(Exception):  # noqa: N818  # A request, not a failure.
    pass


class VersionRequested(Exception):  # noqa: N818  # A request, not a failure.
    pass


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to log about the settings once logging is set up."""

    level: int
    text: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Parsed:
    config: Config
    remarks: tuple[Remark, ...]


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Parsed:
    """Make a configuration of what the command line and the environment say.

    Raises:
        UsageError: an argument looks like a flag but is none, or its value cannot be read.
        HelpRequested, VersionRequested: the arguments ask for a text instead of a server.
        ConfigError: the settings cannot be honoured.
    """
    given = _read_arguments(arguments)
    path = given.get(_CONFIG_FILE) or environment.get(variable_of(_CONFIG_FILE))
    if path:
        return _of_file(path)
    from_environment, remarks = _read_environment(environment, given)
    values = _merge({**given, **from_environment})
    return _parsed(values, remarks, explicit=frozenset(each.flag for each in values))


def _of_file(path: str) -> Parsed:
    found = read_config_file(path, _BY_FLAG)
    loaded = (
        "loaded server configuration, other configuration command line flags and"
        " environment variables will be ignored if provided"
    )
    remarks = [Remark(logging.INFO, loaded, {"path": path})]
    remarks += [
        Remark(logging.WARNING, "unknown key in the configuration file", {"key": key})
        for key in found.unknown
    ]
    values = {_BY_FLAG[_CONFIG_FILE]: path, **_merge(found.values)}
    # Nothing counts as explicit: etcd lets a file set listen URLs and none to advertise.
    return _parsed(values, remarks, explicit=frozenset())


def _parsed(
    values: Mapping[Setting, Any], remarks: list[Remark], *, explicit: frozenset[str]
) -> Parsed:
    for setting, value in values.items():
        if setting.effect is Effect.REFUSED and setting.kind.format(value) != setting.default:
            raise ConfigError(f"--{setting.flag} is not supported. {setting.help}")
        if setting.effect is Effect.NONE:
            fields = {"flag": setting.flag, "value": setting.kind.format(value)}
            remarks.append(Remark(logging.WARNING, "flag has no effect", fields))
    chosen = {each.field: value for each, value in values.items() if each.field}
    if "data_dir" in chosen:
        chosen["data_dir"] = Path(chosen["data_dir"])
    config = Config(**chosen, explicit=explicit)
    return Parsed(config, tuple(remarks))


def _read_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """The value of each flag given, by the name it was given under."""
    given: dict[str, Any] = {}
    position = 0
    wants_version = False
    while position < len(arguments) and _looks_like_flag(arguments[position]):
        argument = arguments[position]
        position += 1
        if argument == "--":
            break
        body = argument.removeprefix("-").removeprefix("-")
        if not body or body[0] in "-=":
            raise UsageError(f"bad flag syntax: {argument}")
        name, equals, text = body.partition("=")
        if name in ("help", "h"):
            raise HelpRequested
        if name == "version":
            wants_version = _read_value(BOOL, name, text) if equals else True
            continue
        setting = _BY_FLAG.get(name)
        if setting is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals and setting.kind.is_bool:
            text = "true"
        elif not equals:
            if position == len(arguments):
                raise UsageError(f"flag needs an argument: -{name}")
            text = arguments[position]
            position += 1
        given[name] = _read_value(setting.kind, name, text)
    if position < len(arguments):
        raise ConfigError(f"'{arguments[position]}' is not a valid flag")
    if wants_version:
        raise VersionRequested
    return given


def _looks_like_flag(argument: str) -> bool:
    return len(argument) > 1 and argument[0] == "-"


def _read_value(kind: Kind, name: str, text: str) -> Any:
    try:
        return kind.parse(text)
    except ValueError as error:
        if kind.is_bool:
            raise UsageError(f'invalid boolean value "{text}" for -{name}: {error}') from error
        raise UsageError(f'invalid value "{text}" for flag -{name}: {error}') from error


def _read_environment(
    environment: Mapping[str, str], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Remark]]:
    """The flags set by variables, and what is to be said about the variables.

    An empty variable sets nothing, but still contradicts a flag of its name.
    """
    by_variable = {variable_of(name): name for name in _BY_FLAG}
    values: dict[str, Any] = {}
    remarks: list[Remark] = []
    for variable, text in sorted(environment.items()):
        if not variable.startswith("ETCD_") or variable in _VARIABLES_ALLOWED:
            continue
        if variable == _VERSION_VARIABLE:
            if text:
                fields = {"key": variable, "value": text}
                remarks.append(
                    Remark(logging.WARNING, "cannot set special environment variable", fields)
                )
            continue
        name = by_variable.get(variable)
        if name is None:
            fields = {"environment-variable": f"{variable}={text}"}
            remarks.append(Remark(logging.WARNING, "unrecognized environment variable", fields))
            continue
        if name in given:
            raise ConfigError(
                "conflicting environment variable is shadowed by corresponding command-line flag"
                f" (either unset environment variable or disable flag): {variable}"
            )
        if not text:
            continue
        try:
            values[name] = _BY_FLAG[name].kind.parse(text)
        except ValueError as error:
            raise ConfigError(f'invalid value "{text}" for {variable}: {error}') from error
        fields = {"variable-name": variable, "variable-value": text}
        remarks.append(
            Remark(logging.INFO, "recognized and used environment variable", fields),
        )
    return values, remarks


def _merge(given: Mapping[str, Any]) -> dict[Setting, Any]:
    """By setting; a flag given under its own name wins over its aliases."""
    merged: dict[Setting, Any] = {}
    for name, value in given.items():
        setting = _BY_FLAG[name]
        if name == setting.flag or setting.flag not in given:
            merged[setting] = value
    return merged


def help_text() -> str:
    """The usage and every flag, with its default and what it does."""
    return f"{USAGE}\n{''.join(_help_of_groups())}"


def _help_of_groups() -> Iterable[str]:
    for group, members in groupby(settings(), key=lambda each: each.group):
        yield f"{group}:\n"
        for each in members:
            for name in (each.flag, *each.aliases):
                yield f"  --{name} '{each.default}'\n"
            yield textwrap.fill(each.help, 96, initial_indent=" " * 4, subsequent_indent=" " * 4)
            yield "\n"
        yield "\n"
    for title, effect in (
        ("Flags of etcd that are accepted without effect", Effect.NONE),
        ("Flags of etcd that are refused", Effect.REFUSED),
    ):
        yield f"{title}:\n"
        for each in accepted_settings():
            if each.effect is effect:
                yield from (f"  --{name}\n" for name in (each.flag, *each.aliases))
        yield "\n"


def version_text() -> str:
    """Four lines as etcd prints them; scripts read the version off the first."""
    machine = f"{platform.system().lower()}/{platform.machine()}"
    return (
        f"etcd Version: {ETCD_VERSION}\n"
        f"Tenure Version: {TENURE_VERSION}\n"
        f"Python Version: {platform.python_version()}\n"
        f"Python OS/Arch: {machine}\n"
    )
