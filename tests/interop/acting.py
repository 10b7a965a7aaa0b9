"""A processor of ours that acts as its job's data say, like `run` of node/side.js: either side can take the job."""

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
