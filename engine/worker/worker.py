"""The worker: its options, how its parts are wired, the order in which they start and stop. No more than that."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from enum import Enum
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from engine import wire
from engine.backoff import BUILT_IN, Strategy
from engine.clock import duration_ms, monotonic
from engine.errors import InvalidOption
from engine.hooks import AroundRun, check_middleware
from engine.keys import Keys
from engine.limits import RateLimit, worker_limit
from engine.link import Connection, RedisPyLink, RedisSettings, check_server, open_link
from engine.measures import MAX_METRICS
from engine.options import Keep
from engine.processor import BaseProcessor, Processor, as_processor
from engine.script import compose, loading
from engine.scripts.rows import Refusals
from engine.worker.cancels import Cancels
from engine.worker.children import Children, reference
from engine.worker.crew import Crew
from engine.worker.deadlines import Deadlines
from engine.worker.dependencies import Dependencies
from engine.worker.hold import Hold, Holds, Why
from engine.worker.lag import Pulse
from engine.worker.letter_watch import LetterWatch, Tell, check_alert, check_kept
from engine.worker.listeners import Event, Listener, Listeners
from engine.worker.outbox import Outbox
from engine.worker.renewer import Renewer
from engine.worker.reports import Counters, Reports
from engine.worker.runner import Routes, Runner
from engine.worker.scheduling import Scheduling
from engine.worker.sweeper import Sweeper
from engine.worker.threads import Threads
from engine.worker.turns import Turns
from engine.worker.wake import Wake

MAX_CONCURRENCY = 100_000
CANCEL_GRACE = 1.0
"""Seconds that cancelled handlers have to end."""
FLUSH_GRACE = 5.0
"""Seconds that Redis has to take the last outcomes."""
HURRY = 0.5
"""Seconds for each of the two when the worker was told to stop now."""

_SCRIPTS = (
    "turn",
    "fail",
    "retry",
    "delay",
    "release",
    "limit",
    "renew",
    "sweep",
    "catch_up",
    "promote",
    "recover",
    "progress",
    "log",
    "update_data",
    "watch_letters",
    "schedules",
    "advance_schedule",
    "stuck_schedules",
)
_CALLED = re.compile(r"redis\.p?call\('([A-Z]+)'")

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
    processors: what does the jobs, chosen by the job's name; one alone takes every name.
    name: shown as having processed a job, and among a queue's workers; host and pid without one.
    lock_duration: ms that a job stays this worker's without a word from it; renewed every `lock_renew` (a third).
    stalled_interval: ms between looks for jobs of dead workers; one found more than `max_stalled` times fails.
    remove_on_complete, remove_on_fail: what is kept of finished jobs that say nothing; all without.
    dead_letters: what is kept of dead letters, apart from the jobs: a count, {"count": n, "age": seconds}, or False for
    none; the newest 10,000 of 90 days without. dead_letter_alert: (threshold, function): the function is called with a
    DeadLetterAlert each time their number has come to be above the threshold, by one of the queue's workers.
    metrics: minutes for which finished jobs are counted, 1,440 for a day; None counts nothing. See `Queue.metrics`.
    backoffs: the queue's own backoff strategies, by name. drain_delay: ms after which an idle worker looks unasked.
    limiter: {"max": jobs, "duration": ms}, how many jobs may start in some time on all workers of the queue that have this
    limit; a `max` that the queue itself has goes before it, see docs/limits.md.
    processes: child processes for run_in="process"; as many as processors of the machine, at most `concurrency`.
    cancel_grace: ms that a handler has to end after its job was cancelled, timed out or lost; then its slot is freed.
    allow, require_durable: which servers are put up with, see `check_server`.
    middleware: stands around the run of every job, the first outermost; see AroundRun.
    dependencies: what processors take beside the job, found by type: instances, or functions `async def pool() ->
    AsyncIterator[Pool]` that yield one. Opened before the first job is taken, closed after the last.

    Listeners, by `on`: active(job), progress(job, value), completed(job, result), failed(job, error), the last after
    each failed attempt; stalled(job_id), error(exception).
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
        most = min(self._concurrency, os.cpu_count() or 1)
        self._processes = most if processes is None else _count("processes", processes, 1, 1_000)
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
        self._holds = Holds()
        self._crew: Crew | None = None
        self._turns: Turns | None = None
        self._outbox: Outbox | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop_asked = asyncio.Event()
        self._stopped = asyncio.Event()
        self._changed = asyncio.Event()
        self._grace_ends = float("inf")
        self._hurried = False

    def __repr__(self) -> str:
        running = f", {len(self._crew.running)} of {self._concurrency} slots" if self._crew else ""
        return f"<Worker {self.name} of {self.queue_name} {self._phase.value}{running}>"

    @property
    def counters(self) -> Counters:
        if self._turns is not None:
            self._reports.counters.turns = self._turns.count
        return self._reports.counters

    @property
    def last_turn(self) -> float | None:
        """Monotonic seconds of the last answer to a turn; an idle worker has one at least every `drain_delay`."""
        return self._turns.last if self._turns else None

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
        a server on which jobs would not be safe. If this is cancelled the worker stops at once.
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
        link = await self._open(stack, f"corral:{self.queue_name}:{self.name}", loading(*_SCRIPTS))
        await self._check(link)
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
        crew = Crew(runner, self._holds, outbox, reports, self._concurrency, grace, lambda: turns.pump())
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
            changed=self._changed.set,
        )
        stack.push_async_callback(turns.close)
        stack.callback(crew.cancel)
        self._crew, self._turns, self._outbox = crew, turns, outbox
        pulse = Pulse(self._on_the_loop)
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
        cancels = Cancels(link, keys, self._holds, crew.stop, report)
        cancels.start()
        stack.push_async_callback(cancels.stop)
        sweeper = Sweeper(
            link,
            keys,
            interval_ms=self._stalled_ms,
            lock_ms=self._lock_ms,
            max_stalls=self._max_stalled,
            stalled=reports.stalled,
            report=report,
        )
        sweeper.start()
        scheduling.start()
        stack.push_async_callback(scheduling.stop)
        if self._letter_alert is not None:
            watch = LetterWatch(link, keys, *self._letter_alert, every=self._stalled_ms / 1000, report=report)
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

    async def _open(
        self, stack: AsyncExitStack, name: str, prelude: Sequence[tuple[str, ...]] = ()
    ) -> Connection | RedisPyLink:
        link = await open_link(self._settings, name=name, prelude=prelude)
        stack.push_async_callback(link.close)
        return link

    async def _check(self, link: Connection | RedisPyLink) -> None:
        warnings = await check_server(
            link, allow=self._allow, require_durable=self._require_durable, commands=_commands()
        )
        for warning in warnings:
            logger.warning("%s", warning)

    def _settled(self, holds: Sequence[Hold], refused: Refusals) -> None:
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

    async def close(self, timeout: float = 30) -> None:
        """Take no more jobs, let those that run finish within `timeout` seconds, cancel and release the rest.

        A released job goes back to the front of the line and uses no attempt. Returns when all is done; may be called
        again, also with a shorter timeout.
        """
        self._grace_ends = min(self._grace_ends, monotonic() + timeout)
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

    def _ask_to_stop(self) -> None:
        self._stop_asked.set()
        self._changed.set()

    async def _drain(self, crew: Crew, turns: Turns, outbox: Outbox) -> None:
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
        if len(self._holds):
            logger.warning(
                "%d jobs could not be handed back to Redis: another worker finds them when their locks end",
                len(self._holds),
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


def _running(hold: Hold) -> RunningJob:
    run_in = hold.processor.run_in if hold.processor else "loop"
    return RunningJob(hold.claimed.id, hold.claimed.name, hold.since, run_in, hold.why is Why.LOST)


def _number(hold: Hold) -> int:
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
        if processor.run_in == "process":
            reference(processor)
        backoff = processor.backoff
        if backoff is not None and backoff.type not in BUILT_IN and backoff.type not in backoffs:
            raise InvalidOption(
                f"backoff: {processor!r} names {backoff.type!r}, which this worker does not have; give"
                f" Worker(..., backoffs={{{backoff.type!r}: function}})"
            )
        if processor.batch is not None and processor.batch.size > concurrency:
            raise InvalidOption(
                f"concurrency: {processor!r} takes batches of {processor.batch.size} jobs, and a worker of {queue_name} that runs "
                f"{concurrency} at once cannot fill one; give it concurrency={processor.batch.size} or more, or a smaller size"
            )
    Routes(processors)  # raises what a choice by name cannot be
    return processors


@functools.cache
def _commands() -> list[str]:
    """What the worker's scripts call inside, and what it calls itself."""
    called = {command for name in _SCRIPTS for command in _CALLED.findall(compose(name))}
    return sorted(called | {"EVALSHA", "EVAL", "BZPOPMIN", "RPUSH", "LPUSH", "HGET", "HMGET", "ZRANGE"})


def _count(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidOption(f"{name}: {value!r} is not a whole number between {low:,} and {high:,}")
    return value


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
        if not callable(strategy):
            raise InvalidOption(f"backoffs: {name!r} is {strategy!r}; give a function of (attempts_made, error)")
    return dict(given)
