"""Read events after an entry of the event stream (lua/read_events.lua)."""

from __future__ import annotations

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_read_events = Script("read_events", keys="events", args="now after count")

Entry = tuple[str, list[bytes]]
"""Id of an entry of the stream; its names and values in turn."""


class EventPage(Struct, frozen=True):
    """Entries of the event stream, and the stream's bounds at the same moment."""

    entries: list[Entry]
    there: bool
    """The last entry that was read is still in the stream, so nothing after it was trimmed."""
    oldest: str
    """Id of the oldest entry in the stream; "0-0" without one."""
    newest: str
    """Id of the newest entry ever added."""
    added: int
    """Entries ever added."""
    left: int
    """Entries in the stream."""


async def read_events(link: Link, keys: Keys, *, after: str, count: int, now: Now = "") -> EventPage:
    """Up to `count` entries after the id `after`, and the bounds of the stream."""
    entries, there, oldest, newest, added, left = await _read_events(link, keys, now, after, count)
    shown = [(id.decode(), fields) for id, fields in entries]
    return EventPage(shown, there == 1, oldest.decode(), newest.decode(), added, left)
