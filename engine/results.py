"""Who waits for a job to finish, and how they hear of it: from the event stream, and by asking now and then.

The stream alone is not enough: it is trimmed, and a connection can miss entries. Asking alone is slow.
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
from engine.scripts.get_results import Answer, get_results

ASK_EVERY = 1.0
"""Seconds between two questions while the stream is silent."""
_LOOK_BACK = 10_000
"""Entries of the stream searched for a job that is gone."""

Listen = Callable[[], Awaitable[Connection | RedisPyLink]]


class ResultWaiter:
    """Waits for finished jobs of one queue, any number at once, over one more connection than the queue's own.

    `listen` opens that connection; without it the queue is asked every second instead.
    """

    def __init__(self, link: Link, keys: Keys, listen: Listen | None = None) -> None:
        self._link = link
        self._keys = keys
        self._listen = listen
        self._waiting: dict[str, list[asyncio.Future[Answer]]] = {}
        self._wanted = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._to_ask: list[str] = []
        self._questions: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<ResultWaiter of {self._keys.queue}: {len(self._waiting)} jobs awaited>"

    async def wait(self, job_id: str, timeout: int | timedelta | None, kind: Any = Any) -> Any:
        """The job's result, as `kind`. Raises JobFailed, JobNotFound, or TimeoutError after `timeout` (ms or timedelta)."""
        ms = None if timeout is None else duration_ms("timeout", timeout)
        try:
            async with asyncio.timeout(None if ms is None else ms / 1000):
                found = await self._answer(job_id)
        except TimeoutError:
            raise TimeoutError(f"job {job_id!r} of {self._keys.queue} did not finish within {ms:,} ms") from None
        match found.end:
            case "completed":
                return codec.decode("result", found.value, kind)
            case "failed":
                raise failure(job_id, found.reason)
        raise JobNotFound(job_id, self._keys.queue)

    async def close(self) -> None:
        """Stop listening; those who still wait are cancelled."""
        tasks = [*self._questions, *([self._reader] if self._reader else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for futures in self._waiting.values():
            for future in futures:
                future.cancel()

    async def _answer(self, job_id: str) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, []).append(future)
        self._wanted.set()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        if not self._to_ask:
            asyncio.get_running_loop().call_soon(self._ask_new)
        self._to_ask.append(job_id)
        try:
            return await future
        finally:
            waiting = self._waiting[job_id]
            waiting.remove(future)
            if not waiting:
                del self._waiting[job_id]
            if not self._waiting:
                self._wanted.clear()

    def _ask_new(self) -> None:
        """Ask about the jobs that this tick began to wait for: they may have ended long ago."""
        job_ids, self._to_ask = self._to_ask, []
        question = asyncio.create_task(self._ask(job_ids))
        self._questions.add(question)
        question.add_done_callback(self._questions.discard)

    async def _read(self) -> None:
        """Listen while somebody waits. A lost connection costs the wait until the next question, no answer."""
        link: Connection | RedisPyLink | None = None
        try:
            while True:
                await self._wanted.wait()
                try:
                    if self._listen is None:
                        await self._pause()
                        await self._ask(list(self._waiting))
                        continue
                    link = link or await self._listen()
                    await self._follow(link)
                except LinkError:
                    await self._pause()
        finally:
            if link is not None:
                await link.close()

    async def _follow(self, link: Connection | RedisPyLink) -> None:
        newest = await link.call("XREVRANGE", self._keys.events, "+", "-", "COUNT", 1)
        last = newest[0][0] if newest else b"0-0"
        # Asked after the place in the stream is known: what happens from here on is either answered or read.
        await self._ask(list(self._waiting))
        asked = asyncio.get_running_loop().time()
        while self._waiting:
            wait = round(ASK_EVERY * 1000)
            reply = await link.call_blocking(
                "XREAD", "COUNT", 1000, "BLOCK", wait, "STREAMS", self._keys.events, last, timeout=ASK_EVERY
            )
            entries = reply[0][1] if reply else []
            for last, fields in entries:  # noqa: B007 - the last id is where reading goes on
                self._hear(fields)
            now = asyncio.get_running_loop().time()
            if not entries or now - asked > 5 * ASK_EVERY:
                await self._ask(list(self._waiting))
                asked = now

    async def _pause(self) -> None:
        await asyncio.sleep(ASK_EVERY)

    async def _ask(self, job_ids: list[str]) -> None:
        for start in range(0, len(job_ids), 1000):
            some = job_ids[start : start + 1000]
            with contextlib.suppress(LinkError):
                for job_id, found in zip(some, await get_results(self._link, self._keys, some), strict=True):
                    if found.end == "missing":
                        found = await self._look_back(job_id) or found
                    if found.end != "pending":
                        self._resolve(job_id, found)

    async def _look_back(self, job_id: str) -> Answer | None:
        """What the stream says of a job that is gone, such as one that kept no result."""
        end: Any = "+"
        for _ in range(_LOOK_BACK // 1000):
            entries = await self._link.call("XREVRANGE", self._keys.events, end, "-", "COUNT", 1000)
            for _, fields in entries:
                event = _fields(fields)
                if event.get(b"jobId") == job_id.encode() and (found := _heard(event)):
                    return found
            if len(entries) < 1000:
                return None
            end = b"(" + entries[-1][0]
        return None

    def _hear(self, fields: list[bytes]) -> None:
        event = _fields(fields)
        job_id = event.get(b"jobId", b"").decode(errors="replace")
        if job_id in self._waiting and (found := _heard(event)):
            self._resolve(job_id, found)

    def _resolve(self, job_id: str, found: Answer) -> None:
        for future in self._waiting.get(job_id, ()):
            if not future.done():
                future.set_result(found)


def _fields(flat: Iterable[bytes]) -> dict[bytes, bytes]:
    items = iter(flat)
    return dict(zip(items, items, strict=False))


def _heard(event: dict[bytes, bytes]) -> Answer | None:
    """The answer that an event gives, if it ends a job."""
    match event.get(b"event"):
        case b"completed":
            return Answer("completed", event.get(b"returnvalue", b"null"))
        case b"failed":
            return Answer("failed", reason=event.get(b"failedReason", b"").decode(errors="replace"))
        case b"removed" if event.get(b"prev") not in (b"completed", b"failed"):
            return Answer("missing")
    return None
