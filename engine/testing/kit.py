"""A queue for tests: a real server, real scripts and real workers, with a clock that can be moved."""

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
"""After so long a worker of a kit notices that its clock was moved."""
_LOOK_EVERY = 0.005
_MOST_JUMPS = 1_000


class Failure(Struct, frozen=True):
    """A job that failed for good, and what its processor raised in the last attempt."""

    job: Job[Any, Any]
    error: BaseException


class Run(Struct, frozen=True):
    """What `run_until_drained` did, in the order in which jobs ended."""

    completed: list[Job[Any, Any]]
    """Each with its `return_value`, in plain JSON values as `queue.get_job` has it."""
    failed: list[Failure]
    attempts: int
    """Runs in all, those included that failed and were tried again."""


class ClockedWorker(Worker):
    """A Worker whose scripts are told the time of a kit's clock."""

    clock: Clock

    async def _open(
        self, stack: AsyncExitStack, name: str, prelude: Sequence[tuple[str, ...]] = ()
    ) -> Connection | RedisPyLink:
        return cast(Connection, ClockedLink(await super()._open(stack, name, prelude), self.clock))


class TestQueue:
    """A queue for the length of an `async with` block; `queue` is the Queue to hand to the code under test.

    name, prefix: of the queue. redis: a server that is there already, such as `corral_server.url`; None starts one, which
    takes some 50 ms and ends with the block. clock: that of another TestQueue, for code that uses several queues.
    """

    __test__ = False  # pytest takes the name for that of a test

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
        """The queue. Raises InvalidInput outside of the block."""
        return self._opened

    @property
    def _opened(self) -> KitQueue:
        if self._queue is None:
            raise InvalidInput("TestQueue: not open; use `async with TestQueue(...) as kit`")
        return self._queue

    @property
    def redis(self) -> str | RedisSettings:
        """Where the server is, for code that connects by itself; its time is then the real one."""
        if self._redis is None:
            raise InvalidInput("TestQueue: not open; use `async with TestQueue(...) as kit`")
        return self._redis

    def worker(self, *processors: Any, **options: Any) -> Worker:
        """A Worker of this queue on this clock, to be run by the test itself; `options` as for Worker.

        It runs one job at a time unless `concurrency` says otherwise.
        """
        defaults = {"concurrency": 1, "drain_delay": _NOTICED_MS}
        worker = ClockedWorker(self.name, *processors, redis=self.redis, prefix=self.prefix, **defaults | options)
        worker.clock = self.clock
        return worker

    @contextmanager
    def inline(self, *processors: Any) -> Iterator[Queue]:
        """For the length of a `with` block, `queue.add` runs the job at once, in the task that adds it.

        It returns when the job is done, with its `return_value`; what the processor raised is raised, and the job has
        failed, whatever attempts it had left. Delays and priorities are not waited for.
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
        """Run a real Worker until no job waits and none is run, and say what came of them.

        processors, options: as for `worker`. Jobs that are due by the clock are run, those added by processors too.
        delayed: move the clock to each later due time as well, until nothing is delayed: all retries are seen through.
        Raises ExceptionGroup with the errors of jobs that failed for good, unless `failures_ok`; AssertionError if not
        all is done within `timeout` (ms or timedelta); WrongState for a paused queue with jobs in it.
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
            # At one moment, lest a job on its way between two structures is seen in neither.
            looks = [
                ("LLEN", keys.wait),
                ("LLEN", keys.paused),
                ("ZCARD", keys.prioritized),
                ("LLEN", keys.active),
                ("ZRANGE", keys.delayed, 0, 0, "WITHSCORES"),
            ]
            *_, seen = await queue.link.call_many([("MULTI",), *looks, ("EXEC",)])
            *in_line, active, first = seen
            waiting, due = sum(in_line), int(float(first[1])) // 4096 if first else None
            if waiting and not active and await queue.is_paused():
                raise WrongState(f"queue {self.name!r} is paused with {waiting} jobs in line; resume it first")
            if not waiting + active and (due is None or due > self.clock.ms):
                if due is None or not delayed:
                    return
                if (jumps := jumps + 1) > _MOST_JUMPS:
                    raise AssertionError(
                        f"{self.name!r} still has delayed jobs after {_MOST_JUMPS:,} of them: a schedule or an endless"
                        " retry? Leave `delayed` out and use clock.advance()"
                    )
                self.clock.move_to(clocks.from_ms(due))
                await queue.link.call("ZADD", keys.marker, 0, wire.MARKER_BASE)
            await asyncio.sleep(_LOOK_EVERY)

    async def _over(self, ids: list[str]) -> set[str]:
        """Those of the jobs that will not be run again."""
        states = await get_state(self.queue.link, self.queue.keys, ids) if ids else []
        return {id for id, word in zip(ids, states, strict=True) if word in ("failed", "unknown")}


def _noted(failure: Failure) -> Exception:
    error = failure.error
    if not isinstance(error, Exception):
        error = JobFailed(failure.job.id, repr(error))
    error.add_note(f"in {failure.job.name} job {failure.job.id}: {failure.job.data!r}")
    return error
