"""Find candidates for the job that has waited longest (lua/find_oldest.lua)."""

from __future__ import annotations

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_find_oldest = Script("find_oldest", keys="wait paused prioritized jobs", args="now count")

MAX_READ = 100
"""Most jobs without a priority that are read of each list, and most priorities."""


class WaitingJob(Struct, frozen=True):
    """A waiting job; times in ms."""

    id: str
    name: str
    timestamp: int
    processed_on: int
    """0 if it never started."""
    opts: bytes


async def find_oldest(link: Link, keys: Keys, *, now: Now = "") -> tuple[int, list[WaitingJob]]:
    """The server's time in ms, and the candidates."""
    moment, *rows = await _find_oldest(link, keys, now, MAX_READ)
    return moment, [_waiting_job(*row) for row in rows]


def _waiting_job(id: bytes, name: bytes, timestamp: bytes, processed_on: bytes, opts: bytes) -> WaitingJob:
    text, name_text = id.decode(errors="replace"), name.decode(errors="replace")
    return WaitingJob(text, name_text, _number(timestamp), _number(processed_on), opts)


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
