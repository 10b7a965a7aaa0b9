"""Register a queue, so that tools find it (lua/init_queue.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_init_queue = Script("init_queue", keys="meta id", args="now version max_events events")


async def init_queue(
    link: Link, keys: Keys, *, version: str, max_events: int | None = None, events: str | None = None, now: Now = ""
) -> bool:
    """Register the queue; `version` is text such as "corral:1.2.3". False if nothing had to be written.

    max_events: entries kept in the event stream. events: "all", "results" or "none". None keeps what the queue has stored.
    """
    return bool(await _init_queue(link, keys, now, version, "" if max_events is None else max_events, events or ""))
