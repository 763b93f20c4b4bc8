"""The file of settings: YAML with etcd's keys, read by the types that etcd's have.

A key is a flag's name. A number is a number and no text, a duration is a whole number of
nanoseconds, a list of URLs is one text with commas; cipher suites and log outputs may be lists.
What concerns certificates stands in sections, and only there: at the top level those names mean
nothing to etcd (server/embed/config.go), so here they mean nothing either, and are named in the
log as every key is that nobody knows. A key with nothing behind it sets nothing.

Stricter than etcd in two ways: a key that comes twice is refused, and so is `allowed-cn`, which
would let in clients that etcd keeps out.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from server.settings.setting import ConfigError, Setting
from server.settings.values import BOOL, DURATION, INT, LIST, UINT, UINT32, URLS

BYTES_MAX: Final = 1 << 20  # Of the file; etcd's sample has 5 KiB.
_NANOSECONDS: Final = 10**9

# Key in the section, and the flag that it is.
_SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "client-transport-security": {
        "cert-file": "cert-file",
        "key-file": "key-file",
        "client-cert-file": "client-cert-file",
        "client-key-file": "client-key-file",
        "client-cert-auth": "client-cert-auth",
        "trusted-ca-file": "trusted-ca-file",
        "auto-tls": "auto-tls",
        "allowed-hostname": "client-cert-allowed-hostname",
    },
    "peer-transport-security": {
        "cert-file": "peer-cert-file",
        "key-file": "peer-key-file",
        "client-cert-file": "peer-client-cert-file",
        "client-key-file": "peer-client-key-file",
        "client-cert-auth": "peer-client-cert-auth",
        "trusted-ca-file": "peer-trusted-ca-file",
        "auto-tls": "peer-auto-tls",
        "allowed-cn": "peer-cert-allowed-cn",
        "allowed-hostname": "peer-cert-allowed-hostname",
        "skip-client-san-verification": "peer-skip-client-san-verification",
    },
    "socket-options": {
        "reuse-port": "socket-reuse-port",
        "reuse-address": "socket-reuse-address",
    },
}
# What etcd's file can hold and Tenure cannot honour.
_REFUSED: Final = frozenset({"client-transport-security.allowed-cn", "discovery-config"})
# Flags that have no key of their own at the top level.
_NOT_ON_TOP: Final = frozenset(
    {
        "client-crl-file",
        "peer-crl-file",
        "config-file",
        *(flag for section in _SECTIONS.values() for flag in section.values()),
    }
)


class Found(NamedTuple):
    values: dict[str, Any]  # By the flag's name, as the flag would have read it.
    unknown: tuple[str, ...]  # Keys that nobody knows.


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                text = f'key "{key.value}" already set in map'
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_config_file(path: str, flags: Mapping[str, Setting]) -> Found:
    """The settings in a file; `flags` by name.

    Raises:
        ConfigError: it cannot be read, or holds what cannot be honoured.
    """
    found = Found({}, ())
    unknown: list[str] = []
    for key, value in _load(path).items():
        section = _SECTIONS.get(key)
        if key in _REFUSED and value:
            raise ConfigError(f"{path}: {key} is not supported")
        if section is None:
            flag = None if key in _NOT_ON_TOP else key
            _take(path, key, flag, value, flags, found.values, unknown)
            continue
        for name, each in _mapping(path, key, value).items():
            if f"{key}.{name}" in _REFUSED and each:
                raise ConfigError(f"{path}: {key}.{name} is not supported")
            _take(path, f"{key}.{name}", section.get(name), each, flags, found.values, unknown)
    return found._replace(unknown=tuple(unknown))


def _take(
    path: str,
    key: str,
    flag: str | None,
    value: object,
    flags: Mapping[str, Setting],
    values: dict[str, Any],
    unknown: list[str],
) -> None:
    setting = flags.get(flag or "")
    if setting is None or flag is None:
        unknown.append(key)
    elif value is not None:
        try:
            read = _read(setting, value)
        except ValueError as error:
            raise ConfigError(f"{path}: {key}: {error}") from error
        if read is not None:
            values[flag] = read


def _load(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        text = (error.strerror or str(error)).lower()
        raise ConfigError(f"open {path}: {text}") from error
    if len(data) > BYTES_MAX:
        raise ConfigError(f"{path}: a file of settings has at most {BYTES_MAX} bytes")
    try:
        loaded = yaml.load(data, _Loader)  # It is a SafeLoader.
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: error converting YAML to JSON: yaml: {reason}") from error
    return _mapping(path, "it", loaded)


def _mapping(path: str, key: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {key} has to be a mapping, not {_shown(value)}")
    return {str(name).lower(): each for name, each in value.items()}  # As Go's JSON finds keys.


def _read(setting: Setting, value: object) -> Any:
    """What the flag would have read; None if the value sets nothing.

    Raises:
        ValueError
    """
    kind = setting.kind
    if kind is BOOL:
        if not isinstance(value, bool):
            raise ValueError(f"true or false is expected, not {_shown(value)}")
        return value
    if kind in (DURATION, INT, UINT, UINT32):
        if isinstance(value, bool) or not isinstance(value, int):
            what = "a number of nanoseconds" if kind is DURATION else "a number"
            raise ValueError(f"{what} is expected, not {_shown(value)}")
        number = INT.parse(str(value)) if kind is DURATION else kind.parse(str(value))
        return number / _NANOSECONDS if kind is DURATION else number
    if kind is LIST and isinstance(value, list):
        if not all(isinstance(each, str) for each in value):
            raise ValueError(f"a list of texts is expected, not {_shown(value)}")
        return tuple(dict.fromkeys(value))
    if isinstance(value, dict) and setting.flag == "feature-gates":
        # etcd reads a text here; a map is what Kubernetes' tools write.
        value = ",".join(f"{name}={str(each).lower()}" for name, each in value.items())
    if not isinstance(value, str):
        raise ValueError(f"a text is expected, not {_shown(value)}")  # noqa: TRY004  # as above
    if not value and (kind in (URLS, LIST) or " | " in kind.name):
        return None  # As in etcd, where an empty list of URLs leaves the default.
    return kind.parse(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
