"""Delete jobs that no worker holds (lua/remove.lua)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from engine.connection import Link
from engine.errors import CorralError, JobLocked, JobNotFound, WrongState
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_remove = Script(
    "remove",
    keys="meta wait paused active prioritized pc delayed waiting_children completed failed stalled repeat marker events jobs",
    args="now",
    rows="id",
)

_PER_CALL: Final = 100
"""Jobs that one call deletes: each may release a parent, or add the job that its deduplication kept."""


class NotRemoved(IntEnum):
    """Why a job was not deleted."""

    LOCKED = 1
    """A worker holds it."""
    MISSING = 2
    """There is no such job."""
    SCHEDULED = 3
    """It is the pending run of a schedule."""

    def error(self, id: str, queue: str = "") -> CorralError:
        """The exception to raise for job `id`."""
        match self:
            case NotRemoved.LOCKED:
                return JobLocked(id)
            case NotRemoved.MISSING:
                return JobNotFound(id, queue)
            case NotRemoved.SCHEDULED:
                return WrongState(f"job {id!r} is the pending run of a schedule; remove the schedule instead")


async def remove(link: Link, keys: Keys, ids: Sequence[str], *, now: Now = "") -> dict[str, NotRemoved]:
    """Delete jobs with their logs and children's lists; returns the jobs that were not deleted, and why.

    Many jobs, or lists of many thousands, take several short calls of the script.
    """
    left = list(ids)
    refused: dict[str, NotRemoved] = {}
    while left:
        handled, codes = await _remove(link, keys, now, rows=left[:_PER_CALL])
        refused |= {left[codes[i]]: NotRemoved(codes[i + 1]) for i in range(0, len(codes), 2)}
        del left[:handled]
    return refused
