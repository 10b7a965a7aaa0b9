"""Change the priority of a job (lua/change_priority.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.errors import JobNotFound, ScriptError
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_change_priority = Script(
    "change_priority",
    keys="meta wait paused active prioritized pc marker jobs",
    args="now id priority lifo",
)


async def change_priority(link: Link, keys: Keys, *, id: str, priority: int, lifo: bool = False, now: Now = "") -> None:
    """Set BullMQ's priority (0 none, then 1 first); a waiting job moves, with `lifo` to the front of its equals.

    A job in any other state takes its new place when it is enqueued. Raises JobNotFound.
    """
    match await _change_priority(link, keys, now, id, priority, 1 if lifo else 0):
        case 0:
            return
        case 2:
            raise JobNotFound(id, keys.queue)
        case other:
            raise ScriptError(f"change_priority.lua returned {other!r}")
