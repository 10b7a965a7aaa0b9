"""A queue for code without an event loop: Flask and Django views, scripts, notebooks. The same names, each call blocks."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import CancelledError
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar, Unpack, overload

from msgspec import UNSET

from engine.errors import QueueClosed
from engine.flows import FlowProducer
from engine.metrics import CountsPerType, Finished, Metrics, OldestWaiting
from engine.model.limits import RateLimit
from engine.model.options import AddOptions
from engine.model.records import Counts, D, NewJob, R, Target
from engine.queue import Queue, State
from engine.queue_events import QueueEvents
from engine.scripts.cancel import Cancellation
from engine.sync.views import SyncDeadLetters, SyncEvents, SyncFlows, SyncJob, SyncSchedules

T = TypeVar("T")


class SyncQueue:
    """The blocking view of a Queue. Takes the same arguments; methods have the same names and raise the same errors.

        with SyncQueue("sms-queue") as queue:
            job = queue.add("sms", {...})
            print(job.result(timeout=30_000))
            queue.schedules.upsert("daily", "sms", {...}, cron="0 9 * * *")
            queue.dead_letters.replay(error="ConnectionError")
            with queue.events(names=["failed"]) as events:
                for event in events: ...

    `schedules`, `dead_letters` and `flows` have the methods of the Queue's and of a FlowProducer.
    May be used from several threads; after a fork the child connects anew.
    """

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self._options = options
        Queue(name, **options)  # so that a wrong argument is refused here and not at the first call
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
        """Connect, also after `close`. Raises ConnectFailed or AuthFailed with what to do."""
        self._closed = False
        self._call(lambda queue: queue.open())
        return self

    def close(self) -> None:
        """Send what was added, close the connection, end the thread; later calls raise QueueClosed."""
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
        """The jobs that failed for good."""
        return SyncDeadLetters(self._call)

    @cached_property
    def schedules(self) -> SyncSchedules:
        """Jobs that are made again and again."""
        return SyncSchedules(self._call, self._run)

    @cached_property
    def flows(self) -> SyncFlows:
        """Jobs that wait for other jobs, in queues of this prefix, on a connection that all calls share."""
        return SyncFlows(self._call_flows, self._run)

    def events(self, after: str = "$", *, names: Iterable[str] | None = None) -> SyncEvents:
        """The queue's events after a place, to be walked: as `QueueEvents.events`. Close it, or use it in a `with`."""
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
        return SyncJob(self._call(lambda queue: queue.add(name, data, **options)), self._run)

    def add_many(self, jobs: Iterable[NewJob[D, R]]) -> list[SyncJob[D, R]]:
        return [SyncJob(job, self._run) for job in self._call(lambda queue: queue.add_many(jobs))]

    @overload
    def get_job(self, job_id: str) -> SyncJob | None: ...
    @overload
    def get_job(self, job_id: str, processor: Target[D, R]) -> SyncJob[D, R] | None: ...
    def get_job(self, job_id: str, processor: Any = None) -> SyncJob[Any, Any] | None:
        found = self._call(lambda queue: queue.get_job(job_id, processor))
        return None if found is None else SyncJob(found, self._run)

    def jobs(self, state: State, start: int = 0, end: int = 99, *, newest_first: bool = False) -> list[SyncJob]:
        found = self._call(lambda queue: queue.jobs(state, start, end, newest_first=newest_first))
        return [SyncJob(job, self._run) for job in found]

    def counts(self) -> Counts:
        return self._call(lambda queue: queue.counts())

    def counts_per_priority(self, priorities: Iterable[int] | None = None) -> dict[int, int]:
        return self._call(lambda queue: queue.counts_per_priority(priorities))

    def counts_per_type(self, state: State = "waiting", *, limit: int = 10_000) -> CountsPerType:
        return self._call(lambda queue: queue.counts_per_type(state, limit=limit))

    def oldest_waiting(self) -> OldestWaiting | None:
        return self._call(lambda queue: queue.oldest_waiting())

    def metrics(self, kind: Finished, start: int = 0, end: int = -1) -> Metrics:
        return self._call(lambda queue: queue.metrics(kind, start, end))

    def is_paused(self) -> bool:
        return self._call(lambda queue: queue.is_paused())

    def rate_limit(self) -> RateLimit | None:
        return self._call(lambda queue: queue.rate_limit())

    def rate_limit_ttl(self, limiter: Mapping[str, Any] | RateLimit | None = None) -> int:
        return self._call(lambda queue: queue.rate_limit_ttl(limiter))

    def concurrency(self) -> int | None:
        return self._call(lambda queue: queue.concurrency())

    def logs(self, job_id: str, start: int = 0, end: int = -1) -> list[str]:
        return self._call(lambda queue: queue.logs(job_id, start, end))

    def pause(self) -> None:
        self._call(lambda queue: queue.pause())

    def resume(self) -> None:
        self._call(lambda queue: queue.resume())

    def set_rate_limit(self, max: int, duration: int | timedelta, *, smooth: bool = False) -> None:
        self._call(lambda queue: queue.set_rate_limit(max, duration, smooth=smooth))

    def remove_rate_limit(self) -> bool:
        return self._call(lambda queue: queue.remove_rate_limit())

    def set_concurrency(self, concurrency: int) -> None:
        self._call(lambda queue: queue.set_concurrency(concurrency))

    def remove_concurrency(self) -> bool:
        return self._call(lambda queue: queue.remove_concurrency())

    def remove(self, job_id: str) -> bool:
        return self._call(lambda queue: queue.remove(job_id))

    def cancel(self, job_id: str, reason: str | None = None) -> Cancellation:
        return self._call(lambda queue: queue.cancel(job_id, reason))

    def retry(self, job_id: str, *, reset_attempts: bool = False) -> None:
        self._call(lambda queue: queue.retry(job_id, reset_attempts=reset_attempts))

    def promote(self, job_id: str) -> None:
        self._call(lambda queue: queue.promote(job_id))

    def change_delay(self, job_id: str, delay: int | timedelta) -> None:
        self._call(lambda queue: queue.change_delay(job_id, delay))

    def change_priority(self, job_id: str, priority: int, *, lifo: bool = False) -> None:
        self._call(lambda queue: queue.change_priority(job_id, priority, lifo=lifo))

    def deduplication_job_id(self, deduplication_id: str) -> str | None:
        return self._call(lambda queue: queue.deduplication_job_id(deduplication_id))

    def remove_deduplication(self, deduplication_id: str) -> bool:
        return self._call(lambda queue: queue.remove_deduplication(deduplication_id))

    def drain(self, *, delayed: bool = False) -> int:
        return self._call(lambda queue: queue.drain(delayed=delayed))

    def clean(self, state: State, *, grace: int | timedelta = 0, limit: int = 1000) -> list[str]:
        return self._call(lambda queue: queue.clean(state, grace=grace, limit=limit))

    def obliterate(self, *, force: bool = False, dead_letters: bool = True) -> None:
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
        self._queue = Queue(self.name, **self._options)
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
