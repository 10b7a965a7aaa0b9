"""Enqueue a delayed job before it is due (lua/promote_one.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.errors import JobNotFound, ScriptError, WrongState
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_promote_one = Script(
    "promote_one",
    keys="meta wait paused active prioritized pc delayed marker events jobs",
    args="now id",
)


async def promote_one(link: Link, keys: Keys, *, id: str, now: Now = "") -> None:
    """Enqueue a delayed job, by its priority. Raises JobNotFound, or WrongState if it is not delayed."""
    match await _promote_one(link, keys, now, id):
        case 0:
            return
        case 1:
            raise WrongState(f"job {id!r} is not delayed, so it cannot be promoted")
        case 2:
            raise JobNotFound(id, keys.queue)
        case other:
            raise ScriptError(f"promote_one.lua returned {other!r}")
