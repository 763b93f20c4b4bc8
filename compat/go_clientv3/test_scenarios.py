"""Every scenario, each a test of Go's in a process of its own. Its title is the line above it."""

import re
from typing import Final

import pytest

from compat.go_clientv3.conftest import FOLDER, Start
from compat.programs import Scenario, finish, restart
from compat.targets import Server

ALL: Final = [
    Scenario(name, title)
    for path in sorted(FOLDER.glob("*_test.go"))
    for title, name in re.findall(r"^// (.+)\nfunc (Test\w+)\(", path.read_text(), re.MULTILINE)
]
RESTART: Final = [scenario for scenario in ALL if scenario.name == "TestRestart"]


@pytest.mark.parametrize(
    "scenario",
    [scenario for scenario in ALL if scenario not in RESTART],
    ids=lambda scenario: scenario.name,
)
def test_a_scenario_ends_well(scenario: Scenario, start: Start) -> None:
    finish(start(scenario.name))


@pytest.mark.parametrize("scenario", RESTART, ids=lambda scenario: scenario.name)
def test_a_scenario_that_restarts_the_server_ends_well(
    scenario: Scenario, start: Start, fresh_server: Server
) -> None:
    restart(start(scenario.name), fresh_server)
