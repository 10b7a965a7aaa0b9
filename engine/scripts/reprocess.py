"""Run failed or completed jobs again (lua/reprocess.lua)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from engine.connection import Argument, Link
from engine.errors import CorralError, JobNotFound, WrongState
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import DEAD_LETTERS_PER_CALL, chunks

_reprocess = Script(
    "reprocess",
    keys="meta wait paused active prioritized pc completed failed marker events jobs",
    args="now reset",
    rows="id lifo",
)


class NotReprocessed(IntEnum):
    """Why a job was not enqueued."""

    WRONG_STATE = 1
    """It is neither failed nor completed."""
    MISSING = 2
    """There is no such job."""

    def error(self, id: str, queue: str = "") -> CorralError:
        """The exception to raise for job `id`."""
        if self is NotReprocessed.MISSING:
            return JobNotFound(id, queue)
        return WrongState(f"job {id!r} is neither failed nor completed, so there is nothing to run again")


async def reprocess(
    link: Link, keys: Keys, jobs: Sequence[tuple[str, bool]], *, reset: bool = False, now: Now = ""
) -> dict[str, NotReprocessed]:
    """Run jobs again: each an id, and whether it goes to the front (its option `lifo`). Returns the refused jobs, and why.

    Attempts already made stay counted, as in BullMQ: a job that used them all runs once more. `reset` forgets them.
    """
    refused: dict[str, NotReprocessed] = {}
    for chunk in chunks(jobs, DEAD_LETTERS_PER_CALL):
        slots: list[Argument] = []
        for id, lifo in chunk:
            slots += (id, 1 if lifo else 0)
        codes = await _reprocess(link, keys, now, 1 if reset else 0, rows=slots)
        refused |= {chunk[codes[i]][0]: NotReprocessed(codes[i + 1]) for i in range(0, len(codes), 2)}
    return refused
