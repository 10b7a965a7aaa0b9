"""Show the jobs among which the one that has waited longest is (lua/find_oldest.lua)."""

from __future__ import annotations

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_find_oldest = Script("find_oldest", keys="wait paused prioritized jobs", args="now count")

MAX_READ = 100
"""Jobs next to run without a priority, and priorities, that are looked at."""


class WaitingJob(Struct, frozen=True):
    """A job in line; times in ms."""

    id: str
    name: str
    timestamp: int
    processed_on: int
    """0 if it was never started."""
    opts: bytes


async def find_oldest(link: Link, keys: Keys, *, now: Now = "") -> tuple[int, list[WaitingJob]]:
    """The server's time in ms, and the jobs to choose from."""
    moment, *rows = await _find_oldest(link, keys, now, MAX_READ)
    return moment, [_waiting_job(*row) for row in rows]


def _waiting_job(id: bytes, name: bytes, timestamp: bytes, processed_on: bytes, opts: bytes) -> WaitingJob:
    text, spelled = id.decode(errors="replace"), name.decode(errors="replace")
    return WaitingJob(text, spelled, _number(timestamp), _number(processed_on), opts)


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
