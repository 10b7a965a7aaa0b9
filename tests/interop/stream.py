"""Reads the whole event stream of a queue as it is in Redis, whoever wrote it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from engine import Queue


async def told(queue: Queue) -> list[dict[str, str]]:
    """The entries as they are, oldest first, with the time at which each was written as `at` (ms)."""
    entries: list[dict[str, str]] = []
    for id, flat in await queue.link.call("XRANGE", queue.keys.events, "-", "+"):
        texts = [item.decode() for item in flat]
        entries.append({**dict(zip(texts[::2], texts[1::2], strict=True)), "at": id.partition(b"-")[0].decode()})
    return entries


async def claims(queue: Queue) -> list[str]:
    """The ids of the jobs in the order in which they were taken, by any worker."""
    return [entry["jobId"] for entry in await told(queue) if entry["event"] == "active"]


async def starts(queue: Queue) -> list[int]:
    """When jobs were taken, in ms."""
    return [int(entry["at"]) for entry in await told(queue) if entry["event"] == "active"]


async def ends(queue: Queue) -> dict[str, Counter[str]]:
    """How often each job was said to have ended: "completed" and "failed", by its id."""
    found: dict[str, Counter[str]] = {"completed": Counter(), "failed": Counter()}
    for entry in await told(queue):
        if entry["event"] in found:
            found[entry["event"]][entry["jobId"]] += 1
    return found


async def stored(queue: Queue, job_id: str) -> dict[str, Any]:
    """A job's hash."""
    flat = await queue.link.call("HGETALL", queue.keys.job(job_id))
    flat = flat if isinstance(flat, list) else [item for pair in flat.items() for item in pair]
    return dict(zip([name.decode() for name in flat[::2]], [value.decode() for value in flat[1::2]], strict=True))
