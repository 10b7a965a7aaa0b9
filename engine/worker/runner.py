"""Runs one claimed job and returns its Outcome. Writes nothing to Redis.

Before a run of a schedule it waits for `Scheduling.admit`, before a job with `expires_in` for `check_expiry`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from engine.connection import Link
from engine.errors import InvalidOption, JobTimeout, RateLimited, Retry, Snooze, WaitForChildren, WrongState
from engine.job import Job, claimed_job, plain_value
from engine.middleware import AroundRun, around
from engine.model import codec, error_text
from engine.model.backoff import BUILT_IN, Strategy, delay_before_retry
from engine.model.clock import duration_ms
from engine.model.keys import Keys
from engine.model.limits import limited_outcome
from engine.model.options import NO_OPTIONS, read_options
from engine.model.records import (
    Completed,
    CompletedAdding,
    Delayed,
    Failed,
    Limited,
    Outcome,
    Released,
    Retrying,
    WaitingChildren,
)
from engine.processor import Processor
from engine.scripting.rows import Refusal
from engine.worker.active_jobs import ActiveJob, StopReason
from engine.worker.listeners import Listeners
from engine.worker.loops.expiry import check_expiry
from engine.worker.loops.scheduling import RUN, Scheduling
from engine.worker.reports import Reports
from engine.worker.run_in.batches import Batches
from engine.worker.run_in.children import Children
from engine.worker.run_in.threads import Threads, thread_job

MAX_RESULT = 16 * 1024 * 1024
"""Bytes that a result may have; a larger one fails the attempt."""
_NOTHING = Completed(b"null")
Failure = Failed | Retrying | Delayed | Limited
"""Outcomes of a run that raised or was stopped."""
_CHILDREN = {
    Refusal.DOOMED: "a child has failed without which the job may not complete",
    Refusal.NO_PROGRESS: "it waits for children again, though all are done and none has ended since it ran last",
    Refusal.OTHER_PARENT: "the id of one of its new children is that of a job which is the child of another",
}
_ASKED = (Retry, RateLimited)
"""What a processor may return instead of raising it."""


class Routes:
    """Finds the processor for a job's name. A processor without a name takes every name, and is the only one."""

    def __init__(self, processors: list[Processor[Any, Any]]) -> None:
        self._by_name: dict[str, Processor[Any, Any]] = {}
        self._any: Processor[Any, Any] | None = None
        for processor in processors:
            if processor.name is None and len(processors) > 1:
                raise InvalidOption(
                    f"processors: {processor!r} has no name beside others; write @processor('sms') above it"
                )
            if processor.name in self._by_name:
                raise InvalidOption(
                    f"processors: two take {processor.name!r}; a job's name chooses one, so rename one of them"
                )
            if processor.name is None:
                self._any = processor
            else:
                self._by_name[processor.name] = processor

    def __iter__(self) -> Iterator[Processor[Any, Any]]:
        return iter({*self._by_name.values(), *([self._any] if self._any else ())})

    def find(self, name: str) -> Processor[Any, Any] | None:
        return self._by_name.get(name, self._any)

    def __str__(self) -> str:
        return ", ".join(sorted(self._by_name)) or "every name"


