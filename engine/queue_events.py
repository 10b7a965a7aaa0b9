"""Queue events: every event of a queue in order, as an async iterator with a connection of its own."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import AsyncIterator, Iterable

from msgspec import Struct

from engine.connection import Connection, Link, RedisPyLink, RedisSettings, SharedLink, open_link
from engine.errors import ConnectFailed, InvalidInput, InvalidOption, LinkClosed, OutcomeUnknown, ServerBusy
from engine.events import Event, Gap, event_name, id_parts, read_event
from engine.model import wire
from engine.model.keys import Keys
from engine.scripts.read_events import Entry, EventPage, read_events

_PER_CALL = 100
"""Entries read in one call. Each may hold a whole result."""
_BLOCK = 10.0
"""Seconds that a read waits at the server, as BullMQ's do."""
_PAUSE = 0.5
"""Seconds between two tries while the server cannot be read from."""
_PLACE = re.compile(r"(\d{1,20}(?:-\d{1,20})?)(?:#(\d{1,20}))?")

logger = logging.getLogger("engine.events")


class _Place(Struct, frozen=True):
    """A position after an entry of the stream. `number`: how many entries were added up to it; None if unknown."""

    id: str
    number: int | None = None

    def __str__(self) -> str:
        return self.id if self.number is None else f"{self.id}#{self.number}"


_Page = tuple[list[Event], list[tuple[_Place, Entry]]]
"""A Gap or nothing; the entries, each with the position after it."""


class QueueEvents:
    """Reads the events of a queue as they happen, from Corral, BullMQ and dashboards alike.

        async with QueueEvents("sms-queue", redis="redis://localhost:6379/0") as events:
            async for event in events:
                match event:
                    case events.Completed():
                        print(event.job_id, event.result)
                    case events.Failed():
                        print(event.job_id, event.reason)

    redis: a URL, RedisSettings, or None for the environment's settings.
    It has one connection, which blocks at the server and is listed by BullMQ's `getQueueEvents`. It reconnects by itself.
    One task reads at a time: make a second QueueEvents for a second reader. See `engine.events` for the event types.
    """

    def __init__(
        self, queue_name: str, *, redis: str | RedisSettings | None = None, prefix: str = wire.DEFAULT_PREFIX
    ) -> None:
        self.queue_name = queue_name
        self._keys = Keys(queue_name, prefix)
        self._settings = RedisSettings.parse(redis)
        self._shared = SharedLink(f"QueueEvents of {queue_name!r}", self._connect, prepare=self._remember_newest)
        self._opened = _Place("0-0", 0)
        self._place = self._opened
        self._reading = False

    def __repr__(self) -> str:
        return f"<QueueEvents of {self.queue_name}: {f'after {self._place}' if self._shared.link else 'not connected'}>"

    async def __aenter__(self) -> QueueEvents:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.events()

    @property
    def place(self) -> str:
        """The position after the last event read. Pass it to `events(after=)` to continue from there, in any process."""
        return str(self._place)

    async def open(self) -> QueueEvents:
        """Connect and remember the newest event. Raises ConnectFailed or AuthFailed; the message says what to do."""
        await self._shared.open()
        return self

    async def _connect(self) -> Connection | RedisPyLink:
        return await open_link(self._settings, name=self._keys.client_name(":qe"))

    async def _remember_newest(self, link: Link) -> None:
        found = await read_events(link, self._keys, after="0-0", count=0)
        self._opened = self._place = _Place(found.newest, found.added)

    async def close(self) -> None:
        """Close the connection; iteration ends. Can be called twice."""
        await self._shared.close()

    def events(self, after: str = "$", *, names: Iterable[str] | None = None) -> AsyncIterator[Event]:
        """Iterate over every event after a position, without end.

        after: "$" for events since `open`; "0" for all that are kept; the id of an event; a `place`.
        names: event names as stored ("completed", "retries-exhausted", or a custom one); None for all.

        The stream keeps about 10,000 events. If events were trimmed before they were read, a Gap takes their place. It
        says how many when reading continues in one QueueEvents or from a `place`. After the bare id of an event that was
        trimmed itself, the number is unknown and `missed` is None.
        Raises at once InvalidOption for a wrong `after`, and InvalidInput before `open`. While reading, raises InvalidInput
        if another task reads, and ServerError if the stream's key has another type. A cancelled wait, as by a timeout,
        loses no event: iterate again.
        """
        place = self._opened if after == "$" else _parse(after)
        if isinstance(names, str):
            raise InvalidOption(f"names: {names!r} is text; give a list, names=[{names!r}]")
        wanted = None if names is None else frozenset(names)
        if self._shared.link is None:
            raise InvalidInput("events: not connected; use `async with QueueEvents(...)` or await open() first")
        self._place = place
        return _Reader(self, self._shared.link, self._keys, place, wanted)


