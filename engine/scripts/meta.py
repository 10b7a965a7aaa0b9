"""Make a queue known (lua/meta.lua)."""

from __future__ import annotations

from engine import wire
from engine.keys import Keys
from engine.link import Link
from engine.script import Now, Script

_meta = Script("meta", keys="meta id", args="now version max_events")


async def meta(
    link: Link, keys: Keys, *, version: str, max_events: int = wire.DEFAULT_MAX_EVENTS, now: Now = ""
) -> bool:
    """Write what tools look for to find a queue; `version` reads "corral:1.2.3". False if all of it was there.

    A limit of events that the queue has already stays.
    """
    return bool(await _meta(link, keys, now, version, max_events))
