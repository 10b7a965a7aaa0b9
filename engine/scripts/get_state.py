"""Return the states of jobs (lua/get_state.lua)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.connection import Link
from engine.model import states
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import chunks
from engine.scripting.snapshots import ALL_PLACES

_get_state = Script("get_state", keys=f"{ALL_PLACES} jobs", args="now", rows="id")


async def get_state(link: Link, keys: Keys, ids: Sequence[str], *, now: Now = "") -> list[str]:
    """The states of jobs, as BullMQ names them; "unknown" for a job that does not exist.

    With 100,000 waiting jobs, or fewer if many ids are asked for, a job that is in no other structure is reported as waiting.
    """
    words: list[bytes] = []
    for chunk in chunks(ids):
        words += await _get_state(link, keys, now, rows=chunk)
    return [states.spoken(word.decode()) for word in words]
