"""Queue: add jobs, read and count them, pause, limit, cancel, retry and remove them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal, Unpack, get_args, overload

from msgspec import UNSET

from engine.batching import AddBatcher, ExistingJob, add_rows, batches
from engine.connection import DEFAULT_WAIT, Connection, Link, RedisPyLink, RedisSettings, SharedLink, open_link
from engine.dead_letters import DeadLetters
from engine.errors import InvalidInput, InvalidOption
from engine.job import Job, added_job, existing_job, stored_job, type_job
from engine.metrics import (
    CountsPerType,
    Finished,
    Metrics,
    OldestWaiting,
    counted_per_priority,
    counted_per_type,
    measured,
    waited_longest,
)
from engine.middleware import AroundAdd, HookedAdds, check_middleware
from engine.model import codec, wire
from engine.model.checks import did_you_mean, whole_number
from engine.model.clock import duration_ms
from engine.model.flow_rows import node_row
from engine.model.keys import Keys, check_deduplication_id
from engine.model.limits import RateLimit, check_concurrency, stored_limit, stored_number, worker_limit
from engine.model.options import NO_OPTIONS, NO_OPTIONS_WIRE, AddOptions, JobOptions, Keep, Parent
from engine.model.records import Counts, D, JobSignature, NewJob, NewRow, R, Target, check_new, signature_of
from engine.results import ResultWaiter
from engine.schedules import Schedules
from engine.scripting.key_types import call_typed
from engine.scripting.loader import guard, loading
from engine.scripting.pace import PER_CALL
from engine.scripts.add_flow import add_flow
from engine.scripts.cancel import Cancellation, cancel
from engine.scripts.change_delay import change_delay
from engine.scripts.change_priority import change_priority
from engine.scripts.clean import clean
from engine.scripts.drain import drain
from engine.scripts.get_counts import get_counts
from engine.scripts.get_jobs import get_jobs
from engine.scripts.get_rate_limit_ttl import get_rate_limit_ttl
from engine.scripts.init_queue import init_queue
from engine.scripts.limit_concurrency import limit_concurrency
from engine.scripts.limit_rate import limit_rate
from engine.scripts.list_jobs import list_jobs
from engine.scripts.obliterate import obliterate
from engine.scripts.pause import pause
from engine.scripts.promote_one import promote_one
from engine.scripts.remove import NotRemoved, remove
from engine.scripts.remove_deduplication import remove_deduplication
from engine.scripts.reprocess import reprocess
from engine.scripts.resume import resume

State = Literal["waiting", "active", "delayed", "prioritized", "completed", "failed", "waiting-children", "paused"]
Events = Literal["all", "results", "none"]


MAX_REASON = 1_000
"""Characters of a cancellation reason; it is stored with the job and written in an event."""


class Queue:
    """A queue of jobs in Redis, shared with every BullMQ or Corral program that uses the same name and prefix.

        async with Queue("sms-queue", redis="redis://localhost:6379/0") as queue:
            job = await queue.add("sms", SmsJobData(...), delay=5_000, attempts=3)
            result = await job.result(timeout=30_000)

    redis: a URL (`redis:`, `rediss:`, `unix:`, `embedded:`), RedisSettings, or None for the environment's settings.
    prefix: what the Redis keys begin with, as in BullMQ. max_payload: bytes that a job's data may have.
    events: which events Corral programs write for this queue, until a Queue sets another value: "all"; "results", only
    what callers that wait for a job need (`completed`, `failed`, `removed`), which saves three of four entries; or "none":
    `job.result()` then polls, and gets a stored result within about a second. None keeps the stored setting, "all" in a
    new queue.
    max_events: entries kept in the queue's event stream, for every program that uses the queue; None keeps the stored
    setting, 10,000 in a new queue.
    wait: how long a call waits (ms or timedelta) while Redis cannot take it: no connection, loading, read-only, out of
    memory and so on. Then the error is raised, and nothing was written. 0 raises at once. If the server does not reply at
    all, OutcomeUnknown is raised after the same time, but at least a second.
    link: an open connection to share. It has a `wait` of its own, and stays open when the queue is closed.
    middleware: called around each job that `add` and `add_many` add, the first outermost; see AroundAdd.
    The queue connects in `async with` or at the first call. It belongs to the event loop that it connects on.
    For code without an event loop use SyncQueue.
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
        link: Connection | RedisPyLink | None = None,
        middleware: Sequence[AroundAdd] | None = None,
    ) -> None:
        self.name = name
        self.keys = Keys(name, prefix)
        self._redis = link.settings if link is not None else RedisSettings.parse(redis)
        self._max_payload = max_payload
        self._events = _check_events(events)
        self._max_events = max_events
        if max_events is not None:
            whole_number("max_events", max_events, 1, hint='for a queue without events use events="none"')
        self._wait = duration_ms("wait", wait)
        self._shared = SharedLink(f"queue {name!r}", self._connect, prepare=self._prepare, lent=link)
        self._results: ResultWaiter | None = None
        self._batcher = AddBatcher(self.keys, max_payload)
        self._middleware = check_middleware(middleware)
        if self._middleware:
            # Replaced here and not checked in each call: without middleware, `add` has no extra step.
            hooked = HookedAdds(self._middleware, self.add, self.add_many)
            self.add, self.add_many = hooked.add, hooked.add_many  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return f"<Queue {self.name}: {'open' if self._shared.link else 'not connected'}, {self._batcher!r}>"

    async def __aenter__(self) -> Queue:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> Queue:
        """Connect within `wait`; also reopens after `close`.

        Raises ConnectFailed or AuthFailed, and ServerUnfit for a server that cannot hold the queue; the message says what
        to do.
        """
        await self._shared.open()
        return self

    async def close(self) -> None:
        """Send the jobs added so far, then close the connection. Later calls raise QueueClosed. Can be called twice."""
        await self._batcher.close()
        if self._results is not None:
            await self._results.close()
            self._results = None
        await self._shared.close()

    # --- adding -------------------------------------------------------------------------------------------------------

    @overload
    async def add(self, name: Target[D, R], data: D, **options: Unpack[AddOptions]) -> Job[D, R]: ...
    @overload
    async def add(self, name: Target[None, R], **options: Unpack[AddOptions]) -> Job[None, R]: ...
    @overload
    async def add(self, name: str, data: Any = UNSET, **options: Unpack[AddOptions]) -> Job[Any, Any]: ...
    async def add(self, name: Any, data: Any = UNSET, **options: Any) -> Job[Any, Any]:
        """Add a job and return it. Concurrent calls are sent to Redis in batches.

            job = await queue.add(send_sms, SmsJobData(...), delay=5_000)    # a processor: Job[SmsJobData, SmsResult]
            job = await queue.add("sms", {"message": "Hi"}, priority=1)      # a job name: Job[Any, Any]

        name: the processor, or the job name that selects one. data: JSON values, a msgspec Struct, a dataclass or a
        pydantic model; None is stored as null, absent data as an empty object. options: see JobOptions; times are ms or
        timedelta. priority: BullMQ's order, 0 (the default) runs first, then 1, 2, ...
        If a job with this `job_id` or `deduplication` id exists, no job is made: the result is that job, with `deduplicated`
        True.
        Raises InvalidInput before anything is written; QueueClosed after `close`; ConnectFailed or ServerBusy if Redis could
        not take the job within the queue's `wait`, and nothing was written; OutcomeUnknown if the connection was lost, or the
        server hung, before the reply (with a `job_id` of your own, adding again is safe). With a `parent`: JobNotFound if
        the parent does not exist, WrongState if this job is the child of another.
        """
        checked = JobOptions.check(options) if options else NO_OPTIONS
        signature = None
        if not isinstance(name, str):
            signature = signature_of(name)
            name = signature.name
        if data is UNSET:
            data = {}
        row = self._row(name, data, checked)
        if signature is not None:
            data = signature.decode(row.data)
        link = self._shared.link or await self._shared.ready()
        if checked.parent is not None:
            return await self._add_child(link, row, checked, checked.parent, data, signature)
        job_id = await self._batcher.put(link, row)
        if isinstance(job_id, ExistingJob):
            return existing_job(link, self.keys, job_id.id, name, self._waiter(), signature)
        return added_job(link, self.keys, job_id, name, data, checked, self._waiter(), signature)

    async def add_many(self, jobs: Iterable[NewJob[D, R]]) -> list[Job[D, R]]:
        """Add jobs in order, up to 250 in one call to Redis. All are checked before the first call; each call is all or nothing."""
        link, results = await self._shared.ready(), self._waiter()
        new = list(jobs)
        try:
            rows = [self._row(job.name, job.data, job.options) for job in new]
        except AttributeError:
            check_new(new)
            raise
        typed = {
            number: (signature, signature.decode(rows[number].data))
            for number, job in enumerate(new)
            if job._signature is not None and (signature := job.signature) is not None
        }
        if any(job.options.parent is not None for job in new):
            raise InvalidOption("parent: add_many does not take it; use queue.add(..., parent=...), or a FlowProducer")

        async def put(batch: Sequence[NewRow], jobs_of_batch: Sequence[NewJob]) -> list[Job[Any, Any]]:
            added = await add_rows(link, self.keys, batch, cap=self._max_payload)
            made: list[Job[Any, Any]] = [
                added_job(link, self.keys, job_id, job.name, job.data, job.options, results)
                for job_id, job in zip(added.ids, jobs_of_batch, strict=True)
            ]
            for number in added.known:
                made[number] = existing_job(link, self.keys, added.ids[number], made[number].name, results)
            return made

        calls, first = [], 0
        for batch in batches(rows):
            calls.append(asyncio.create_task(put(batch, new[first : first + len(batch)])))
            first += len(batch)
            # Sends the batch: the server works on it while the next one is packed.
            await asyncio.sleep(0)
        made = [job for some in await asyncio.gather(*calls) for job in some]
        for number, (signature, data) in typed.items():
            type_job(made[number], signature, data)
        return made

    async def _add_child(
        self, link: Link, row: NewRow, options: JobOptions, parent: Parent, data: Any, signature: JobSignature | None
    ) -> Job[Any, Any]:
        above = [(Keys(parent.queue, self.keys.prefix), parent.id)]
        added = await add_flow(link, self.keys, [node_row(self.keys, row.id, row.name, row.data, options, above)])
        if isinstance(added, tuple):
            raise added[1].error(parent, row.id)
        if added[0] is None:
            return existing_job(link, self.keys, row.id, row.name, self._waiter(), signature)
        return added_job(link, self.keys, added[0], row.name, data, options, self._waiter(), signature)

    # --- reading ------------------------------------------------------------------------------------------------------

    @overload
    async def get_job(self, job_id: str) -> Job[Any, Any] | None: ...
    @overload
    async def get_job(self, job_id: str, processor: Target[D, R]) -> Job[D, R] | None: ...
    async def get_job(self, job_id: str, processor: Any = None) -> Job[Any, Any] | None:
        """The job with this id; None if there is none.

        processor: gives data and result their types; without it they are plain JSON values. Raises InvalidData if the stored
        data or result does not fit these types.
        """
        signature = None if processor is None else signature_of(processor)
        found = (await get_jobs(await self._shared.ready(), self.keys, [job_id]))[0]
        return None if found is None else stored_job(self.link, self.keys, found, self._waiter(), signature)

    async def jobs(
        self, state: State, start: int = 0, end: int = 99, *, newest_first: bool = False
    ) -> list[Job[Any, Any]]:
        """A page of the jobs in a state: positions `start` to `end`, both included, from 0.

        Position 0 is the next to run, or the oldest; with `newest_first` the order is reversed. Ids without a stored job are
        left out, as in BullMQ, so a page may be short. `corral migrate check` lists such ids.
        """
        found: list[Job[Any, Any]] = []
        link, results = await self._shared.ready(), self._waiter()
        for first in range(start, end + 1, PER_CALL):
            last = min(end, first + PER_CALL - 1)
            rows = await list_jobs(link, self.keys, state=state, start=first, end=last, ascending=not newest_first)
            found += [stored_job(self.link, self.keys, row, results) for row in rows if row.is_there]
            if len(rows) < last - first + 1:
                break
        return found

    async def counts(self) -> Counts:
        """How many jobs are in each state."""
        return await get_counts(await self._shared.ready(), self.keys)

    async def counts_per_priority(self, priorities: Iterable[int] | None = None) -> dict[int, int]:
        """How many waiting jobs have each of these priorities; 0 counts jobs without one.

        None counts every priority that occurs, at most the first 250.
        """
        return await counted_per_priority(await self._shared.ready(), self.keys, priorities)

    async def counts_per_type(self, state: State = "waiting", *, limit: int = 10_000) -> CountsPerType:
        """How many of the first `limit` jobs in a state have each name.

        Scans 1,000 jobs in a call, at some 2 ms of server time each. Jobs that change state meanwhile may be missed or
        counted twice. `complete` in the result says whether all jobs were scanned.
        """
        return await counted_per_type(await self._shared.ready(), self.keys, state, limit)

    async def oldest_waiting(self) -> OldestWaiting | None:
        """The waiting job that has been ready to run for the longest time; None without one. For alerts on a stuck queue.

        Reads the 100 jobs next to run without a priority, and the first job of each of the first 100 priorities.
        """
        return await waited_longest(await self._shared.ready(), self.keys)

    async def metrics(self, kind: Finished, start: int = 0, end: int = -1) -> Metrics:
        """How many jobs completed, or failed for good, in each minute. Needs workers with `metrics=`.

        kind: "completed" or "failed". start, end: first and last minute, both included; 0 is the newest, -1 the oldest kept.
        """
        return await measured(await self._shared.ready(), self.keys, kind, start, end)

    async def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return bool(await call_typed(await self._shared.ready(), "hash", "HEXISTS", self.keys.meta, "paused"))

    async def rate_limit(self) -> RateLimit | None:
        """The queue's rate limit; None without one."""
        fields = await call_typed(
            await self._shared.ready(), "hash", "HMGET", self.keys.meta, "max", "duration", "smooth"
        )
        return stored_limit(*fields)

    async def rate_limit_ttl(self, limiter: Mapping[str, Any] | RateLimit | None = None) -> int:
        """Milliseconds until the rate limit allows the next job to start; 0 if one can start now.

        limiter: the `limiter` of the workers, {"max": jobs, "duration": ms}, if they have one.
        """
        return await get_rate_limit_ttl(await self._shared.ready(), self.keys, worker_limit=worker_limit(limiter))

    async def concurrency(self) -> int | None:
        """How many jobs of the queue may run at once, on all workers together; None without a limit."""
        return stored_number(
            await call_typed(await self._shared.ready(), "hash", "HGET", self.keys.meta, "concurrency")
        )

    async def logs(self, job_id: str, start: int = 0, end: int = -1) -> list[str]:
        """Rows `start` to `end` of a job's log, both included, oldest first; -1 is the last."""
        rows = await call_typed(await self._shared.ready(), "list", "LRANGE", self.keys.logs(job_id), start, end)
        return [row.decode(errors="replace") for row in rows]

    async def deduplication_job_id(self, deduplication_id: str) -> str | None:
        """The id of the job that owns a deduplication id; None if it is free. While a `ttl` runs, the job may be removed already."""
        check_deduplication_id(deduplication_id)
        owner = await call_typed(await self._shared.ready(), "string", "GET", self.keys.deduplication(deduplication_id))
        return None if owner is None else str(owner.decode(errors="replace"))

    # --- changing -----------------------------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Pause the queue: workers claim no further jobs. Running jobs finish, and jobs can still be added."""
        await pause(await self._shared.ready(), self.keys)

    async def resume(self) -> None:
        """Resume a paused queue. Jobs keep their order."""
        await resume(await self._shared.ready(), self.keys)

    async def set_rate_limit(self, max: int, duration: int | timedelta, *, smooth: bool = False) -> None:
        """Limit the rate: at most `max` jobs start in each window of `duration` (ms or timedelta), on all workers together.

        A window begins with the first start after the last window, so the jobs of two windows may start in a row. With
        `smooth`, starts are spread evenly: at most 1 + max // 20 at once, and at most `max` in any `duration`; BullMQ
        workers observe only the window. Takes effect at once, also for waiting jobs. Raises InvalidOption.
        """
        limit = RateLimit.check("rate limit", max, duration, smooth)
        await limit_rate(await self._shared.ready(), self.keys, limit)

    async def remove_rate_limit(self) -> bool:
        """Remove the rate limit, and end a pause caused by `RateLimited`; False if there was neither."""
        return await limit_rate(await self._shared.ready(), self.keys, None)

    async def set_concurrency(self, concurrency: int) -> None:
        """Limit how many jobs run at once, on all workers together. Running jobs continue. Raises InvalidOption."""
        checked = check_concurrency(concurrency)
        await limit_concurrency(await self._shared.ready(), self.keys, checked)

    async def remove_concurrency(self) -> bool:
        """Remove the concurrency limit of the queue; False if there was none."""
        return await limit_concurrency(await self._shared.ready(), self.keys, None)

    async def remove(self, job_id: str) -> bool:
        """Remove a job; False if it does not exist. Raises JobLocked while a worker runs it."""
        refused = (await remove(await self._shared.ready(), self.keys, [job_id])).get(job_id)
        if refused is None:
            return True
        if refused is NotRemoved.MISSING:
            return False
        raise refused.error(job_id, self.name)

    async def cancel(self, job_id: str, reason: str | None = None) -> Cancellation:
        """Cancel a job: a waiting job fails now, a running one is stopped within about a second.

        It fails for good with "cancelled", or "cancelled: <reason>", and `job.result()` raises JobCancelled. A run that ends
        before it is stopped keeps its result. Can be called again. Raises WrongState for the next run of a schedule.
        """
        if reason is not None and (not isinstance(reason, str) or not reason or len(reason) > MAX_REASON):
            raise InvalidInput(
                f"reason: {reason!r:.50} is not text of 1 to {MAX_REASON:,} characters; leave it out for no reason"
            )
        text = "cancelled" if reason is None else f"cancelled: {reason}".encode(errors="replace").decode()
        # Retention is an option of the job and never changes; everything that can change is decided by the script.
        job, keep = await self.get_job(job_id), None
        with suppress(ValueError):  # options that cannot be read are ignored
            keep = None if job is None else job.opts.remove_on_fail
        return await cancel(self.link, self.keys, id=job_id, reason=text, keep=keep or Keep())

    async def retry(self, job_id: str, *, reset_attempts: bool = False) -> None:
        """Run a failed or completed job again.

        reset_attempts: count its attempts, stalls and starts from 0; without it, a job that used all its attempts runs once
        more. Raises JobNotFound; WrongState if the job is neither failed nor completed.
        """
        job = await self.get_job(job_id)
        lifo = job is not None and job.opts.lifo
        refused = await reprocess(self.link, self.keys, [(job_id, lifo)], reset=reset_attempts)
        if job_id in refused:
            raise refused[job_id].error(job_id, self.name)

    async def promote(self, job_id: str) -> None:
        """Make a delayed job ready to run now. Raises JobNotFound; WrongState if it is not delayed."""
        await promote_one(await self._shared.ready(), self.keys, id=job_id)

    async def change_delay(self, job_id: str, delay: int | timedelta) -> None:
        """Let a delayed job start `delay` (ms or timedelta) from now. Raises JobNotFound; WrongState if it is not delayed."""
        await change_delay(await self._shared.ready(), self.keys, id=job_id, delay_ms=duration_ms("delay", delay))

    async def change_priority(self, job_id: str, priority: int, *, lifo: bool = False) -> None:
        """Change a job's priority (0 runs first, then 1, 2, ...); `lifo`: before others of that priority. Raises JobNotFound."""
        checked = JobOptions.check({"priority": priority})
        await change_priority(await self._shared.ready(), self.keys, id=job_id, priority=checked.priority, lifo=lifo)

    async def remove_deduplication(self, deduplication_id: str) -> bool:
        """Release a deduplication id, so that the next add makes a job; False if no job owned it.

        Data that `keep_last_if_active` kept for the end of the owner becomes a job now.
        """
        check_deduplication_id(deduplication_id)
        return await remove_deduplication(await self._shared.ready(), self.keys, deduplication=deduplication_id)

    async def drain(self, *, delayed: bool = False) -> int:
        """Remove all waiting jobs, and with `delayed` all delayed jobs; returns how many."""
        return await drain(await self._shared.ready(), self.keys, delayed=delayed)

    async def clean(self, state: State, *, grace: int | timedelta = 0, limit: int = 1000) -> list[str]:
        """Remove up to `limit` jobs in a state that are older than `grace` (ms or timedelta); returns their ids. limit=0: all."""
        whole_number("limit", limit, hint="0 removes all")
        grace_ms = duration_ms("grace", grace)
        return await clean(await self._shared.ready(), self.keys, state=state, grace_ms=grace_ms, limit=limit or None)

    async def obliterate(self, *, force: bool = False, dead_letters: bool = True) -> None:
        """Remove the queue and everything in it, dead letters included. The queue must be paused.

        force: also remove running jobs. dead_letters: False keeps the dead letters, which can still be replayed.
        BullMQ's `obliterate` does not know dead letters and leaves them.
        Raises WrongState if the queue is not paused, or has running jobs and `force` is False.
        """
        await obliterate(await self._shared.ready(), self.keys, force=force, dead_letters=dead_letters)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """Dead letters: jobs that failed for good. List, count, group, replay and purge them."""
        return DeadLetters(self.keys, self._shared.ready, self._max_payload)

    @cached_property
    def schedules(self) -> Schedules:
        """Schedules: jobs that are added at the times of a cron pattern, or at intervals."""
        return Schedules(self.keys, self._shared.ready, self._max_payload, self.add_many)

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def link(self) -> Link:
        """The open connection. Raises InvalidInput before the queue is open."""
        if self._shared.link is None:
            raise InvalidInput("queue: not connected; use `async with Queue(...)` or await queue.open() first")
        return self._shared.link

    async def _connect(self) -> Connection | RedisPyLink:
        return await open_link(self._redis, prelude=loading("add_plain", "add"), call_wait=self._wait / 1000)

    async def _prepare(self, link: Link) -> None:
        await guard(link, self.keys)
        await init_queue(
            link, self.keys, version=f"corral:{wire.VERSION}", max_events=self._max_events, events=self._events
        )

    def _waiter(self) -> ResultWaiter:
        if self._results is None:
            self._results = ResultWaiter(self.link, self.keys, self._listen)
        return self._results

    async def _listen(self) -> Connection | RedisPyLink:
        return await open_link(self._redis, name=self.keys.client_name(":qe"))

    def _row(self, name: str, data: Any, options: JobOptions) -> NewRow:
        if not isinstance(name, str) or not name:
            raise InvalidInput(f"job name: {name!r} is empty or not text; give the name that selects the processor")
        encoded = codec.encode("data", data)
        if options is NO_OPTIONS:
            codec.check_size("data", encoded, self._max_payload)
            return NewRow("", name, encoded, NO_OPTIONS_WIRE)
        limit = self._max_payload if options.size_limit is None else min(options.size_limit, self._max_payload)
        codec.check_size("data", encoded, limit)
        return NewRow(
            options.job_id or "",
            name,
            encoded,
            options.to_wire(),
            options.timestamp,
            options.delay,
            options.priority,
            options.lifo,
            options.deduplication,
        )


def _check_events(value: Events | None) -> Events | None:
    known = get_args(Events)
    if value is None or value in known:
        return value
    raise InvalidOption(f'events: {value!r} is not "all", "results" or "none"{did_you_mean(str(value), known)}')
