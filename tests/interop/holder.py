"""A processor that never ends, for daemons that are killed while they run a job."""

from __future__ import annotations

import asyncio
from typing import Any

from engine import Job, processor


@processor("hold")
async def hold(job: Job[Any]) -> None:
    await asyncio.Event().wait()


PROCESSORS = [hold]
