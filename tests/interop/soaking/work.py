"""What a Corral worker does with the soak's jobs, as soaker.js does it: a processor for `python -m engine.worker`."""

from __future__ import annotations

import asyncio
from typing import Any

from engine import Job, processor
from tests.support.ledger import note


@processor("work")
async def work(job: Job[dict[str, Any]]) -> str:
    act, ms, mark = job.data["act"], job.data["ms"], job.data["mark"]
    note("start", job)
    await asyncio.sleep(1.5 if act == "dawdle once" and job.attempts_started == 1 else ms / 1000)
    if act == "fail" or (act == "fail once" and job.attempts_made == 0):
        raise RuntimeError(act)
    note("end", job)
    return str(mark)


PROCESSORS = [work]
