"""The worker: its options, how its parts are wired, the order in which they start and stop. No more than that."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from enum import Enum
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from engine.connection import Connection, RedisPyLink, RedisSettings, open_link
from engine.errors import InvalidOption, ServerUnfit
from engine.metrics import MAX_METRICS
from engine.middleware import AroundRun, check_middleware
from engine.model import wire
from engine.model.backoff import BUILT_IN, Strategy, check_strategy_name
from engine.model.checks import whole_number
from engine.model.clock import duration_ms, duration_s, monotonic
from engine.model.codec import check_type
from engine.model.keys import Keys
from engine.model.limits import RateLimit, worker_limit
from engine.model.options import Keep
from engine.model.records import Released
from engine.processor import BaseProcessor, Processor, as_processor
from engine.scripting.loader import Script, all_scripts, guard, loading
from engine.scripting.rows import Refusals
from engine.worker.active_jobs import ActiveJob, ActiveJobs, StopReason
from engine.worker.dependencies import Dependencies
from engine.worker.listeners import Event, Listener, Listeners
from engine.worker.loops.cancellations import Cancellations
from engine.worker.loops.dead_letter_alert import DeadLetterWatch, Tell, check_alert, check_kept
from engine.worker.loops.deadlines import Deadlines
from engine.worker.loops.loop_monitor import LoopMonitor
from engine.worker.loops.renewer import Renewer
from engine.worker.loops.scheduling import Scheduling
from engine.worker.loops.server_check import ServerCheck
from engine.worker.loops.stalled_checker import StalledChecker
from engine.worker.loops.wake import Wake
from engine.worker.outbox import Outbox
from engine.worker.reports import Counters, Reports
from engine.worker.run_in.children import Children, reference
from engine.worker.run_in.threads import Threads
from engine.worker.runner import Routes, Runner
from engine.worker.slots import Slots
from engine.worker.turns import Turns

MAX_CONCURRENCY = 100_000
CANCEL_GRACE = 1.0
"""Seconds that cancelled handlers have to end."""
FLUSH_GRACE = 5.0
"""Seconds that Redis has to take the last outcomes."""
_NAMED = 20
"""Jobs that a message names at most."""
HURRY = 0.5
"""Seconds for each of the two when the worker was told to stop now."""

UNFIT_GRACE = 30.0
"""Seconds that running jobs have when the server is found unfit after a reconnect, as at `close`."""

logger = logging.getLogger("engine.worker")


class RunningJob(Struct, frozen=True):
    """A job that a worker runs now. `since`: monotonic seconds at its claim."""

    id: str
    name: str
    since: float
    run_in: str
    lost: bool = False
    """Another claim has the job: it was cancelled and has not ended yet."""


class Phase(Enum):
    """The life of a worker; it runs once."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Worker:
    """Takes jobs of one queue and runs them, `concurrency` at once. `await worker.run()` returns when it was closed.

    queue_name, prefix, redis: which queue, where; `redis` is an address or RedisSettings, None asks the environment.
    concurrency: jobs at once; may be set while the worker runs.
    processors: what does the jobs, chosen by the job's name. One without a name, alone in its worker, takes every name.
    name: shown as having processed a job, and among a queue's workers; host and pid without one.
    lock_duration: ms that a job stays this worker's without a word from it; renewed every `lock_renew` (a third).
    stalled_interval: ms between searches for jobs of dead workers, at most; one found more than `max_stalled` times fails. How
    soon: docs/stalled-jobs.md.
    remove_on_complete, remove_on_fail: what is kept of finished jobs that say nothing; all without.
    dead_letters: what is kept of dead letters, apart from the jobs: a count, Keep(count=, age=), or False for
    none; the newest 10,000 of 90 days without. dead_letter_alert: (threshold, function): the function is called with a
    DeadLetterAlert each time their number has come to be above the threshold, by one of the queue's workers.
    metrics: minutes for which finished jobs are counted, 1,440 for a day; None counts nothing. See `Queue.metrics`.
    backoffs: the queue's own backoff strategies, by name. drain_delay: ms after which an idle worker looks unasked.
    limiter: {"max": jobs, "duration": ms}, how many jobs may start in some time on all workers of the queue that have this
    limit; a `max` that the queue itself has goes before it, see docs/limits.md.
    processes: child processes for run_in="process", started when they are needed; as many as processors of the machine without.
    cancel_grace: ms that a handler has to end after its job was cancelled, timed out or lost; then its slot is freed.
    allow, require_durable: which servers are accepted, see `check_server`; checked again after each reconnect.
    middleware: stands around the run of every job, the first outermost; see AroundRun.
    dependencies: what processors take beside the job, found by type: instances, or functions `async def pool() ->
    AsyncIterator[Pool]` that yield one. Opened before the first job is taken, closed after the last.

    Listeners, by `on`: active(job), progress(job, value), completed(job, result), failed(job, error), the last after
    each failed attempt; stalled(job_id), error(exception); drained(), when no job is in line and this worker has a free slot,
    once after it took jobs: some may still run, and delayed ones may follow. The job of failed has its data also where it
    never ran, such as one that no processor takes.
    Raises InvalidOption, InvalidName or InvalidInput at once.
    """

    def __init__(
        self,
        queue_name: str,
        *processors: Processor[Any, Any] | BaseProcessor[Any, Any] | Callable[..., Any],
        redis: str | RedisSettings | None = None,
        prefix: str = wire.DEFAULT_PREFIX,
        concurrency: int = 5,
        name: str | None = None,
        lock_duration: int | timedelta = 15_000,
        lock_renew: int | timedelta | None = None,
        stalled_interval: int | timedelta = 5_000,
        max_stalled: int = 1,
        remove_on_complete: Any = None,
        remove_on_fail: Any = None,
        dead_letters: Any = None,
        dead_letter_alert: tuple[int, Tell] | None = None,
        metrics: int | None = None,
        backoffs: Mapping[str, Strategy] | None = None,
        drain_delay: int | timedelta = 5_000,
        limiter: Mapping[str, Any] | RateLimit | None = None,
        processes: int | None = None,
        cancel_grace: int | timedelta = 5_000,
        allow: frozenset[str] = frozenset(),
        require_durable: bool = False,
        middleware: Sequence[AroundRun] | None = None,
        dependencies: Sequence[Any] | None = None,
    ) -> None:
        self._keys = Keys(queue_name, prefix)
        self._settings = RedisSettings.parse(redis)
        self._concurrency = _count("concurrency", concurrency, 1, MAX_CONCURRENCY)
        self._lock_ms = _milliseconds("lock_duration", lock_duration, 100, 3_600_000)
        renew = self._lock_ms // 3 if lock_renew is None else lock_renew
        self._renew_ms = _milliseconds("lock_renew", renew, 10, self._lock_ms - 1)
        self._stalled_ms = _milliseconds("stalled_interval", stalled_interval, 100, 3_600_000)
        self._max_stalled = _count("max_stalled", max_stalled, 0, 1_000_000)
        self._drain_ms = _milliseconds("drain_delay", drain_delay, 10, 60_000)
        self._keep_completed = _keep("remove_on_complete", remove_on_complete)
        self._keep_failed = _keep("remove_on_fail", remove_on_fail)
        self._letters = check_kept(dead_letters)
        self._letter_alert = check_alert(dead_letter_alert)
        self._metrics = "" if metrics is None else _count("metrics", metrics, 1, MAX_METRICS)
        self._backoffs = _strategies(backoffs or {})
        self._limiter = worker_limit(limiter)
        self._processes = (os.cpu_count() or 1) if processes is None else _count("processes", processes, 1, 1_000)
        self._cancel_grace = _milliseconds("cancel_grace", cancel_grace, 10, 3_600_000)
        self._allow = frozenset(allow)
        self._require_durable = require_durable
        self._processors = _checked(processors, queue_name, self._concurrency, self._backoffs)
        self._dependencies = Dependencies(dependencies, self._processors)
        self._middleware = check_middleware(middleware)
        self.queue_name = queue_name
        self.name = f"{socket.gethostname()}-{os.getpid()}" if name is None else _name(name)
        self.ready = asyncio.Event()
        """Set once the worker takes jobs."""
        self._listeners = Listeners()
        self._reports = Reports(self._listeners)
        self._phase = Phase.NEW
        self._holds = ActiveJobs()
        self._crew: Slots | None = None
        self._turns: Turns | None = None
        self._outbox: Outbox | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop_asked = asyncio.Event()
        self._stopped = asyncio.Event()
        self._changed = asyncio.Event()
        self._grace_ends = float("inf")
        self._hurried = False
        self._left_behind: list[ActiveJob] = []
        self._unfit: ServerUnfit | None = None

    def __repr__(self) -> str:
        running = f", {len(self._crew.running)} of {self._concurrency} slots" if self._crew else ""
        return f"<Worker {self.name} of {self.queue_name} {self._phase.value}{running}>"

    @property
    def concurrency(self) -> int:
        """Jobs that run at once. May be set while the worker runs, on its event loop: with more, further jobs start at once;
        with fewer, those that run go on, and none starts before enough of them have ended. Raises InvalidOption.
        """
        return self._concurrency

    @concurrency.setter
    def concurrency(self, value: int) -> None:
        checked = _count("concurrency", value, 1, MAX_CONCURRENCY)
        _check_batches(self._processors, self.queue_name, checked)
        self._concurrency = checked
        if self._crew is not None and self._turns is not None:
            self._crew.concurrency = checked
            self._turns.resize(checked)

    @property
    def counters(self) -> Counters:
        if self._turns is not None:
            self._reports.counters.turns = self._turns.count
        return self._reports.counters

    @property
    def last_turn(self) -> float | None:
        """Monotonic seconds of the last answer to a turn; an idle worker has one at least every `drain_delay`."""
        return self._turns.last if self._turns else None

    @property
    def left_behind(self) -> list[str]:
        """Once closed: ids of jobs that Redis did not take back. Another worker runs them again when their locks end."""
        return [hold.claimed.id for hold in self._left_behind]

    def running_jobs(self) -> list[RunningJob]:
        """The jobs that are run now, the longest running first."""
        holds = sorted(self._crew.running, key=lambda hold: hold.number) if self._crew else []
        return [_running(hold) for hold in holds]

    def abandoned_jobs(self) -> list[RunningJob]:
        """Runs that did not end within `cancel_grace` of being told, and still go on; what they come to is dropped."""
        return [_running(hold) for hold in sorted(self._crew.abandoned, key=_number)] if self._crew else []

    def on(self, event: Event, listener: Listener) -> Listener:
        """Call `listener` at each event; a coroutine function runs as a task. What it raises is logged."""
        self._listeners.add(event, listener)
        return listener

    # -- starting --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take and run jobs until `close` or `stop_now`.

        Raises ConnectFailed if Redis is not there at the start; later outages are lived through. Raises ServerUnfit for
        a server on which jobs would not be safe: at the start, and when Redis has come back with other settings, after the
        running jobs had 30 s to finish. If this is cancelled the worker stops at once.
        """
        if self._phase is not Phase.NEW:
            raise InvalidOption(f"{self!r} has been run before; make a new Worker")
        if self._stop_asked.is_set():
            self._end()
            return
        self._phase = Phase.STARTING
        try:
            async with AsyncExitStack() as stack:
                await self._work(stack)
        finally:
            self._end()

    def _end(self) -> None:
        self._phase = Phase.STOPPED
        self._stopped.set()

    async def _work(self, stack: AsyncExitStack) -> None:
        """Wire the parts and start them, sinks first: what takes is there before what gives. The stack stops them in
        reverse, after `_drain` has emptied them from the source on:

        link -> dependencies -> outbox -> threads, children -> runner -> crew -> turns -> pulse, renewer, cancels
        -> sweeper, scheduling -> wake
        """
        keys, reports, report = self._keys, self._reports, self._reports.trouble
        link = await self._open(
            stack, f"corral:{self.queue_name}:{self.name}", loading(*(script.name for script in _scripts()))
        )
        check = ServerCheck(
            link,
            allow=self._allow,
            require_durable=self._require_durable,
            commands=_commands(),
            keys=[keys.meta, keys.wait, keys.active],
            unfit=self._stop_unfit,
        )
        await check.start()
        stack.push_async_callback(check.stop)
        await guard(link, keys)
        line = await self._open(stack, keys.client_name(f":w:{self.name}"))
        bound = await self._dependencies.open(stack)

        stack.push_async_callback(self._listeners.done, HURRY)
        outbox = Outbox(
            link,
            keys,
            self._keep_failed,
            self._keep_completed,
            lambda hold: turns.put(hold),
            self._settled,
            report,
            lambda hold: runner.pending(hold),
            letters=self._letters,
            metrics=self._metrics,
        )
        stack.push_async_callback(outbox.close)
        threads = Threads(f"{self.queue_name} job")
        stack.callback(threads.stop)
        children = Children(self._processes)
        stack.push_async_callback(children.stop)
        scheduling = Scheduling(link, keys, interval_ms=self._stalled_ms, report=report)
        runner = Runner(
            Routes([bound(processor) for processor in self._processors]),
            link,
            keys,
            threads=threads,
            children=children,
            backoffs=self._backoffs,
            listeners=self._listeners,
            reports=reports,
            watch=lambda hold: deadlines.watch(hold),
            middleware=self._middleware,
            scheduling=scheduling,
        )
        grace = self._cancel_grace / 1000
        crew = Slots(runner, self._holds, outbox, reports, self._concurrency, grace, lambda: turns.pump())
        deadlines = Deadlines(crew.stop)
        turns = Turns(
            link,
            keys,
            worker_id=secrets.token_hex(8),
            name=self.name,
            lock_ms=self._lock_ms,
            concurrency=self._concurrency,
            keep=self._keep_completed,
            metrics=self._metrics,
            own=self._limiter,
            free=crew.free,
            start=crew.start,
            settled=self._settled,
            due=lambda next_due: wake.due(next_due),
            closed=lambda wait: wake.closed(wait),
            report=report,
            drained=reports.drained,
            changed=self._changed.set,
        )
        stack.push_async_callback(turns.close)
        stack.callback(crew.cancel)
        self._crew, self._turns, self._outbox = crew, turns, outbox
        pulse = LoopMonitor(self._on_the_loop)
        pulse.start()
        stack.callback(pulse.stop)
        renewer = Renewer(
            link.settings,
            keys,
            self._holds,
            pulse,
            name=f"corral:{self.queue_name}:{self.name}",
            lock_ms=self._lock_ms,
            every_ms=self._renew_ms,
            lost=crew.lose,
            report=report,
        )
        renewer.start()
        stack.push_async_callback(renewer.stop)
        cancels = Cancellations(link, keys, self._holds, crew.stop, report)
        cancels.start()
        stack.push_async_callback(cancels.stop)
        sweeper = StalledChecker(
            link,
            keys,
            interval_ms=self._stalled_ms,
            lock_ms=self._lock_ms,
            renew_ms=self._renew_ms,
            max_stalls=self._max_stalled,
            stalled=reports.stalled,
            report=report,
        )
        sweeper.start()
        scheduling.start()
        stack.push_async_callback(scheduling.stop)
        if self._letter_alert is not None:
            watch = DeadLetterWatch(link, keys, *self._letter_alert, every=self._stalled_ms / 1000, report=report)
            watch.start()
            stack.push_async_callback(watch.stop)
        wake = Wake(line, link, keys, turns, crew.free, self._drain_ms / 1000, report)
        wake.start()

        self._phase = Phase.RUNNING
        self.ready.set()
        turns.look()
        try:
            await self._stop_asked.wait()
        except asyncio.CancelledError:
            self._hurry()
            raise
        finally:
            self._phase = Phase.STOPPING
            await wake.stop()
            await sweeper.stop()
            await self._drain(crew, turns, outbox)
        if self._unfit is not None:
            raise self._unfit

    async def _open(
        self, stack: AsyncExitStack, name: str, prelude: Sequence[tuple[str, ...]] = ()
    ) -> Connection | RedisPyLink:
        link = await open_link(self._settings, name=name, prelude=prelude)
        stack.push_async_callback(link.close)
        return link

    def _settled(self, holds: Sequence[ActiveJob], refused: Refusals) -> None:
        if refused and self._outbox is not None:
            holds, refused = self._outbox.fail_instead(holds, refused)
        self._holds.drop(holds)
        if self._turns is not None:
            self._turns.pump()
        self._reports.settled(holds, refused)
        self._changed.set()

    def _on_the_loop(self) -> list[str]:
        """The jobs that may have blocked the loop: those that just ended, and those that run on it."""
        ended = [f"{job.name} job {job.id}" for job in reversed(self._crew.ended)] if self._crew else []
        return ended + [f"{job.name} job {job.id}" for job in self.running_jobs() if job.run_in == "loop"]

    # -- stopping --------------------------------------------------------------------------------------------------

    async def close(self, timeout: int | timedelta = 30_000) -> None:
        """Take no more jobs, let those that run finish within `timeout` (ms or timedelta), cancel and release the rest.

        A released job goes back to the front of the line and uses no attempt. Returns when all is done; may be called
        again, also with a shorter timeout.
        """
        self._grace_ends = min(self._grace_ends, monotonic() + duration_s("timeout", timeout))
        self._ask_to_stop()
        if self._phase is not Phase.NEW:
            await self._stopped.wait()

    async def stop_now(self) -> None:
        """Cancel what runs and release what is possible in one second."""
        self._hurry()
        self._ask_to_stop()
        if self._phase is not Phase.NEW:
            await self._stopped.wait()

    def _hurry(self) -> None:
        self._hurried = True
        self._grace_ends = monotonic()
        self._changed.set()

    def _stop_unfit(self, error: ServerUnfit) -> None:
        """Take no more jobs; what runs may finish and be acknowledged, then `run` raises the error."""
        if self._unfit is None and not self._stop_asked.is_set():
            self._unfit = error
            logger.error("%s takes no more jobs, those that run have %g s to finish: %s", self.name, UNFIT_GRACE, error)
            self._listeners.tell("error", error)
            self._grace_ends = min(self._grace_ends, monotonic() + UNFIT_GRACE)
            self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        self._stop_asked.set()
        self._changed.set()

    async def _drain(self, crew: Slots, turns: Turns, outbox: Outbox) -> None:
        """Empty the parts from the source on, so that no job and no outcome is left in between."""
        turns.stop_claiming()
        crew.close()
        outbox.wake()
        # Released jobs go back in one call, in their old order; a claim on the way may bring more of them.
        await self._until(lambda: not turns.claims_on_the_way, self._grace)
        crew.release_unstarted()
        await self._until(lambda: not crew.running, self._grace)
        crew.cancel()
        cancelled = monotonic()
        await self._until(lambda: not crew.running, lambda: cancelled + (HURRY if self._hurried else CANCEL_GRACE))
        for hold in list(crew.running):
            logger.warning("%s job %s does not end when cancelled; it is released", hold.claimed.name, hold.claimed.id)
            crew.give_up(hold)
        crew.release_unstarted()
        flushing = monotonic()
        await self._until(lambda: not len(self._holds), lambda: flushing + (HURRY if self._hurried else FLUSH_GRACE))
        self._left_behind = self._holds.all()
        if self._left_behind:
            self._say_left_behind()

    def _say_left_behind(self) -> None:
        ids = self.left_behind
        ended = sum(not isinstance(hold.outcome, Released) for hold in self._left_behind)
        logger.error(
            "%d jobs of %s could not be handed back to Redis, which does not answer: %s%s. Another worker takes them over when their "
            "locks end, in at most %g s, and runs them again%s",
            len(ids),
            self.queue_name,
            ", ".join(ids[:_NAMED]),
            f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "",
            self._lock_ms / 1000,
            f", also the {ended} whose run had ended, unless their outcome reached Redis" if ended else "",
        )

    def _grace(self) -> float:
        return self._grace_ends

    async def _until(self, done: Callable[[], bool], ends: Callable[[], float]) -> None:
        """Wait until `done`, or until the moment that `ends` gives, which may come nearer meanwhile."""
        while not done():
            self._changed.clear()
            left = ends() - monotonic()
            if left <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), None if left == float("inf") else left)

    async def __aenter__(self) -> Self:
        """Run in the background until the block ends."""
        self._task = asyncio.get_running_loop().create_task(self.run(), name=f"worker {self.name}")
        ready = asyncio.ensure_future(self.ready.wait())
        await asyncio.wait([self._task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        if self._task is not None:
            await self._task


def _running(hold: ActiveJob) -> RunningJob:
    run_in = hold.processor.run_in if hold.processor else "loop"
    return RunningJob(hold.claimed.id, hold.claimed.name, hold.since, run_in, hold.why is StopReason.LOST)


def _number(hold: ActiveJob) -> int:
    return hold.number


def _checked(
    given: Sequence[Any], queue_name: str, concurrency: int, backoffs: Mapping[str, Strategy]
) -> list[Processor[Any, Any]]:
    """The processors of what was given. Raises InvalidInput or InvalidOption for what this worker could not run."""
    if not given:
        raise InvalidOption(
            "processors: none was given; a worker needs at least one, such as Worker('sms-queue', send_sms)"
        )
    processors = [as_processor(one) for one in given]
    for processor in processors:
        check_type(f"data of {processor!r}", processor.data_type)
        check_type(f"result of {processor!r}", processor.result_type, decodes=False)
        if processor.run_in == "process":
            reference(processor)
        backoff = processor.backoff
        if backoff is not None and backoff.type not in BUILT_IN and backoff.type not in backoffs:
            raise InvalidOption(
                f"backoff: {processor!r} names {backoff.type!r}, which this worker does not have; give"
                f" Worker(..., backoffs={{{backoff.type!r}: function}})"
            )
    _check_batches(processors, queue_name, concurrency)
    Routes(processors)  # raises what a choice by name cannot be
    return processors


def _check_batches(processors: Sequence[Processor[Any, Any]], queue_name: str, concurrency: int) -> None:
    for processor in processors:
        if processor.batch is not None and processor.batch.size > concurrency:
            raise InvalidOption(
                f"concurrency: {processor!r} takes batches of {processor.batch.size} jobs, and a worker of {queue_name} that runs "
                f"{concurrency} at once cannot fill one; give it concurrency={processor.batch.size} or more, or a smaller size"
            )


@functools.cache
def _scripts() -> list[Script]:
    """Those that the worker's modules import, and those that a running job calls by its handle."""
    modules = [module for name, module in sys.modules.items() if name.startswith("engine.worker.")]
    imported = {getattr(value, "__module__", None) for module in modules for value in vars(module).values()}
    return [
        script
        for script in all_scripts()
        if f"engine.scripts.{script.name}" in imported or script.name in ("progress", "log", "update_data")
    ]


