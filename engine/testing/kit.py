"""TestQueue: a queue for tests on a real server, with real scripts and workers and a clock that can be moved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from typing import Any, cast

from msgspec import Struct

from engine.connection import Connection, RedisPyLink, RedisSettings, open_link
from engine.connection.embedded import EmbeddedServer
from engine.errors import InvalidInput, JobFailed, WrongState
from engine.job import Job, show_result
from engine.model import clock as clocks
from engine.model import wire
from engine.queue import Queue
from engine.scripts.get_state import get_state
from engine.testing.clock import Clock, ClockedLink
from engine.testing.inline import Inline, KitQueue
from engine.worker import Worker

_NOTICED_MS = 50
"""A worker of the kit notices within this time that the clock was moved."""
_POLL_EVERY = 0.005
_MOST_JUMPS = 1_000


class Failure(Struct, frozen=True):
    """A job that failed for good, and the exception of its last attempt."""

    job: Job[Any, Any]
    error: BaseException


class Run(Struct, frozen=True):
    """The result of `run_until_drained`: jobs in the order in which they finished."""

    completed: list[Job[Any, Any]]
    """Completed jobs, each with its `return_value` as plain JSON values, as from `queue.get_job`."""
    failed: list[Failure]
    attempts: int
    """Runs in all, failed attempts included."""


class ClockedWorker(Worker):
    """A Worker whose scripts get the time of a kit's clock."""

    clock: Clock

    async def _connect(self, name: str, prelude: Sequence[tuple[str, ...]]) -> Connection | RedisPyLink:
        return cast(Connection, ClockedLink(await super()._connect(name, prelude), self.clock))


