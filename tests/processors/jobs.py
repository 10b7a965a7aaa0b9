"""A job without a queue, for testing a processor by itself: it notes what it is told and touches no Redis."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from engine import Job
from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import JobOptions

D = TypeVar("D")


class NotedJob(Job[D]):
    """`reports` holds the progress that was reported, `rows` the log."""

    def __init__(self, name: str, data: D, *, id: str = "1") -> None:
        super().__init__(cast(Link, None), Keys(f"{name}-queue"), id, name, data, JobOptions())
        self.timestamp = datetime(2024, 1, 1, tzinfo=UTC)
        self.attempts_started = 1
        self.reports: list[Any] = []
        self.rows: list[str] = []

    async def update_progress(self, value: Any) -> None:
        """Note the progress."""
        self.reports.append(value)

    async def log(self, row: str) -> int:
        """Note the row."""
        self.rows.append(row)
        return len(self.rows)
