"""What a system runs it by is held to the settings there are."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess

import pytest

from server.settings.flags import parse
from tools import audit
from tools.gen_docs import ROOT

UNIT = ROOT / "packaging" / "tenure.service"
CONTAINERFILE = (ROOT / "Containerfile").read_text(encoding="utf-8")


def unit_values(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_variables_of_the_unit_are_settings() -> None:
    variables = dict(value.split("=", 1) for value in unit_values("Environment"))
    config = parse([], variables).config
    assert str(config.data_dir) == "%S/tenure"
    assert config.name == "%H"
    assert unit_values("ExecStart") == ["/usr/bin/tenure"], "a flag would contradict its variable"


def test_the_manager_waits_for_the_word_of_the_process() -> None:
    assert unit_values("Type") == ["notify"]
    assert unit_values("TimeoutStartSec") == ["infinity"]
    assert unit_values("User") == ["tenure"]


def test_systemd_reads_the_unit_without_a_complaint() -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [tool, "verify", str(UNIT)], capture_output=True, text=True, check=False, timeout=30
    )
    complaints = [line for line in done.stderr.splitlines() if "not executable" not in line]
    assert complaints == [], "but that the command is not installed here"


def test_the_container_s_flags_are_flags_and_its_user_is_not_root() -> None:
    (command,) = re.findall(r"^CMD (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    config = parse(json.loads(command), {}).config
    assert [str(url) for url in config.listen_client_urls] == ["http://0.0.0.0:2379"]
    assert config.data_dir.parts == ("default.etcd",), "below the working directory"
    workdir = re.findall(r"^WORKDIR (.*)$", CONTAINERFILE, re.MULTILINE)
    assert workdir == re.findall(r"^VOLUME (.*)$", CONTAINERFILE, re.MULTILINE)
    assert re.findall(r"^USER (.*)$", CONTAINERFILE, re.MULTILINE) == ["2379:2379"]


def test_nothing_stands_between_the_container_and_the_server() -> None:
    """A shell as the first process would not pass a signal on."""
    entries = re.findall(r"^ENTRYPOINT (.*)$", CONTAINERFILE, re.MULTILINE)
    assert [json.loads(entry) for entry in entries] == [["/opt/tenure/bin/tenure"]]


# --- what it is made of ---


def test_no_version_is_locked_that_nobody_has_looked_at() -> None:
    assert "pyjwt" in audit.locked()
    assert audit.unseen() == [], (
        "look at it, and write down what was found: requirements/audited.toml"
    )


def test_of_each_package_it_is_said_when_it_was_looked_at_and_what_was_found() -> None:
    for name, entry in audit.audited().items():
        assert set(entry) == {"version", "licence", "looked_at", "holes", "used_for"}, name
        assert isinstance(entry["looked_at"], datetime.date), name
        assert entry["licence"], name
        assert entry["used_for"], name
