"""Follows the demo's jobs until they have ended: as lines, or as a live table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.cli.printing import cell
from engine.service.service import JobQueueService

_INTERVAL = 0.1  # seconds between two queries
_ENDED = ("completed", "failed", "not_found", "error")


class Shown:
    """A job and its last known status."""

    def __init__(self, job_type: str, what: str, job_id: str) -> None:
        self.job_type = job_type
        self.what = what
        self.job_id = job_id
        self.status: str = "pending"
        self.progress: float | None = None
        self.took: int | None = None
        self.summary = ""

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    async def refresh(self, service: JobQueueService) -> bool:
        """Get the job's status; True if it has changed."""
        seen = await service.get_job_status(self.job_type, self.job_id)
        is_news = (seen.status, seen.progress) != (self.status, self.progress)
        self.status, self.progress = seen.status, seen.progress
        self.took = _milliseconds(seen.created_at, seen.completed_at)
        self.summary = cell(seen.error) if seen.error is not None else _summary(seen.result)
        return is_news


def _milliseconds(start: datetime | None, end: datetime | None) -> int | None:
    return None if start is None or end is None else round((end - start).total_seconds() * 1000)


def _summary(result: Any) -> str:
    """The plain values of a result; lists are left out, and paths are cut to their names."""
    if not isinstance(result, dict):
        return "" if result is None else cell(result)
    plain = {name: value for name, value in result.items() if isinstance(value, str | int | float)}
    return cell(", ".join(f"{name} {_short(value)}" for name, value in plain.items()))


def _short(value: str | float) -> str | float:
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


async def lines(service: JobQueueService, jobs: Sequence[Shown]) -> None:
    """Print each change on a line, until all jobs have ended."""
    while not all(job.has_ended for job in jobs):
        for job in jobs:
            if not job.has_ended and await job.refresh(service):
                print(f"job      {job.job_type} {job.what}: {job.status}", flush=True)
        await asyncio.sleep(_INTERVAL)


async def live_table(service: JobQueueService, jobs: Sequence[Shown]) -> None:
    """Show the jobs in a live table, until all have ended."""
    from rich.live import Live

    with Live(_table(jobs), refresh_per_second=10, transient=True) as live:
        while not all(job.has_ended for job in jobs):
            for job in jobs:
                if not job.has_ended:
                    await job.refresh(service)
            live.update(_table(jobs))
            await asyncio.sleep(_INTERVAL)


def _table(jobs: Sequence[Shown]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    colors = {"completed": "green", "failed": "red", "error": "red", "processing": "yellow"}
    table = Table("type", "job", "status", "", box=SIMPLE_HEAD)
    for job in jobs:
        bar = ProgressBar(total=100, completed=job.progress or 0, width=24)
        table.add_row(Text(job.job_type), Text(job.what), Text(job.status, colors.get(job.status, "")), bar)
    return table
