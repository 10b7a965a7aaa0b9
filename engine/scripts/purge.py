"""Delete dead letters (lua/purge.lua)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import DEAD_LETTERS_PER_CALL, chunks

_purge = Script("purge", keys="jobs", args="now", rows="id at")


async def purge(link: Link, keys: Keys, letters: Sequence[tuple[str, int | None]], *, now: Now = "") -> int:
    """Delete letters, each given by the id of its job and the time of its failure (ms, None: any); returns how many."""
    deleted = 0
    for chunk in chunks(letters, DEAD_LETTERS_PER_CALL):
        slots: list[Argument] = []
        for id, at in chunk:
            slots += (id, "" if at is None else at)
        deleted += await _purge(link, keys, now, rows=slots)
    return deleted
