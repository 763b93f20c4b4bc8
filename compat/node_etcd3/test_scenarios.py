"""Every scenario, each a program that ends well or says why not. Its title is its first line."""

from typing import Final

import pytest

from compat.node_etcd3.conftest import FOLDER, Start
from compat.programs import Scenario, finish, restart
from compat.targets import Server

SCENARIOS: Final = [
    Scenario(str(path.relative_to(FOLDER)), path.read_text().partition("\n")[0].removeprefix("// "))
    for path in sorted((FOLDER / "scenarios").glob("*.js"))
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_ends_well(scenario: Scenario, start: Start) -> None:
    finish(start(scenario.name))


def test_a_watch_and_a_lease_go_on_after_the_server_was_restarted(
    start: Start, fresh_server: Server
) -> None:
    restart(start("restart.js"), fresh_server)
