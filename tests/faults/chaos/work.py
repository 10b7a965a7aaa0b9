"""What a daemon of the chaos does with its jobs: a processor for `python -m engine.worker tests.faults.chaos.work`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from engine import Job, processor
from tests.support.ledger import note

NAME = "work"


@processor(NAME)
async def work(job: Job[dict[str, Any]]) -> str:
    """Takes as long as its data says; fails at the first attempt if told to. The result names the claim that ran."""
    mark = job.data["mark"]
    note("start", job, job.attempts_made, time.monotonic(), mark)
    await asyncio.sleep(job.data["ms"] / 1000)
    if job.data["fails"] and job.attempts_made == 0:
        raise RuntimeError("the first attempt fails")
    note("end", job, job.attempts_made, time.monotonic(), mark)
    return str(job.attempts_started)


PROCESSORS = [work]
