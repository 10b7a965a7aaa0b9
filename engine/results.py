"""Result waiter: waits for jobs to finish, by reading the event stream and by polling now and then.

The stream alone is not enough: it is trimmed, and a lost connection can miss entries. Polling alone is slow.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

from engine.connection import Connection, Link, RedisPyLink
from engine.errors import JobNotFound, LinkError, failure
from engine.model import codec
from engine.model.clock import duration_ms
from engine.model.keys import Keys
from engine.scripts.get_results import EndOfJob, get_results

POLL_EVERY = 1.0
"""Seconds between two polls while no event arrives."""
_LOOK_BACK = 10_000
"""Entries of the stream that are searched for the end of a removed job."""

Listen = Callable[[], Awaitable[Connection | RedisPyLink]]


class ResultWaiter:
    """Waits for jobs of one queue to finish, any number at once, over a second connection.

    `listen` opens that connection; without it the queue is polled every second.
    """

    def __init__(self, link: Link, keys: Keys, listen: Listen | None = None) -> None:
        self._link = link
        self._keys = keys
        self._listen = listen
        self._waiting: dict[str, list[asyncio.Future[EndOfJob]]] = {}
        self._wanted = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._to_poll: list[str] = []
        self._polls: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<ResultWaiter of {self._keys.queue}: {len(self._waiting)} jobs awaited>"

    async def wait(self, job_id: str, timeout: int | timedelta | None, kind: Any = Any) -> Any:
        """The job's result, decoded as `kind`. Raises JobFailed, JobNotFound, or TimeoutError after `timeout` (ms or timedelta)."""
        ms = None if timeout is None else duration_ms("timeout", timeout)
        try:
            async with asyncio.timeout(None if ms is None else ms / 1000):
                found = await self._end_of(job_id)
        except TimeoutError:
            raise TimeoutError(f"job {job_id!r} of {self._keys.queue} did not finish within {ms:,} ms") from None
        match found.end:
            case "completed":
                return codec.decode("result", found.value, kind)
            case "failed":
                raise failure(job_id, found.reason)
        raise JobNotFound(job_id, self._keys.queue)

    async def close(self) -> None:
        """Stop listening; calls of `wait` that have no result yet are cancelled."""
        tasks = [*self._polls, *([self._reader] if self._reader else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for futures in self._waiting.values():
            for future in futures:
                future.cancel()

    async def _end_of(self, job_id: str) -> EndOfJob:
        future: asyncio.Future[EndOfJob] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, []).append(future)
        self._wanted.set()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        if not self._to_poll:
            asyncio.get_running_loop().call_soon(self._poll_new)
        self._to_poll.append(job_id)
        try:
            return await future
        finally:
            waiting = self._waiting[job_id]
            waiting.remove(future)
            if not waiting:
                del self._waiting[job_id]
            if not self._waiting:
                self._wanted.clear()

    def _poll_new(self) -> None:
        """Poll the jobs that this tick of the loop began to wait for: they may have finished long ago."""
        job_ids, self._to_poll = self._to_poll, []
        poll = asyncio.create_task(self._poll(job_ids))
        self._polls.add(poll)
        poll.add_done_callback(self._polls.discard)

    async def _read(self) -> None:
        """Listen while any call waits. A lost connection delays results until the next poll; it loses none."""
        link: Connection | RedisPyLink | None = None
        try:
            while True:
                await self._wanted.wait()
                try:
                    if self._listen is None:
                        await self._pause()
                        await self._poll(list(self._waiting))
                        continue
                    link = link or await self._listen()
                    await self._read_stream(link)
                except LinkError:
                    await self._pause()
        finally:
            if link is not None:
                await link.close()

    async def _read_stream(self, link: Connection | RedisPyLink) -> None:
        newest = await link.call("XREVRANGE", self._keys.events, "+", "-", "COUNT", 1)
        last = newest[0][0] if newest else b"0-0"
        # Polled after the position in the stream is known: what happens from here on is found by the poll or read.
        await self._poll(list(self._waiting))
        polled = asyncio.get_running_loop().time()
        while self._waiting:
            wait = round(POLL_EVERY * 1000)
            reply = await link.call_blocking(
                "XREAD", "COUNT", 1000, "BLOCK", wait, "STREAMS", self._keys.events, last, timeout=POLL_EVERY
            )
            entries = reply[0][1] if reply else []
            for last, fields in entries:  # noqa: B007 - reading continues after the last id
                self._on_event(fields)
            now = asyncio.get_running_loop().time()
            if not entries or now - polled > 5 * POLL_EVERY:
                await self._poll(list(self._waiting))
                polled = now

    async def _pause(self) -> None:
        await asyncio.sleep(POLL_EVERY)

    async def _poll(self, job_ids: list[str]) -> None:
        for start in range(0, len(job_ids), 1000):
            some = job_ids[start : start + 1000]
            with contextlib.suppress(LinkError):
                for job_id, found in zip(some, await get_results(self._link, self._keys, some), strict=True):
                    if found.end == "missing":
                        found = await self._look_back(job_id) or found
                    if found.end != "pending":
                        self._resolve(job_id, found)

    async def _look_back(self, job_id: str) -> EndOfJob | None:
        """How a job ended that is not stored any more, from the event stream."""
        end: Any = "+"
        for _ in range(_LOOK_BACK // 1000):
            entries = await self._link.call("XREVRANGE", self._keys.events, end, "-", "COUNT", 1000)
            for _, fields in entries:
                event = _fields(fields)
                if event.get(b"jobId") == job_id.encode() and (found := _ending(event)):
                    return found
            if len(entries) < 1000:
                return None
            end = b"(" + entries[-1][0]
        return None

    def _on_event(self, fields: list[bytes]) -> None:
        event = _fields(fields)
        job_id = event.get(b"jobId", b"").decode(errors="replace")
        if job_id in self._waiting and (found := _ending(event)):
            self._resolve(job_id, found)

    def _resolve(self, job_id: str, found: EndOfJob) -> None:
        for future in self._waiting.get(job_id, ()):
            if not future.done():
                future.set_result(found)


def _fields(flat: Iterable[bytes]) -> dict[bytes, bytes]:
    items = iter(flat)
    return dict(zip(items, items, strict=False))


def _ending(event: dict[bytes, bytes]) -> EndOfJob | None:
    """The result in an event that ends a job; None for other events."""
    match event.get(b"event"):
        case b"completed":
            return EndOfJob("completed", event.get(b"returnvalue", b"null"))
        case b"failed":
            return EndOfJob("failed", reason=event.get(b"failedReason", b"").decode(errors="replace"))
        case b"removed" if event.get(b"prev") not in (b"completed", b"failed"):
            return EndOfJob("missing")
    return None
