"""Gathers jobs that are added one by one into calls of add.lua. Knows links and scripts; knows neither options nor handles."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from msgspec import Struct

from engine.connection import Link, ProducerLink, Reply
from engine.model.keys import Keys
from engine.model.records import NewRow
from engine.scripting.pace import PER_CALL
from engine.scripts.add import post_add, read_added

_CALLS_UNDER_WAY = 2
"""With so many under way, jobs gather until one is answered or patience ends."""
_MOST_UNDER_WAY = 16
_PATIENCE = 0.002
"""Seconds that jobs wait for a reply to calls under way, so as to gather, before another call goes: over a far line it is the
way and not the server that takes the time."""
_CALL_BYTES = 1024 * 1024
"""Payload bytes that one call carries; larger lots are cut, so that no call holds the server for long."""
_DEDUPLICATION_BYTES = 16 * 1024
"""What a deduplication counts for in these, since the server works four times as long on such a job."""
_IN_A_TICK = 32
"""Jobs that a call waits for while it could leave: with so many in hand it goes, and the server works on it meanwhile."""


class Known(Struct, frozen=True):
    """No job was made: the one of this id is there already and stands for the new one."""

    id: str


def lots(rows: Sequence[NewRow]) -> Iterator[Sequence[NewRow]]:
    """The rows in lots that one call may carry."""
    first = size = 0
    for n, row in enumerate(rows):
        if n > first and (n - first == PER_CALL or size + len(row.data) > _CALL_BYTES):
            yield rows[first:n]
            first, size = n, 0
        size += len(row.data) if row.deduplication is None else len(row.data) + _DEDUPLICATION_BYTES
    if first < len(rows):
        yield rows[first:]


class AddBatcher:
    """Sends the jobs that are put into it: those of one tick of the loop in one call, two calls at once, or more where replies
    are long in coming."""

    def __init__(self, keys: Keys, cap: int) -> None:
        self._keys = keys
        self.cap = cap
        self._link: Link | None = None
        self._rows: list[NewRow] = []
        self._futures: list[asyncio.Future[str | Known]] = []
        self._flush_due = False
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None
        self._quiet: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<AddBatcher {len(self._rows)} pending, {self._under_way} calls under way>"

    @property
    def crowded(self) -> bool:
        """A call leaves at the end of this tick and has enough: prepare no more before the next tick."""
        return self._flush_due and len(self._rows) >= _IN_A_TICK

    def put(self, link: Link, row: NewRow) -> asyncio.Future[str | Known]:
        """Send the row with the next call; the future has the job's id once the server has it, or whose job is there."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str | Known] = loop.create_future()
        self._link = link
        self._rows.append(row)
        self._futures.append(future)
        if self._under_way >= _CALLS_UNDER_WAY:
            self._flush_late()
        else:
            self._flush_soon()
        return future

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush_late(self) -> None:
        if self._timer is None and not self._full():
            self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._waited)

    def _full(self) -> bool:
        """Whether no further call may leave. While the server takes none, calls wait in the link, each for its own time: jobs
        that waited here first would wait twice.
        """
        if self._under_way < _MOST_UNDER_WAY:
            return False
        link: object = self._link
        return not isinstance(link, ProducerLink) or link.call_wait is None or link.serving

    def _waited(self) -> None:
        self._timer = None
        self._flush()
        if self._rows:
            self._flush_late()

    async def close(self) -> None:
        """Wait until everything was sent and answered."""
        if self._rows or self._under_way:
            if self._quiet is None:
                self._quiet = asyncio.get_running_loop().create_future()
            # Two may close at once, and one of them may be cancelled.
            await asyncio.shield(self._quiet)

    def _flush(self) -> None:
        """Send what is pending, as one call."""
        self._flush_due = False
        if not self._rows or self._link is None or self._full():
            return
        rows = next(lots(self._rows))
        lot = _Lot(self, rows, self._futures[: len(rows)])
        del self._rows[: len(rows)], self._futures[: len(rows)]
        self._under_way += 1
        post_add(self._link, self._keys, rows, lot, cap=self.cap)
        if self._rows and self._under_way < _CALLS_UNDER_WAY:
            self._flush_soon()

    def ended(self) -> None:
        """A call was answered."""
        self._under_way -= 1
        if self._rows:
            # Not at once: this is told in the middle of reading replies, or of losing the line.
            self._flush_soon()
        elif not self._under_way and self._quiet is not None:
            self._quiet.set_result(None)
            self._quiet = None


class _Lot:
    """The rows of one call, and who waits for the id of each."""

    __slots__ = ("_adder", "_futures", "_rows")

    def __init__(self, adder: AddBatcher, rows: Sequence[NewRow], futures: list[asyncio.Future[str | Known]]) -> None:
        self._adder = adder
        self._rows = rows
        self._futures = futures

    def done(self) -> bool:
        # Those who were cancelled did not take their job back.
        return False

    def set_result(self, reply: Reply) -> None:
        try:
            added = read_added(reply, self._rows, self._adder.cap)
            ids: Sequence[str | Known] = added.ids
            if added.known:
                ids = [Known(id) if number in added.known else id for number, id in enumerate(added.ids)]
        except Exception as error:
            self.set_exception(error)
            return
        for future, job_id in zip(self._futures, ids, strict=True):
            if not future.done():
                future.set_result(job_id)
        self._adder.ended()

    def set_exception(self, error: Exception) -> None:
        for future in self._futures:
            if not future.done():
                future.set_exception(error)
        self._adder.ended()
