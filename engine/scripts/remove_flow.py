"""Delete a job with all its descendants (lua/remove_flow.lua)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from engine.connection import Link
from engine.errors import CorralError, JobLocked, JobNotFound, WrongState
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_remove_flow = Script("remove_flow", keys="jobs", args="now id count")

_PER_CALL: Final = 100
"""Jobs that one call deletes: each takes longer than a job without parents and children."""


class NotRemovedFlow(IntEnum):
    """Why a flow was not deleted."""

    LOCKED = 1
    """A worker holds one of its jobs."""
    MISSING = 2
    """There is no such job."""
    SCHEDULED = 3
    """One of them is the pending run of a schedule."""

    def error(self, id: str) -> CorralError:
        """The exception to raise for the flow of job `id`."""
        match self:
            case NotRemovedFlow.LOCKED:
                return JobLocked(id)
            case NotRemovedFlow.MISSING:
                return JobNotFound(id)
            case NotRemovedFlow.SCHEDULED:
                return WrongState(
                    f"the flow of job {id!r} has the pending run of a schedule; remove the schedule instead"
                )


async def remove_flow(
    link: Link, keys: Keys, *, id: str, count: int = _PER_CALL, now: Now = ""
) -> NotRemovedFlow | None:
    """Delete a job and its descendants, `count` a call; None when done, else why no more was deleted."""
    while True:
        code = await _remove_flow(link, keys, now, id, count)
        if code >= 0:
            return NotRemovedFlow(code) if code else None
