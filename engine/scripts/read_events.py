"""Show what happened after an entry of the event stream (lua/read_events.lua)."""

from __future__ import annotations

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_read_events = Script("read_events", keys="events", args="now after count")

Entry = tuple[str, list[bytes]]
"""Id of an entry of the stream; its names and values in turn."""


class EventPage(Struct, frozen=True):
    entries: list[Entry]
    there: bool
    """The entry that was read last is still in the stream, so nothing after it was trimmed."""
    oldest: str
    """Id of the oldest entry that is left; "0-0" without one."""
    newest: str
    """Id of the newest entry that ever was."""
    added: int
    """Entries ever added."""
    left: int
    """Entries that are left."""


async def read_events(link: Link, keys: Keys, *, after: str, count: int, now: Now = "") -> EventPage:
    """Up to `count` entries after the one of that id, and the state of the stream at the same moment."""
    entries, there, oldest, newest, added, left = await _read_events(link, keys, now, after, count)
    shown = [(id.decode(), fields) for id, fields in entries]
    return EventPage(shown, there == 1, oldest.decode(), newest.decode(), added, left)
