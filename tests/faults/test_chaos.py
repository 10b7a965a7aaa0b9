"""The chaos in its small form (`python -m tests.faults.chaos` is the large one): all faults under load, and what a checker
that is to be believed must see."""

from __future__ import annotations

import random
from collections.abc import Collection
from pathlib import Path

import pytest

from engine.connection import Connection
from engine.model.keys import Keys
from tests.faults.chaos.nemesis import open_link
from tests.faults.chaos.plan import QUEUE, Plan
from tests.faults.chaos.run import Chaos, chaos_server
from tests.faults.chaos.verdict import judge

FAULTS = {
    "kill_daemon", "freeze", "open_black_hole", "kill_clients",
    "kill_server", "flush_scripts", "sleep", "fill_memory", "fill_clients",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_chaos_loses_no_job_and_completes_none_twice(tmp_path: Path) -> None:
    plan = Plan(seconds=15, rate=150, daemons=2, seed=random.randrange(2**32), lock_ms=1_500, sweep_ms=400)
    print(plan)
    with chaos_server(plan) as server:
        chaos = Chaos(plan, server, tmp_path)
        verdict = judge(await chaos.run())
        assert verdict.charges == {}
        assert chaos.dealt.keys() == FAULTS
        assert verdict.acked > 100
        assert verdict.restarts, "jobs in hand at a kill start again"
        async with open_link(server) as link:
            await _damage(link, (await chaos.evidence(link)).acked)
            charges = judge(await chaos.evidence(link)).charges
        assert [len(charges.pop(charge)) for charge in ("lost", "completed twice", "wrong end")] == [1, 1, 1]
        assert charges.keys() == {"unsound"}


async def _damage(link: Connection, acked: Collection[str]) -> None:
    """One completed job goes without a trace, one is completed once more, one is put in line again.

    Their adds were acknowledged: only those can be lost.
    """
    keys = Keys(QUEUE)
    completed = [id.decode() for id in await link.call("ZRANGE", keys.completed, 0, -1)]
    lost, twice, again = [id for id in completed if id in acked][:3]
    await link.call("ZREM", keys.completed, lost)
    await link.call("DEL", keys.job(lost))
    await link.call("XADD", keys.events, "*", "event", "completed", "jobId", twice, "returnvalue", '"1"')
    await link.call("LPUSH", keys.wait, again)
