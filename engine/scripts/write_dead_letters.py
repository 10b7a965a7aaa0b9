"""Write missing dead letters of failed jobs (lua/write_dead_letters.lua)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import DEAD_LETTERS_PER_CALL, chunks

_write_dead_letters = Script("write_dead_letters", keys="failed jobs", args="now", rows="id error tenant")


async def write_dead_letters(link: Link, keys: Keys, jobs: Sequence[tuple[str, str, str]], *, now: Now = "") -> int:
    """Write letters of failed jobs, each an id, the class of its error and its tenant, either empty for none; returns how many.

    A job that has not failed, or whose last failure has its letter, is skipped.
    """
    written = 0
    for chunk in chunks(jobs, DEAD_LETTERS_PER_CALL):
        slots: list[Argument] = [slot for job in chunk for slot in job]
        written += await _write_dead_letters(link, keys, now, rows=slots)
    return written
