"""The job and its processor, imported by the API that adds it and by the worker that runs it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel, Field

from engine import Job, processor

QUEUE = "report-queue"
"""The queue that `corral worker` takes for a processor named "report"."""

FOLDER = Path(os.environ.get("REPORTS", "reports"))


class ReportRequest(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    rows: int = Field(ge=1, le=100_000)


class Report(BaseModel):
    path: str
    rows: int


@processor("report", attempts=3)
async def write_report(job: Job[ReportRequest]) -> Report:
    """Write a CSV file and report progress in percent.

    Idempotent: the file is named after the job and replaced as a whole. A job may run twice, for example after a crash of
    its worker; the second run writes the same file again.
    """
    lines = []
    for row in range(1, job.data.rows + 1):
        await asyncio.sleep(0.01)  # stands for a slow query
        lines.append(f"{row},{job.data.title}\n")
        if row % max(1, job.data.rows // 10) == 0:
            await job.update_progress(100 * row // job.data.rows)
    os.makedirs(FOLDER, exist_ok=True)
    path = FOLDER / f"{job.id}.csv"
    unfinished = path.with_suffix(f".{job.attempts_started}")  # a name of its own for each run
    unfinished.write_text("".join(lines))
    unfinished.replace(path)
    return Report(path=str(path), rows=job.data.rows)


PROCESSORS = [write_report]
"""What `corral worker examples.fastapi.jobs` runs."""