class _Reader:
    """Iterates from a position on. Ends when its QueueEvents is closed."""

    def __init__(
        self, of: QueueEvents, link: Connection | RedisPyLink, keys: Keys, place: _Place, wanted: frozenset[str] | None
    ) -> None:
        self._of = of
        self._link = link
        self._keys = keys
        self._place = place
        self._wanted = wanted
        self._recheck = True  # whether entries may have been trimmed since the last read
        self._gaps: list[Event] = []
        self._entries: deque[tuple[_Place, Entry]] = deque()

    def __aiter__(self) -> _Reader:
        return self

    async def __anext__(self) -> Event:
        if self._of._reading:
            raise InvalidInput("events: another task reads them; make another QueueEvents for a second reader")
        self._of._reading = True
        try:
            while self._of._shared.link is self._link:
                if (event := self._next()) is not None:
                    return event
                try:
                    self._gaps, entries = await self._read()
                except (ServerBusy, ConnectFailed, OutcomeUnknown, LinkClosed) as error:
                    await self._pause(error)
                else:
                    self._recheck = False
                    self._entries.extend(entries)
            raise StopAsyncIteration
        finally:
            self._of._reading = False

    def _next(self) -> Event | None:
        """The next wanted event among those already read; None if there is none."""
        event: Event | None = None
        if self._gaps:
            event = self._gaps.pop()
        while event is None and self._entries:
            self._place, (id, fields) = self._entries.popleft()
            if self._wanted is None or event_name(fields) in self._wanted:
                event = read_event(id, fields)
        self._of._place = self._place
        return event

    async def _pause(self, error: Exception) -> None:
        self._recheck = True
        if self._of._shared.link is self._link:
            logger.warning("Events of %s cannot be read: %s (trying again)", self._keys.queue, error)
            await asyncio.sleep(_PAUSE)

    async def _read(self) -> _Page:
        """The next entries, once there are some or `_BLOCK` seconds have passed."""
        link, key = self._link, self._keys.events
        if self._recheck or self._place.number is None:
            page = self._find_gap(await read_events(link, self._keys, after=self._place.id, count=_PER_CALL))
            if page[0] or page[1]:
                return page
        block = round(_BLOCK * 1000)
        reply = await link.call_blocking(
            "XREAD", "COUNT", _PER_CALL, "BLOCK", block, "STREAMS", key, self._place.id, timeout=_BLOCK
        )
        if not reply:
            return [], []
        if self._place.number is not None and await link.call("XRANGE", key, self._place.id, self._place.id):
            # The stream is trimmed from its old end: while the last read entry is there, no later one was trimmed.
            return [], _numbered([(id.decode(), fields) for id, fields in reply[0][1]], self._place.number)
        return self._find_gap(await read_events(link, self._keys, after=self._place.id, count=_PER_CALL))

    def _find_gap(self, found: EventPage) -> _Page:
        """Find unread entries that were trimmed, by counting: a stream knows how many were ever added to it."""
        place, entries = self._place, found.entries
        passed = not found.there and (not found.left or _newer(found.oldest, place.id))
        if passed:
            # All entries that are left were added after this position.
            before: int | None = found.added - found.left
        elif len(entries) < _PER_CALL:
            before = found.added - len(entries)
        else:
            before = place.number
        gaps: list[Event] = []
        if place.number is not None and found.added < place.number:
            # The stream was deleted and started again: nothing in it was read.
            self._place = _Place("0-0", found.added - found.left)
            return [Gap(id=found.oldest)], []
        if passed and _lost(place, found):
            missed = None if place.number is None else found.added - found.left - place.number
            gaps.append(Gap(id=entries[0][0] if entries else found.newest, missed=missed))
        if gaps or not entries:
            self._place = _Place(found.newest if gaps and not entries else place.id, before)
        return gaps, _numbered(entries, before)


def _lost(place: _Place, found: EventPage) -> bool:
    """Whether entries after a trimmed position are trimmed too, or may be."""
    gone = found.added - found.left
    if place.number is not None:
        return gone > place.number
    return gone > 0 and place.id != "0-0" and _newer(found.newest, place.id)


def _numbered(entries: list[Entry], before: int | None) -> list[tuple[_Place, Entry]]:
    """Each entry with the position after it. `before`: how many entries were added before the first."""
    return [
        (_Place(entry[0], None if before is None else before + number), entry)
        for number, entry in enumerate(entries, 1)
    ]


def _newer(id: str, than: str) -> bool:
    return id_parts(id) > id_parts(than)


def _parse(after: str) -> _Place:
    found = _PLACE.fullmatch(after) if isinstance(after, str) else None
    if found is None:
        raise InvalidOption(
            f'after: {after!r} is not a position; give "$" for new events, "0" for all, the id of an event,'
            f" or the `place` of a QueueEvents"
        )
    id = found[1] if "-" in found[1] else f"{found[1]}-0"
    if max(id_parts(id)) >= 2**64:
        raise InvalidOption(f"after: {after!r} is larger than any stream id; give the id of an event, or a `place`")
    return _Place(id, None if found[2] is None else int(found[2]))