@functools.cache
def _commands() -> list[str]:
    """What the worker's scripts call inside, and what it calls itself."""
    called = frozenset[str]().union(*(script.commands for script in _scripts()))
    return sorted(called | {"EVALSHA", "EVAL", "BZPOPMIN", "HGET", "HMGET", "ZRANGE"})


def _count(name: str, value: Any, low: int, high: int) -> int:
    return whole_number(name, value, low, high)


def _milliseconds(name: str, value: int | timedelta, low: int, high: int) -> int:
    ms = duration_ms(name, value)
    if not low <= ms <= high:
        raise InvalidOption(f"{name}: {ms} ms is not between {low:,} and {high:,}; durations are in milliseconds")
    return ms


def _keep(name: str, value: Any) -> Keep:
    return Keep() if value is None else Keep.check(name, value)


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name or len(name) > 128 or not name.isprintable():
        raise InvalidOption(f"name: {name!r} is not printable text of 1 to 128 characters")
    return name


def _strategies(given: Mapping[str, Strategy]) -> dict[str, Strategy]:
    for name, strategy in given.items():
        if name in BUILT_IN:
            raise InvalidOption(f"backoffs: {name!r} is built in; give your own strategy another name")
        check_strategy_name("backoffs", name)
        if not callable(strategy):
            raise InvalidOption(f"backoffs: {name!r} is {strategy!r}; give a function of (attempts_made, error)")
    return dict(given)