class TestQueue:
    """A queue for one test: `async with TestQueue("sms-queue") as kit`. Pass `kit.queue` to the code under test.

    name, prefix: of the queue. redis: the address of a running server, such as `corral_server.url`; None starts a server,
    which takes about 50 ms and stops at the end of the block. clock: the clock of another TestQueue, for code that uses
    several queues.
    """

    __test__ = False  # pytest would collect a class of this name

    def __init__(
        self,
        name: str = "test-queue",
        *,
        redis: str | RedisSettings | None = None,
        prefix: str = wire.DEFAULT_PREFIX,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.prefix = prefix
        self.clock = clock or Clock()
        self._redis = redis
        self._stack = AsyncExitStack()
        self._queue: KitQueue | None = None

    def __repr__(self) -> str:
        return f"<TestQueue {self.name}: {'open' if self._queue else 'not open'}>"

    async def __aenter__(self) -> TestQueue:
        try:
            if self._redis is None:
                server = EmbeddedServer()
                await asyncio.to_thread(server.__enter__)
                self._stack.push_async_callback(asyncio.to_thread, server.__exit__, None, None, None)
                self._redis = server.unix_url
            link = await open_link(self._redis)
            self._stack.push_async_callback(link.close)
            queue = KitQueue(self.name, prefix=self.prefix, link=cast(Connection, ClockedLink(link, self.clock)))
            self._stack.push_async_callback(queue.close)
            await queue.open()
        except BaseException:
            await self._stack.aclose()
            raise
        self._queue = queue
        return self

    async def __aexit__(self, *_: object) -> None:
        self._queue = None
        await self._stack.aclose()

    @property
    def queue(self) -> Queue:
        """The open Queue. Raises InvalidInput outside of the `async with` block."""
        return self._opened

    @property
    def _opened(self) -> KitQueue:
        if self._queue is None:
            raise InvalidInput("TestQueue: not open; use `async with TestQueue(...) as kit`")
        return self._queue

    @property
    def redis(self) -> str | RedisSettings:
        """Address of the server, for code that connects by itself; such code has the real time."""
        if self._redis is None:
            raise InvalidInput("TestQueue: not open; use `async with TestQueue(...) as kit`")
        return self._redis

    def worker(self, *processors: Any, **options: Any) -> Worker:
        """A Worker of this queue with this clock, to be run by the test. options: as for Worker; the default concurrency is 1."""
        defaults = {"concurrency": 1, "drain_delay": _NOTICED_MS}
        worker = ClockedWorker(self.name, *processors, redis=self.redis, prefix=self.prefix, **defaults | options)
        worker.clock = self.clock
        return worker

    @contextmanager
    def inline(self, *processors: Any) -> Iterator[Queue]:
        """In a `with` block, `queue.add` runs the job at once, in the calling task, and returns it with its `return_value`.

        If the processor raises, the job fails for good, even if attempts are left, and `add` raises the same exception.
        Delays and priorities are ignored.
        """
        queue, before = self._opened, self._opened.inline
        queue.inline = Inline(queue.link, queue.keys, processors, self._stack)
        try:
            yield queue
        finally:
            queue.inline = before

    async def run_until_drained(
        self,
        *processors: Any,
        delayed: bool = False,
        failures_ok: bool = False,
        timeout: int | timedelta = 10_000,
        **options: Any,
    ) -> Run:
        """Run a real Worker until no job waits or runs; returns what ran.

        processors, options: as for `worker`. Runs jobs that are due by the clock, also those that processors add.
        delayed: also move the clock to each later due time, until no job is delayed, so that all retries run.
        Raises ExceptionGroup with the errors of jobs that failed for good, unless `failures_ok`; AssertionError if jobs are
        left after `timeout` (ms or timedelta); WrongState for a paused queue with waiting jobs.
        """
        limit_ms = clocks.duration_ms("timeout", timeout)
        worker = self.worker(*processors, **options)
        completed: list[Job[Any, Any]] = []
        errors: dict[str, Failure] = {}
        attempts = 0

        def done(job: Job[Any, Any], result: Any) -> None:
            nonlocal attempts
            attempts += 1
            show_result(job, result)
            completed.append(job)
            errors.pop(job.id, None)

        def failed(job: Job[Any, Any], error: BaseException | str) -> None:
            nonlocal attempts
            attempts += 1
            errors.pop(job.id, None)
            errors[job.id] = Failure(job, error if isinstance(error, BaseException) else JobFailed(job.id, error))

        worker.on("completed", done)
        worker.on("failed", failed)
        async with worker:
            try:
                async with asyncio.timeout(limit_ms / 1000):
                    await self._until_drained(delayed)
            except TimeoutError:
                running = ", ".join(f"{job.name} {job.id}" for job in worker.running_jobs()) or "none"
                counts = await self.queue.counts()
                await worker.close(timeout=0)
                raise AssertionError(
                    f"after {limit_ms:,} ms {self.name!r} is not drained: {counts}; running: {running}"
                ) from None
        over = await self._over(list(errors))
        run = Run(completed, [failure for id, failure in errors.items() if id in over], attempts)
        if run.failed and not failures_ok:
            raise ExceptionGroup(f"{len(run.failed)} of {self.name!r} failed for good", list(map(_noted, run.failed)))
        return run

    async def _until_drained(self, delayed: bool) -> None:
        queue, keys = self.queue, self.queue.keys
        jumps = 0
        while True:
            # In one transaction, so that a job that moves between two structures is not missed in both.
            reads = [
                ("LLEN", keys.wait),
                ("LLEN", keys.paused),
                ("ZCARD", keys.prioritized),
                ("LLEN", keys.active),
                ("ZRANGE", keys.delayed, 0, 0, "WITHSCORES"),
            ]
            *_, replies = await queue.link.call_many([("MULTI",), *reads, ("EXEC",)])
            *waiting_lists, active, first = replies
            waiting, due = sum(waiting_lists), int(float(first[1])) // 4096 if first else None
            if waiting and not active and await queue.is_paused():
                raise WrongState(f"queue {self.name!r} is paused with {waiting} waiting jobs; resume it first")
            if not waiting + active and (due is None or due > self.clock.ms):
                if due is None or not delayed:
                    return
                if (jumps := jumps + 1) > _MOST_JUMPS:
                    raise AssertionError(
                        f"{self.name!r} still has delayed jobs after {_MOST_JUMPS:,} due times: a schedule or an endless"
                        " retry? Leave delayed=True out and use clock.advance()"
                    )
                self.clock.move_to(clocks.from_ms(due))
                await queue.link.call("ZADD", keys.marker, 0, wire.MARKER_BASE)
            await asyncio.sleep(_POLL_EVERY)

    async def _over(self, ids: list[str]) -> set[str]:
        """The ids of the jobs that will not run again."""
        states = await get_state(self.queue.link, self.queue.keys, ids) if ids else []
        return {id for id, word in zip(ids, states, strict=True) if word in ("failed", "unknown")}


def _noted(failure: Failure) -> Exception:
    error = failure.error
    if not isinstance(error, Exception):
        error = JobFailed(failure.job.id, repr(error))
    error.add_note(f"in {failure.job.name} job {failure.job.id}: {failure.job.data!r}")
    return error
