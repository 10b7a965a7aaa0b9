"""Schedules whose workers are killed: each time runs once, and the schedule never stops."""

from __future__ import annotations

import json
import random
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from engine import Queue
from tests.support.daemons import Daemon, daemon
from tests.support.ledger import LEDGER, Ledger
from tests.support.running import until

EVERY = 25
WORKERS = 3
KILLS = 12


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_schedule_survives_kills_and_runs_once_each_time(redis_url: str, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ledger = Ledger(tmp_path / "ledger")
    env = {LEDGER: str(ledger.path)}
    arguments = ["tests.support.ledger", "--queue", "q=5", "--lock-duration", "500", "--stalled-interval", "200"]
    arguments += ["--max-stalled", "100", "--redis", redis_url, "--log-level", "warning"]
    async with Queue("q", redis=redis_url) as queue:
        await queue.schedules.upsert("s", "work", 0.005, every=EVERY)
        with ExitStack() as stack:

            def start() -> Daemon:
                return stack.enter_context(daemon(*arguments, log=tmp_path / "log", env=env))

            workers = [start() for _ in range(WORKERS)]
            for _ in range(KILLS):
                ended = ledger.count("end").total()
                await until(partial(_further, ledger, ended + 3), "the schedule goes on", timeout=30)
                # At any moment of a run: between its claim and the next run too.
                end = time.monotonic() + chance.uniform(0, EVERY / 1000)
                await until(partial(_reached, end), "it is time to kill one")
                workers.pop(0).kill()
                workers.append(start())
            await until(partial(_further, ledger, ledger.count("end").total() + 3), "it has outlived them", timeout=30)
            await queue.schedules.remove("s")

            async def at_rest() -> bool:
                counts = await queue.counts()
                return counts.waiting + counts.active + counts.delayed == 0

            await until(at_rest, "the last runs have ended", timeout=30)

        completed = await queue.jobs("completed", 0, 10_000)
        starts = ledger.count("start")
        assert {job.id for job in completed} == set(starts), "each run that began has ended"
        due = sorted(int(id.rpartition(":")[2]) for id in starts)
        assert all(time % EVERY == due[0] % EVERY for time in due)
        assert starts.total() - len(starts) <= KILLS * 5, "only what was in hand at a kill began again"
        # One job was added for each time that ran, and no more but the one that was removed.
        added = [
            fields[fields.index(b"jobId") + 1].decode()
            for _, fields in await queue.link.call("XRANGE", queue.keys.events, "-", "+")
            if b"added" in fields
        ]
        assert len(added) == len(set(added))
        assert len(set(added) - set(starts)) <= 1
        counts = [
            json.loads(await queue.link.call("HGET", queue.keys.job(job.id), "opts"))["repeat"]["count"]
            for job in completed
        ]
        assert sorted(counts) == list(range(1, len(counts) + 1)), (
            "no run is left out of the count, and none counted twice"
        )


def _reached(moment: float) -> bool:
    return time.monotonic() >= moment


def _further(ledger: Ledger, ended: int) -> bool:
    return ledger.count("end").total() >= ended
