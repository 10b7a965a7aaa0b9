"""Runs one claimed job and says what it came to: an Outcome, which others write.

It asks Redis nothing itself; for a run of a schedule and for a job that may expire it waits for those who do.
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
from engine.model import codec
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
from engine.worker import error_text
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
_ASKED = (Retry, RateLimited)
"""What a processor may return instead of raising it."""


class Routes:
    """Which processor takes which job: by the job's name. One without a name takes every name, and is alone."""

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
    """Steps of a run: refuse what cannot run, decode, call, encode; and judge what was raised."""

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

    async def run(self, hold: ActiveJob) -> Outcome:
        refused = self._prepare(hold)
        try:
            # Before all that can end it: the next run of its schedule depends on this one.
            if hold.claimed.id.startswith(RUN) and (instead := await self._scheduling.admit(hold.claimed)) is not None:
                hold.result = codec.decode("result", instead.value) if isinstance(instead, Completed) else None
                return instead
            if refused is not None:
                return Failed(error_text.cut(refused, error_text.MAX_MESSAGE), hold.claimed.stacktrace, "NotRun")
            outcome = await self._call(hold)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit of a processor must not end the worker
            hold.untime()
            if hold.stop is not None:
                if error is not hold.stop:
                    hold.stop.__cause__ = error  # its stack tells where the run was
                return self.stopped(hold)
            if isinstance(error, WaitForChildren):
                return self._waiting(hold)
            return Released() if _was_cut_short(hold, error) else self._verdict(hold, error)
        if hold.timers is not None:  # told to stop or not, it was timed
            hold.untime()
            if hold.stop is not None:
                # Whatever it came to: who told it to stop may have acted on that.
                return self.stopped(hold)
        return outcome

    def stopped(self, hold: ActiveJob) -> Failed | Retrying | Delayed | Limited:
        """What a run comes to that was told to stop, whether it has ended or not."""
        stop = hold.stop
        assert stop is not None
        if isinstance(stop, JobTimeout):
            return self._verdict(hold, stop)
        if hold.handle is None:
            self._prepare(hold)  # it never ran
        hold.error = stop
        stack = error_text.appended(hold.claimed.stacktrace, error_text.trace(stop), hold.options.stack_trace_limit)
        return Failed(stop.reason, stack, error_text.error_name(stop))

    def pending(self, hold: ActiveJob) -> Outcome:
        """What a run comes to that ended with children not done, which were added while it ran: a failed attempt, as in BullMQ."""
        reason = "children that were added while it ran are not done; raise WaitForChildren to wait for them"
        return self._verdict(hold, WrongState(f"Job {hold.claimed.id} has pending dependencies: {reason}"))

    def _prepare(self, hold: ActiveJob) -> str | None:
        """Find options, processor and data; why the job cannot run, if so."""
        claimed = hold.claimed
        try:
            hold.options, broken = read_options(claimed.opts), None
        except (ValueError, RecursionError) as error:
            hold.options, broken = NO_OPTIONS, f"the job's options cannot be read: {error}"
        hold.processor = processor = self._routes.find(claimed.name)
        refused = claimed.deferred_failure or claimed.broken or broken
        if refused is None and processor is None:
            refused = f"no processor takes {claimed.name!r} here; this worker has {self._routes}"
        try:
            data = plain_value(claimed.data) if processor is None else processor.decode(claimed.data)
        except ValueError as error:
            # Bad data does not get better by trying again.
            data, refused = plain_value(claimed.data), refused or str(error)
        hold.handle = claimed_job(self._link, self._keys, claimed, data, hold.options)
        return refused

    async def _call(self, hold: ActiveJob) -> Outcome:
        processor, job = hold.processor, hold.handle
        assert processor is not None
        assert job is not None
        if self._listeners.has("progress"):
            hold.handle = job = _TellingJob.of(job, self._listeners)
        if hold.options.expires_in is not None:
            await check_expiry(self._link, self._keys, hold)
        if not self._is_plain:
            result = await self._hooked(hold, processor, job)
        elif processor.run_in == "process":
            value = await self._in_process(hold, processor, job)
            hold.result = codec.decode("result", value)
            return Completed(value)
        else:
            self._begin(hold)
            if processor.run_in == "loop":
                result = await processor.function(job)
            else:
                result = await self._in_thread(hold, processor.function, job)
        if isinstance(result, _ASKED):
            return self._verdict(hold, result)
        hold.result = result
        if job._gathered is not None:
            return CompletedAdding(_encoded(result), job._gathered.rows(None))
        if result is None:
            return _NOTHING
        return Completed(_encoded(result))

    def _waiting(self, hold: ActiveJob) -> Outcome:
        """The job waits, with the children that it gathered."""
        gathered = hold.handle._gathered if hold.handle is not None else None
        try:
            return WaitingChildren(gathered.rows(hold.claimed.id) if gathered else ())
        except Exception as error:  # data of a child was changed since
            return self._verdict(hold, error)

    async def _hooked(self, hold: ActiveJob, processor: Processor[Any, Any], job: Job[Any, Any]) -> Any:
        """The result of a job that runs in a batch or has middleware around it."""
        if processor.batch is None and processor.run_in != "process":
            self._begin(hold)
        return await around(self._middleware, functools.partial(self._innermost, hold, processor))(job)

    async def _innermost(self, hold: ActiveJob, processor: Processor[Any, Any], job: Job[Any, Any]) -> Any:
        if processor.batch is not None:
            return await self._batches.join(hold, job)
        if processor.run_in == "process":
            return codec.decode("result", await self._in_process(hold, processor, job))
        if processor.run_in == "loop":
            return await processor.function(job)
        return await self._in_thread(hold, processor.function, job)

    def _begin(self, hold: ActiveJob) -> None:
        hold.started = True
        self._reports.started(hold)
        if hold.options.timeout is not None or (hold.processor is not None and hold.processor.is_timed):
            self._watch(hold)

    async def _in_process(self, hold: ActiveJob, processor: Processor[Any, Any], job: Job[Any, Any]) -> bytes:
        value = await self._children.run(processor, hold.claimed, self._keys, job, lambda: self._begin(hold))
        codec.check_size("result", value, MAX_RESULT)
        return value

    async def _in_thread(self, hold: ActiveJob, function: Callable[[Job[Any, Any]], Any], job: Job[Any, Any]) -> Any:
        def call(job: Job[Any, Any]) -> Any:
            hold.thread = threading.get_ident()
            return function(job)

        running = asyncio.ensure_future(self._threads.run(call, thread_job(job)))
        while True:
            try:
                result = await asyncio.shield(running)
                break
            except asyncio.CancelledError:
                # A thread cannot be stopped, only told: one that is lost or told has its grace to return in.
                if (hold.why is not StopReason.LOST and hold.stop is None) or running.cancelled():
                    running.cancel()
                    raise
        return await result if inspect.isawaitable(result) else result

    # -- judging a failure -----------------------------------------------------------------------------------------

    def _verdict(self, hold: ActiveJob, error: BaseException) -> Failed | Retrying | Delayed | Limited:
        """What a run came to that raised `error`, or asked for another one."""
        if isinstance(error, Snooze):
            return Delayed(error.delay)
        if isinstance(error, RateLimited):
            try:
                return limited_outcome(error)
            except InvalidOption as problem:
                error = problem
        hold.error = error
        # The bare reason of a timeout: who waits for the job recognises it.
        reason = hold.stop.reason if hold.stop is not None and error is hold.stop else error_text.message(error)
        name = error_text.error_name(error)
        limit = hold.options.stack_trace_limit
        stack = error_text.appended(hold.claimed.stacktrace, error_text.trace(error), limit)
        try:
            delay = self._delay(hold, error)
        except Exception as problem:
            return Failed(error_text.cut(f"{reason} (no retry: {problem})", error_text.MAX_MESSAGE), stack, name)
        return Failed(reason, stack, name) if delay is None else Retrying(delay, reason, stack, name)

    def _delay(self, hold: ActiveJob, error: BaseException) -> int | None:
        """Milliseconds until the next attempt; None if there is none."""
        made = hold.claimed.attempts_made + 1
        if made >= hold.attempts or _is_final(error, hold.processor, made):
            return None
        if isinstance(error, Retry) and error.delay is not None:
            return duration_ms("Retry.delay", error.delay)
        backoff = hold.options.backoff or (hold.processor.backoff if hold.processor else None)
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
    """Whether no further attempt may follow, however many are left. The process that has the error itself has decided."""
    if isinstance(error, error_text.ErrorElsewhere):
        return error.final
    return processor is not None and processor.gives_up(error, attempt)


def _was_cut_short(hold: ActiveJob, error: BaseException) -> bool:
    """Whether the run was cancelled from outside; else the processor raised CancelledError by itself."""
    if hold.why is not None:
        return True
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


class _TellingJob(Job[Any, Any]):
    """A job whose progress is told to the worker's listeners too."""

    __slots__ = ("_listeners",)

    _listeners: Listeners

    @classmethod
    def of(cls, job: Job[Any, Any], listeners: Listeners) -> _TellingJob:
        twin = cls.__new__(cls)
        for name in Job.__slots__:
            setattr(twin, name, getattr(job, name))
        twin._listeners = listeners
        return twin

    async def update_progress(self, value: Any) -> None:
        await super().update_progress(value)
        self._listeners.tell("progress", self, value)
