"""Change the due time of a delayed job (lua/change_delay.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.errors import JobNotFound, ScriptError, WrongState
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_change_delay = Script("change_delay", keys="meta active delayed marker events jobs", args="now id delay")


async def change_delay(link: Link, keys: Keys, *, id: str, delay_ms: int, now: Now = "") -> None:
    """Make the job due `delay_ms` from now. Raises JobNotFound, or WrongState if it is not delayed."""
    match await _change_delay(link, keys, now, id, delay_ms):
        case 0:
            return
        case 1:
            raise WrongState(f"job {id!r} is not delayed, so its delay cannot be changed")
        case 2:
            raise JobNotFound(id, keys.queue)
        case other:
            raise ScriptError(f"change_delay.lua returned {other!r}")
