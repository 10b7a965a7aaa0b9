"""Enqueue the jobs of dead letters again (lua/replay.lua)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from engine.connection import Argument, Link
from engine.errors import CorralError, DeadLetterNotFound, WrongState
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import DEAD_LETTERS_PER_CALL, chunks

_replay = Script(
    "replay",
    keys="meta id wait paused active prioritized pc failed marker events jobs",
    args="now by",
    rows="id at edited data",
)


class NotReplayed(IntEnum):
    """Why a dead letter was not replayed."""

    DONE = 1
    """It was replayed before."""
    MISSING = 2
    """There is no such letter."""
    PRESENT = 3
    """A job of that id exists and has not failed."""
    CHANGED = 4
    """The job has failed again since the letter was read."""

    def error(self, id: str, queue: str = "") -> CorralError:
        """The exception to raise for job `id`."""
        match self:
            case NotReplayed.MISSING:
                return DeadLetterNotFound(id, queue)
            case NotReplayed.DONE:
                return WrongState(f"the dead letter of job {id!r} was replayed before; look at the job itself")
            case NotReplayed.PRESENT:
                return WrongState(f"job {id!r} is in the queue and has not failed: it was retried or added again")
            case NotReplayed.CHANGED:
                return WrongState(f"job {id!r} has failed again meanwhile; read its dead letter again")


async def replay(
    link: Link, keys: Keys, letters: Sequence[tuple[str, int | None, bytes | None]], *, by: str, now: Now = ""
) -> dict[str, NotReplayed]:
    """Replay letters, each given by the id of its job, the time of its failure (ms, None: any) and new data (None: the old).

    `by` names this call, and is the same in every send of it. Returns the letters that were not replayed, and why.
    """
    refused: dict[str, NotReplayed] = {}
    for chunk in chunks(letters, DEAD_LETTERS_PER_CALL):
        slots: list[Argument] = []
        for id, at, data in chunk:
            slots += (id, "" if at is None else at, 0 if data is None else 1, data or b"")
        codes = await _replay(link, keys, now, by, rows=slots)
        refused |= {chunk[codes[i]][0]: NotReplayed(codes[i + 1]) for i in range(0, len(codes), 2)}
    return refused
