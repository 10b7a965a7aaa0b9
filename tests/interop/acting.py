"""A processor of ours that does what a job's data say, as `run` of node/side.js does: either side may take such a job."""

from __future__ import annotations

from typing import Any

from engine import Job


async def act(job: Job[Any]) -> Any:
    match job.data:
        case {"do": "progress", "value": value}:
            await job.update_progress(value)
            return None
        case {"do": "succeed later", "after": after} if job.attempts_made < after:
            raise ValueError("not yet")
        case {"do": "throw"}:
            raise ValueError("boom")
    return job.data.get("value", job.data)
