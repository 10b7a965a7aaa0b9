"""Jobs that are cancelled while their workers are killed: each ends once, as `cancel` reported."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from engine import Cancellation, NewJob, Queue
from tests.support.daemons import daemon
from tests.support.ledger import LEDGER, Ledger
from tests.support.running import until

JOBS, KILLS = 200, 4
ARGUMENTS = "--queue q=10 --lock-duration 600 --stalled-interval 200 --max-stalled 100 --log-level warning"


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_cancelled_job_has_one_end_whoever_dies(redis_url: str, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ledger = Ledger(tmp_path / "ledger")
    arguments = ["tests.support.ledger", *ARGUMENTS.split(), "--redis", redis_url]
    said: dict[str, Cancellation] = {}
    async with Queue("q", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("work", chance.choice([0, 0.3, 30]), attempts=3) for _ in range(JOBS)])
        left = [job.id for job in jobs]
        chance.shuffle(left)
        for round in range(KILLS + 1):
            with daemon(*arguments, log=tmp_path / "log", env={LEDGER: str(ledger.path)}) as worker:
                seen = ledger.count("start").total()
                await until(partial(_more, ledger, seen), "the worker runs jobs", timeout=30)
                for id in left[: JOBS // (KILLS + 1)]:
                    said[id] = await queue.cancel(id, "test")
                del left[: JOBS // (KILLS + 1)]
                if round < KILLS:
                    worker.kill()
                else:
                    await until(partial(_all_over, queue), "every job has ended", timeout=40)
        assert said.keys() == {job.id for job in jobs}
        ends = Counter[tuple[str, str]]()
        for _, fields in await queue.link.call("XRANGE", queue.keys.events, "-", "+"):
            if fields[1] in (b"completed", b"failed"):
                ends[fields[3].decode(), fields[1].decode()] += 1
        assert ends.total() == len({id for id, _ in ends}) == JOBS, "one end each"
        for job in jobs:
            await job.refresh()
            if said[job.id] is Cancellation.ENDED:
                assert ends[job.id, "completed"]
            elif said[job.id] is Cancellation.CANCELLED:
                assert (job.failed_reason, job.attempts_made) == ("cancelled: test", 0)
            elif ends[job.id, "failed"]:
                assert job.failed_reason == "cancelled: test"
            else:
                assert job.data < 30, "a run that never ends by itself was ended"
        assert {Cancellation.ASKED, Cancellation.CANCELLED} <= set(said.values())


def _more(ledger: Ledger, seen: int) -> bool:
    return ledger.count("start").total() > seen


async def _all_over(queue: Queue) -> bool:
    counts = await queue.counts()
    return counts.completed + counts.failed == JOBS
