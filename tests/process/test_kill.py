"""kill -9 under load, again and again over one data directory: nothing acknowledged is lost.

`TENURE_KILLS=200` makes a long run of it, `TENURE_KILLS_SEED=7` another one.
"""

from __future__ import annotations

import os
import random
from typing import Final

import pytest

from tests.process.audit import Audit
from tests.process.conftest import ON_EACH_TRANSPORT, Servers
from tests.process.load import Crew

pytestmark = ON_EACH_TRANSPORT

KILLS: Final = int(os.environ.get("TENURE_KILLS", "16"))
SEED: Final = int(os.environ.get("TENURE_KILLS_SEED", "1"))
WORKERS: Final = 6
CALLS_PER_LIFE_MAX: Final = 400
STARTING: Final = ("Running: ", "recovered")  # What it said last when killed on its way up.
KILLED_STARTING_EVERY: Final = 4  # Kills.


@pytest.mark.power
@pytest.mark.timeout(60 + 15 * KILLS)
def test_nothing_that_was_acknowledged_is_lost_by_kill_9(servers: Servers) -> None:
    chance = random.Random(SEED)
    crew = Crew(WORKERS, SEED)
    ledger = crew.ledger
    audit = Audit(ledger)
    for kill in range(1, KILLS + 1):
        if kill % KILLED_STARTING_EVERY == 0:
            server = servers.spawn()
            server.wait_for(chance.choice(STARTING))
            server.kill()
            continue
        server, client = servers.start()
        with client:
            revision = audit.check(client)
            crew.begin(client, revision, audit.kvs, audit.leases)
            ledger.wait_for_calls(ledger.acknowledged + chance.randint(1, CALLS_PER_LIFE_MAX))
            server.kill()
            crew.join()
    _, client = servers.start()
    audit.check(client)
    print(  # noqa: T201  # shown for a long run, by -s
        f"seed {SEED}, {KILLS} kills: {ledger.acknowledged} calls acknowledged,"
        f" revision {audit.revision}, {audit.hashes_compared} hashes compared,"
        f" {audit.unanswered_found} calls had happened without an answer"
    )
    assert audit.hashes_compared, "none of the hashes acknowledged could be asked for again"
