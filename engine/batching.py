"""Add batcher: concurrent `queue.add` calls leave together in one call, of add.lua or, if all are plain, its fast form.

Knows neither options nor Job objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from engine.connection import Link, ProducerLink, Reply
from engine.model.codec import DEFAULT_MAX_PAYLOAD
from engine.model.keys import Keys
from engine.model.records import NewRow
from engine.scripting.pace import PER_CALL
from engine.scripting.rows import Added
from engine.scripts.add import add, post_add, read_added
from engine.scripts.add_plain import add_plain, is_plain, post_add_plain, read_added_plain

_CALLS_IN_FLIGHT = 2
"""With this many calls in flight, jobs are collected until a reply arrives or `_PATIENCE` has passed."""
_MOST_IN_FLIGHT = 16
_PATIENCE = 0.002
"""Seconds that jobs are collected while calls are in flight, before another call is sent anyway: on a connection with a long
round trip the network and not the server takes the time."""
_CALL_BYTES = 1024 * 1024
"""Payload bytes of one call. Larger batches are split, so that no call blocks the server for long."""
_DEDUPLICATION_BYTES = 16 * 1024
"""What a deduplication counts as in `_CALL_BYTES`: the server takes four times as long for such a job."""
_EARLY = 32
"""With this many jobs a call is sent before the event-loop tick ends, so that the server works while more are prepared."""


class ExistingJob(Struct, frozen=True):
    """The result of an add that made no job: `id` is the job that was there already."""

    id: str


def batches(rows: Sequence[NewRow]) -> Iterator[Sequence[NewRow]]:
    """The rows in batches that fit one call."""
    first = size = 0
    for n, row in enumerate(rows):
        if n > first and (n - first == PER_CALL or size + len(row.data) > _CALL_BYTES):
            yield rows[first:n]
            first, size = n, 0
        size += _size(row)
    if first < len(rows):
        yield rows[first:]


def _size(row: NewRow) -> int:
    return len(row.data) if row.deduplication is None else len(row.data) + _DEDUPLICATION_BYTES


async def add_rows(link: Link, keys: Keys, rows: Sequence[NewRow], *, cap: int = DEFAULT_MAX_PAYLOAD) -> Added:
    """Add at most 1,000 jobs, all or none, by the script that fits them. Raises PayloadTooLarge."""
    script = add_plain if all(map(is_plain, rows)) else add
    return await script(link, keys, rows, cap=cap)


class AddBatcher:
    """Sends jobs in batches: those of one event-loop tick in one call, with two calls in flight, or more if replies take long.

    After a call with one job the next job leaves at once and not at the end of the tick: a program that adds one job after
    the other has nothing to gather.
    """

    def __init__(self, keys: Keys, cap: int) -> None:
        self._keys = keys
        self.cap = cap
        self._link: Link | None = None
        self._loop: asyncio.AbstractEventLoop
        self._rows: list[NewRow] = []
        self._futures: list[asyncio.Future[str | ExistingJob]] = []
        self._bytes = 0
        self._alone = False  # the last call had one job
        self._flush_due = False
        self._in_flight = 0
        self._timer: asyncio.TimerHandle | None = None
        self._quiet: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<AddBatcher {len(self._rows)} pending, {self._in_flight} calls in flight>"

    def put(self, link: Link, row: NewRow) -> asyncio.Future[str | ExistingJob]:
        """Send the row with the next call. The future has the job's id, or an ExistingJob, once the server has replied."""
        if link is not self._link:
            self._link = link
            # Kept: get_running_loop() makes a system call each time.
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[str | ExistingJob] = self._loop.create_future()
        self._rows.append(row)
        self._futures.append(future)
        self._bytes += _size(row)
        if self._in_flight >= _CALLS_IN_FLIGHT:
            self._flush_late()
        elif len(self._rows) >= _EARLY or (self._alone and not self._in_flight):
            self._send()
        else:
            self._flush_soon()
        return future

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush_late(self) -> None:
        if not self._flush_due and self._timer is None and not self._full():
            self._timer = self._loop.call_later(_PATIENCE, self._expired)

    def _full(self) -> bool:
        """Whether no further call may be sent. False while the server takes no calls: the link then holds each call for the
        time that `wait` allows, and a job that waited here first would wait twice.
        """
        if self._in_flight < _MOST_IN_FLIGHT:
            return False
        link: object = self._link
        return not isinstance(link, ProducerLink) or link.call_wait is None or link.serving

    def _flush(self) -> None:
        self._flush_due = False
        self._send()

    def _expired(self) -> None:
        self._timer = None
        self._send()

    async def close(self) -> None:
        """Wait until every job was sent and its reply has arrived."""
        if self._rows or self._in_flight:
            if self._quiet is None:
                self._quiet = self._loop.create_future()
            # Two may close at once, and one of them may be cancelled.
            await asyncio.shield(self._quiet)

    def _send(self) -> None:
        """Send the pending jobs as one call, as many as it may have."""
        if not self._rows or self._link is None or self._full():
            return
        rows, futures = self._rows, self._futures
        if len(rows) <= PER_CALL and self._bytes <= _CALL_BYTES:
            self._rows, self._futures, self._bytes = [], [], 0
        else:
            sent = len(next(batches(rows)))
            self._rows, self._futures = rows[sent:], futures[sent:]
            rows, futures = rows[:sent], futures[:sent]
            self._bytes -= sum(map(_size, rows))
        self._alone = len(rows) == 1
        self._in_flight += 1
        are_plain = all(map(is_plain, rows))
        batch = _Batch(self, rows, futures, read_added_plain if are_plain else read_added)
        post = post_add_plain if are_plain else post_add
        post(self._link, self._keys, rows, batch, cap=self.cap)
        if self._rows:
            if self._in_flight < _CALLS_IN_FLIGHT:
                self._flush_soon()
            else:
                self._flush_late()

    def replied(self) -> None:
        """Called first when the reply to a call has arrived, or its connection is lost: the next call leaves before callers wake."""
        self._in_flight -= 1
        if self._rows:
            # Not at once: the link is in the middle of reading replies, or of handling a lost connection.
            self._flush_soon()

    def settled(self) -> None:
        """Called when all callers of a call have their result."""
        if not self._in_flight and not self._rows and self._quiet is not None:
            self._quiet.set_result(None)
            self._quiet = None


class _Batch:
    """The rows of one call, with the future of each job's id."""

    __slots__ = ("_batcher", "_futures", "_read", "_rows")

    def __init__(
        self,
        batcher: AddBatcher,
        rows: Sequence[NewRow],
        futures: list[asyncio.Future[str | ExistingJob]],
        read: Callable[[Reply, Sequence[NewRow], int], Added],
    ) -> None:
        self._batcher = batcher
        self._rows = rows
        self._futures = futures
        self._read = read

    def done(self) -> bool:
        # A cancelled add does not take its job back.
        return False

    def set_result(self, reply: Reply) -> None:
        try:
            added = self._read(reply, self._rows, self._batcher.cap)
        except Exception as error:
            self.set_exception(error)
            return
        ids: Sequence[str | ExistingJob] = added.ids
        if added.known:
            ids = [ExistingJob(id) if number in added.known else id for number, id in enumerate(added.ids)]
        self._batcher.replied()
        for future, job_id in zip(self._futures, ids, strict=True):
            if not future.done():
                future.set_result(job_id)
        self._batcher.settled()

    def set_exception(self, error: Exception) -> None:
        self._batcher.replied()
        for future in self._futures:
            if not future.done():
                future.set_exception(error)
        self._batcher.settled()