class Runner:
    """The steps of a run: refuse what cannot run, decode, call, encode; classify what was raised."""

    def __init__(
        self,
        routes: Routes,
        link: Link,
        keys: Keys,
        *,
        threads: Threads,
        children: Children,
        backoffs: Mapping[str, Strategy],
        listeners: Listeners,
        reports: Reports,
        watch: Callable[[ActiveJob], None],
        middleware: Sequence[AroundRun] = (),
        scheduling: Scheduling,
    ) -> None:
        self._watch = watch
        self._scheduling = scheduling
        self._reports = reports
        self._routes = routes
        self._link = link
        self._keys = keys
        self._threads = threads
        self._children = children
        self._backoffs = backoffs
        self._listeners = listeners
        self._middleware = middleware
        self._batches = Batches(threads, self._begin)
        self._is_plain = not middleware and all(processor.batch is None for processor in routes)

    async def run(self, active: ActiveJob) -> Outcome:
        refused = self._prepare(active)
        try:
            # Before anything that can end it: the next run of its schedule depends on this one.
            if (
                active.claimed.id.startswith(RUN)
                and (instead := await self._scheduling.admit(active.claimed)) is not None
            ):
                active.result = codec.decode("result", instead.value) if isinstance(instead, Completed) else None
                return instead
            if refused is not None:
                return Failed(error_text.cut(refused, error_text.MAX_MESSAGE), active.claimed.stacktrace, "NotRun")
            outcome = await self._call(active)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit of a processor must not end the worker
            active.cancel_timers()
            if active.stop_error is not None:
                if error is not active.stop_error:
                    active.stop_error.__cause__ = error  # its stack tells where the run was
                return self.stopped(active)
            if isinstance(error, WaitForChildren):
                return self._waiting(active)
            return Released() if _was_cut_short(active, error) else self._verdict(active, error)
        if active.timers is not None:  # only a run with timers can have been stopped
            active.cancel_timers()
            if active.stop_error is not None:
                # Its own result or error does not count: the caller of `cancel` may have acted already.
                return self.stopped(active)
        return outcome

    def stopped(self, active: ActiveJob) -> Failure:
        """The outcome of a run that was cancelled or timed out, whether it has ended or not."""
        stop = active.stop_error
        assert stop is not None
        if isinstance(stop, JobTimeout):
            return self._verdict(active, stop)
        if active.handle is None:
            self._prepare(active)  # it never ran
        active.error = stop
        stack = error_text.appended(active.claimed.stacktrace, error_text.trace(stop), active.options.stack_trace_limit)
        return Failed(stop.reason, stack, error_text.error_name(stop))

    def refused(self, active: ActiveJob, refusal: Refusal) -> Failure | None:
        """The outcome of a job that Redis does not let complete or wait because of its children; None for other refusals."""
        if refusal is Refusal.PENDING:
            return self._pending(active)
        reason = _CHILDREN.get(refusal)
        return None if reason is None else Failed(reason, active.claimed.stacktrace)

    def _pending(self, active: ActiveJob) -> Failure:
        """A run that ended while children added during it were not done counts as a failed attempt, as in BullMQ."""
        reason = "children that were added while it ran are not done; raise WaitForChildren to wait for them"
        return self._verdict(active, WrongState(f"Job {active.claimed.id} has pending dependencies: {reason}"))

    def _prepare(self, active: ActiveJob) -> str | None:
        """Find options, processor and data. Returns why the job cannot run, None if it can."""
        claimed = active.claimed
        try:
            active.options, broken = read_options(claimed.opts), None
        except (ValueError, RecursionError) as error:
            active.options, broken = NO_OPTIONS, f"the job's options cannot be read: {error}"
        active.processor = processor = self._routes.find(claimed.name)
        refused = claimed.deferred_failure or claimed.broken or broken
        if refused is None and processor is None:
            refused = f"no processor takes {claimed.name!r} here; this worker has {self._routes}"
        try:
            data = plain_value(claimed.data) if processor is None else processor.decode(claimed.data)
        except ValueError as error:
            # Bad data is as bad at the next attempt.
            data, refused = plain_value(claimed.data), refused or str(error)
        active.handle = claimed_job(self._link, self._keys, claimed, data, active.options)
        return refused

    async def _call(self, active: ActiveJob) -> Outcome:
        processor, job = active.processor, active.handle
        assert processor is not None
        assert job is not None
        if self._listeners.has("progress"):
            active.handle = job = _ProgressJob.of(job, self._listeners)
        if active.options.expires_in is not None:
            await check_expiry(self._link, self._keys, active)
        if not self._is_plain:
            result = await self._hooked(active, processor, job)
        elif processor.run_in == "process":
            value = await self._in_process(active, processor, job)
            active.result = codec.decode("result", value)
            return Completed(value)
        else:
            self._begin(active)
            if processor.run_in == "loop":
                result = await processor.function(job)
            else:
                result = await self._in_thread(active, processor.function, job)
        if isinstance(result, _ASKED):
            return self._verdict(active, result)
        active.result = result
        if job._gathered is not None:
            return CompletedAdding(_encoded(result), job._gathered.rows(None))
        if result is None:
            return _NOTHING
        return Completed(_encoded(result))

    def _waiting(self, active: ActiveJob) -> Outcome:
        """The outcome of a job that waits, with the children that it gathered."""
        gathered = active.handle._gathered if active.handle is not None else None
        try:
            return WaitingChildren(gathered.rows(active.claimed.id) if gathered else ())
        except Exception as error:  # data of a child has been changed meanwhile
            return self._verdict(active, error)

    async def _hooked(self, active: ActiveJob, processor: Processor[Any, Any], job: Job[Any, Any]) -> Any:
        """The result of a job that runs in a batch or has middleware around it."""
        if processor.batch is None and processor.run_in != "process":
            self._begin(active)
        return await around(self._middleware, functools.partial(self._innermost, active, processor))(job)

    async def _innermost(self, active: ActiveJob, processor: Processor[Any, Any], job: Job[Any, Any]) -> Any:
        if processor.batch is not None:
            return await self._batches.join(active, job)
        if processor.run_in == "process":
            return codec.decode("result", await self._in_process(active, processor, job))
        if processor.run_in == "loop":
            return await processor.function(job)
        return await self._in_thread(active, processor.function, job)

    def _begin(self, active: ActiveJob) -> None:
        active.started = True
        self._reports.started(active)
        if active.options.timeout is not None or (active.processor is not None and active.processor.is_timed):
            self._watch(active)

    async def _in_process(self, active: ActiveJob, processor: Processor[Any, Any], job: Job[Any, Any]) -> bytes:
        value = await self._children.run(processor, active.claimed, self._keys, job, lambda: self._begin(active))
        codec.check_size("result", value, MAX_RESULT)
        return value

    async def _in_thread(self, active: ActiveJob, function: Callable[[Job[Any, Any]], Any], job: Job[Any, Any]) -> Any:
        def call(job: Job[Any, Any]) -> Any:
            active.thread = threading.get_ident()
            return function(job)

        running = asyncio.ensure_future(self._threads.run(call, thread_job(job)))
        while True:
            try:
                result = await asyncio.shield(running)
                break
            except asyncio.CancelledError:
                # A thread cannot be stopped: a lost or cancelled job has its grace time to return.
                if (active.stop_reason is not StopReason.LOST and active.stop_error is None) or running.cancelled():
                    running.cancel()
                    raise
        return await result if inspect.isawaitable(result) else result

    # -- classifying a failure -----------------------------------------------------------------------------------------

    def _verdict(self, active: ActiveJob, error: BaseException) -> Failure:
        """What a run came to that raised `error`, or asked for another one."""
        if isinstance(error, Snooze):
            return Delayed(error.delay)
        if isinstance(error, RateLimited):
            try:
                return limited_outcome(error)
            except InvalidOption as problem:
                error = problem
        active.error = error
        # The bare reason of a timeout: `Job.result` recognises it.
        reason = (
            active.stop_error.reason
            if active.stop_error is not None and error is active.stop_error
            else error_text.message(error)
        )
        name = error_text.error_name(error)
        limit = active.options.stack_trace_limit
        stack = error_text.appended(active.claimed.stacktrace, error_text.trace(error), limit)
        try:
            delay = self._delay(active, error)
        except Exception as problem:
            return Failed(error_text.cut(f"{reason} (no retry: {problem})", error_text.MAX_MESSAGE), stack, name)
        return Failed(reason, stack, name) if delay is None else Retrying(delay, reason, stack, name)

    def _delay(self, active: ActiveJob, error: BaseException) -> int | None:
        """Milliseconds until the next attempt; None if there is none."""
        made = active.claimed.attempts_made + 1
        if made >= active.attempts or _is_final(error, active.processor, made):
            return None
        if isinstance(error, Retry) and error.delay is not None:
            return duration_ms("Retry.delay", error.delay)
        backoff = active.options.backoff or (active.processor.backoff if active.processor else None)
        if backoff is None or backoff.type in BUILT_IN:
            return delay_before_retry(backoff, made)
        strategy = self._backoffs.get(backoff.type)
        if strategy is None:
            known = ", ".join((*BUILT_IN, *self._backoffs))
            raise InvalidOption(f"backoff {backoff.type!r} is unknown to this worker, which has {known}")
        wait = strategy(made, error)
        return None if wait == -1 else duration_ms(f"backoff {backoff.type!r}", wait)


def _encoded(result: Any) -> bytes:
    value = codec.encode("result", result)
    codec.check_size("result", value, MAX_RESULT)
    return value


def _is_final(error: BaseException, processor: Processor[Any, Any] | None, attempt: int) -> bool:
    """Whether no further attempt may follow. For an error of a child process, that process has decided."""
    if isinstance(error, error_text.ErrorElsewhere):
        return error.final
    return processor is not None and processor.gives_up(error, attempt)


def _was_cut_short(active: ActiveJob, error: BaseException) -> bool:
    """Whether the run was cancelled from outside; else the processor raised CancelledError by itself."""
    if active.stop_reason is not None:
        return True
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


class _ProgressJob(Job[Any, Any]):
    """A job that also emits its progress to the worker's listeners."""

    __slots__ = ("_listeners",)

    _listeners: Listeners

    @classmethod
    def of(cls, job: Job[Any, Any], listeners: Listeners) -> _ProgressJob:
        twin = cls.__new__(cls)
        for name in Job.__slots__:
            setattr(twin, name, getattr(job, name))
        twin._listeners = listeners
        return twin

    async def update_progress(self, value: Any) -> None:
        await super().update_progress(value)
        self._listeners.emit("progress", self, value)
