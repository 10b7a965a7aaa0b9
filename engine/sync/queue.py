"""SyncQueue: a queue for code without an event loop, such as Flask and Django views, scripts and notebooks."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from datetime import timedelta
from functools import cached_property, partial
from typing import Any, TypeVar, Unpack, overload

from msgspec import UNSET

from engine.connection import DEFAULT_WAIT, RedisSettings
from engine.errors import QueueClosed
from engine.flows import FlowProducer
from engine.metrics import CountsPerType, Finished, Metrics, OldestWaiting
from engine.middleware import AroundAdd
from engine.model import codec, wire
from engine.model.limits import RateLimit
from engine.model.options import AddOptions
from engine.model.records import Counts, D, NewJob, R, Target
from engine.queue import Events, Queue, State
from engine.queue_events import QueueEvents
from engine.scripts.cancel import Cancellation
from engine.sync.views import SyncDeadLetters, SyncEvents, SyncFlows, SyncJob, SyncSchedules

T = TypeVar("T")


class SyncQueue:
    """A Queue whose methods block: for Flask, Django, scripts and notebooks. Same names, arguments and errors as Queue.

        with SyncQueue("sms-queue") as queue:
            job = queue.add("sms", {...})
            print(job.result(timeout=30_000))
            queue.schedules.upsert("daily", "sms", {...}, cron="0 9 * * *")
            queue.dead_letters.replay(error="ConnectionError")
            with queue.events(names=["failed"]) as events:
                for event in events: ...

    Arguments are those of Queue, without `link`: a SyncQueue has connections of its own.
    `schedules` and `dead_letters` have the methods of the Queue's, `flows` those of FlowProducer.
    Can be used from several threads. After a fork the child process opens a new connection.
    """

    def __init__(
        self,
        name: str,
        *,
        redis: str | RedisSettings | None = None,
        prefix: str = wire.DEFAULT_PREFIX,
        max_payload: int = codec.DEFAULT_MAX_PAYLOAD,
        events: Events | None = None,
        max_events: int | None = None,
        wait: int | timedelta = DEFAULT_WAIT,
        middleware: Sequence[AroundAdd] | None = None,
    ) -> None:
        self.name = name
        self._make = partial(
            Queue,
            name,
            redis=redis,
            prefix=prefix,
            max_payload=max_payload,
            events=events,
            max_events=max_events,
            wait=wait,
            middleware=middleware,
        )
        self._make()  # so that a wrong argument is refused here and not at the first call
        self._guard = threading.Lock()
        self._closed = False
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop
        self._queue: Queue
        self._flows: FlowProducer

    def __repr__(self) -> str:
        return f"<SyncQueue {self.name}: {'open' if self._pid == os.getpid() else 'not connected'}>"

    def __enter__(self) -> SyncQueue:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> SyncQueue:
        """Connect; also reopens after `close`. Raises ConnectFailed or AuthFailed; the message says what to do."""
        self._closed = False
        self._call(lambda queue: queue.open())
        return self

    def close(self) -> None:
        """Send the jobs added so far, close the connection and end the thread. Later calls raise QueueClosed."""
        with self._guard:
            self._closed = True
            if self._pid != os.getpid():
                return
            self._run(self._flows.close())
            self._run(self._queue.close())
            self._pid = 0
            self._loop.call_soon_threadsafe(self._loop.stop)

    @cached_property
    def dead_letters(self) -> SyncDeadLetters:
        """Dead letters: jobs that failed for good. List, count, group, replay and purge them."""
        return SyncDeadLetters(self._call)

    @cached_property
    def schedules(self) -> SyncSchedules:
        """Schedules: jobs that are added at the times of a cron pattern, or at intervals."""
        return SyncSchedules(self._call, self._run)

    @cached_property
    def flows(self) -> SyncFlows:
        """Flows: trees of jobs across queues with this prefix. All calls share one more connection."""
        return SyncFlows(self._call_flows, self._run)

    def events(self, after: str = "$", *, names: Iterable[str] | None = None) -> SyncEvents:
        """Iterate over the queue's events after a position, as with `QueueEvents.events`. Close it, or use it in a `with`."""
        self._started()
        events = QueueEvents(self.name, redis=self._queue._redis, prefix=self._queue.keys.prefix)
        return SyncEvents(events, self._run, after, names)

    @overload
    def add(self, name: Target[D, R], data: D, **options: Unpack[AddOptions]) -> SyncJob[D, R]: ...
    @overload
    def add(self, name: Target[None, R], **options: Unpack[AddOptions]) -> SyncJob[None, R]: ...
    @overload
    def add(self, name: str, data: Any = UNSET, **options: Unpack[AddOptions]) -> SyncJob: ...
    def add(self, name: Any, data: Any = UNSET, **options: Any) -> SyncJob[Any, Any]:
        """Add a job and return it. priority: BullMQ's order, 0 (the default) runs first, then 1, 2, ... See `Queue.add`."""
        return SyncJob(self._call(lambda queue: queue.add(name, data, **options)), self._run)

    def add_many(self, jobs: Iterable[NewJob[D, R]]) -> list[SyncJob[D, R]]:
        """Add jobs in order, up to 250 in one call to Redis; each call is all or nothing."""
        return [SyncJob(job, self._run) for job in self._call(lambda queue: queue.add_many(jobs))]

    @overload
    def get_job(self, job_id: str) -> SyncJob | None: ...
    @overload
    def get_job(self, job_id: str, processor: Target[D, R]) -> SyncJob[D, R] | None: ...
    def get_job(self, job_id: str, processor: Any = None) -> SyncJob[Any, Any] | None:
        """The job with this id; None if there is none. processor: gives data and result their types."""
        found = self._call(lambda queue: queue.get_job(job_id, processor))
        return None if found is None else SyncJob(found, self._run)

    def jobs(self, state: State, start: int = 0, end: int = 99, *, newest_first: bool = False) -> list[SyncJob]:
        """A page of the jobs in a state: positions `start` to `end`, both included, from 0, the next to run or the oldest."""
        found = self._call(lambda queue: queue.jobs(state, start, end, newest_first=newest_first))
        return [SyncJob(job, self._run) for job in found]

    def counts(self) -> Counts:
        """How many jobs are in each state."""
        return self._call(lambda queue: queue.counts())

    def counts_per_priority(self, priorities: Iterable[int] | None = None) -> dict[int, int]:
        """How many waiting jobs have each of these priorities; None counts every priority that occurs, at most 250."""
        return self._call(lambda queue: queue.counts_per_priority(priorities))

    def counts_per_type(self, state: State = "waiting", *, limit: int = 10_000) -> CountsPerType:
        """How many of the first `limit` jobs in a state have each name."""
        return self._call(lambda queue: queue.counts_per_type(state, limit=limit))

    def oldest_waiting(self) -> OldestWaiting | None:
        """The waiting job that has been ready to run for the longest time; None without one."""
        return self._call(lambda queue: queue.oldest_waiting())

    def metrics(self, kind: Finished, start: int = 0, end: int = -1) -> Metrics:
        """How many jobs completed, or failed for good, in each minute. Needs workers with `metrics=`."""
        return self._call(lambda queue: queue.metrics(kind, start, end))

    def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return self._call(lambda queue: queue.is_paused())

    def rate_limit(self) -> RateLimit | None:
        """The queue's rate limit; None without one."""
        return self._call(lambda queue: queue.rate_limit())

    def rate_limit_ttl(self, limiter: Mapping[str, Any] | RateLimit | None = None) -> int:
        """Milliseconds until the rate limit allows the next job to start; 0 if one can start now."""
        return self._call(lambda queue: queue.rate_limit_ttl(limiter))

    def concurrency(self) -> int | None:
        """How many jobs of the queue may run at once, on all workers together; None without a limit."""
        return self._call(lambda queue: queue.concurrency())

    def logs(self, job_id: str, start: int = 0, end: int = -1) -> list[str]:
        """Rows `start` to `end` of a job's log, both included, oldest first; -1 is the last."""
        return self._call(lambda queue: queue.logs(job_id, start, end))

    def pause(self) -> None:
        """Pause the queue: workers claim no further jobs. Running jobs finish, and jobs can still be added."""
        self._call(lambda queue: queue.pause())

    def resume(self) -> None:
        """Resume a paused queue. Jobs keep their order."""
        self._call(lambda queue: queue.resume())

    def set_rate_limit(self, max: int, duration: int | timedelta, *, smooth: bool = False) -> None:
        """Limit the rate: at most `max` jobs start in each `duration` (ms or timedelta), on all workers together."""
        self._call(lambda queue: queue.set_rate_limit(max, duration, smooth=smooth))

    def remove_rate_limit(self) -> bool:
        """Remove the rate limit, and end a pause caused by `RateLimited`; False if there was neither."""
        return self._call(lambda queue: queue.remove_rate_limit())

    def set_concurrency(self, concurrency: int) -> None:
        """Limit how many jobs run at once, on all workers together. Running jobs continue."""
        self._call(lambda queue: queue.set_concurrency(concurrency))

    def remove_concurrency(self) -> bool:
        """Remove the concurrency limit of the queue; False if there was none."""
        return self._call(lambda queue: queue.remove_concurrency())

    def remove(self, job_id: str) -> bool:
        """Remove a job; False if it does not exist. Raises JobLocked while a worker runs it."""
        return self._call(lambda queue: queue.remove(job_id))

    def cancel(self, job_id: str, reason: str | None = None) -> Cancellation:
        """Cancel a job: a waiting job fails now, a running one is stopped within about a second."""
        return self._call(lambda queue: queue.cancel(job_id, reason))

    def retry(self, job_id: str, *, reset_attempts: bool = False) -> None:
        """Run a failed or completed job again. Raises JobNotFound; WrongState if the job is neither."""
        self._call(lambda queue: queue.retry(job_id, reset_attempts=reset_attempts))

    def promote(self, job_id: str) -> None:
        """Make a delayed job ready to run now. Raises JobNotFound; WrongState if it is not delayed."""
        self._call(lambda queue: queue.promote(job_id))

    def change_delay(self, job_id: str, delay: int | timedelta) -> None:
        """Let a delayed job start `delay` (ms or timedelta) from now. Raises JobNotFound, WrongState."""
        self._call(lambda queue: queue.change_delay(job_id, delay))

    def change_priority(self, job_id: str, priority: int, *, lifo: bool = False) -> None:
        """Change a job's priority (0 runs first, then 1, 2, ...); `lifo`: before others of that priority."""
        self._call(lambda queue: queue.change_priority(job_id, priority, lifo=lifo))

    def deduplication_job_id(self, deduplication_id: str) -> str | None:
        """The id of the job that owns a deduplication id; None if it is free."""
        return self._call(lambda queue: queue.deduplication_job_id(deduplication_id))

    def remove_deduplication(self, deduplication_id: str) -> bool:
        """Release a deduplication id, so that the next add makes a job; False if no job owned it."""
        return self._call(lambda queue: queue.remove_deduplication(deduplication_id))

    def drain(self, *, delayed: bool = False) -> int:
        """Remove all waiting jobs, and with `delayed` all delayed jobs; returns how many."""
        return self._call(lambda queue: queue.drain(delayed=delayed))

    def clean(self, state: State, *, grace: int | timedelta = 0, limit: int = 1000) -> list[str]:
        """Remove up to `limit` jobs in a state that are older than `grace` (ms or timedelta); returns their ids. limit=0: all."""
        return self._call(lambda queue: queue.clean(state, grace=grace, limit=limit))

    def obliterate(self, *, force: bool = False, dead_letters: bool = True) -> None:
        """Remove the queue and everything in it, dead letters included. The queue must be paused. See `Queue.obliterate`."""
        self._call(lambda queue: queue.obliterate(force=force, dead_letters=dead_letters))

    def _call(self, what: Callable[[Queue], Coroutine[Any, Any, T]], /) -> T:
        self._started()
        return self._run(what(self._queue))

    def _call_flows(self, what: Callable[[FlowProducer], Coroutine[Any, Any, T]], /) -> T:
        self._started()
        return self._run(what(self._flows))

    def _started(self) -> None:
        with self._guard:
            if self._closed:
                raise QueueClosed(f"queue {self.name!r}")
            if self._pid != os.getpid():
                self._start()

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._queue = self._make()
        self._flows = FlowProducer(redis=self._queue._redis, prefix=self._queue.keys.prefix, wait=self._queue._wait)
        threading.Thread(target=self._serve, args=(self._loop,), name=f"corral-{self.name}", daemon=True).start()
        self._pid = os.getpid()

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        finally:
            loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except (KeyboardInterrupt, CancelledError):
            future.cancel()
            raise
