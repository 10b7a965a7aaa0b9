"""Report once that the dead letters exceed a threshold (lua/check_dead_letters.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_check_dead_letters = Script("check_dead_letters", keys="jobs", args="now threshold")


async def check_dead_letters(link: Link, keys: Keys, *, threshold: int, now: Now = "") -> int | None:
    """Number of open letters if they exceed `threshold` and no caller got it since they last did not; else None."""
    count = await _check_dead_letters(link, keys, now, threshold)
    return None if count < 0 else int(count)
