"""The worker: claims jobs of one queue and runs them. Its parts are in runtime.py, its parameters in options.py."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from datetime import timedelta
from enum import Enum
from logging import getLogger
from types import TracebackType
from typing import Any, Self

from msgspec import Struct, structs

from engine.connection import Connection, RedisPyLink, RedisSettings, open_link
from engine.errors import InvalidOption
from engine.middleware import AroundRun
from engine.model import wire
from engine.model.backoff import Strategy
from engine.model.clock import duration_s
from engine.model.limits import RateLimit
from engine.processor import BaseProcessor, Processor, worker_name
from engine.worker.active_jobs import ActiveJob, StopReason
from engine.worker.listeners import Event, Listener, Listeners
from engine.worker.loops.dead_letter_alert import Alert
from engine.worker.options import WorkerOptions
from engine.worker.reports import Counters, Reports
from engine.worker.runtime import Runtime, StopRequest
from engine.worker.shared import SharedParts
from engine.worker.signals import stop_on_signals

CLOSE_TIMEOUT = 30_000
"""Milliseconds that running jobs have to finish after `close` or a first signal."""

logger = getLogger("engine.worker")


class RunningJob(Struct, frozen=True):
    """A job that a worker runs now. `since`: monotonic seconds at its claim."""

    id: str
    name: str
    since: float
    run_in: str
    lost: bool = False
    """Another claim has the job: its run is cancelled and has not ended yet."""


class Phase(Enum):
    """The life of a worker; it runs once."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Worker:
    """Claims jobs of one queue and runs up to `concurrency` of them at once. `await worker.run()` returns after `close`.

    queue_name, prefix, redis: which queue, where. `redis` is an address or RedisSettings; None reads the environment.
    concurrency: jobs at once; may be set while the worker runs.
    processors: what runs the jobs, chosen by the job's name. One without a name takes every name, and is the only one.
    name: the job's `processedBy`, and the name among a queue's workers. Default: host and pid.
    lock_duration: ms after which a job whose lock was not renewed counts as stalled. lock_renew: ms between renewals, by
    default a third of it.
    stalled_interval: ms between checks for stalled jobs, at most. A job that stalls more than `max_stalled` times fails. How
    soon a job is recovered: docs/stalled-jobs.md.
    remove_on_complete, remove_on_fail: retention of finished jobs that have no such option of their own. Default: all are kept.
    dead_letters: retention of dead letters, which is separate from that of jobs: a count, Keep(count=, age=), or False to write
    none. Default: the newest 10,000, for 90 days. dead_letter_alert: (threshold, function). The function is called with a
    DeadLetterAlert each time their number exceeds the threshold, by one of the queue's workers.
    metrics: minutes for which finished jobs are counted, 1,440 for a day; None counts nothing. See `Queue.metrics`.
    backoffs: custom backoff strategies, by name. drain_delay: ms after which an idle worker polls without a notification.
    limiter: {"max": jobs, "duration": ms}: how many jobs may start per duration, on all workers of the queue that have this
    limit together. A `max` set on the queue itself takes precedence, see docs/limits.md.
    processes: child processes for run_in="process", started on demand. Default: the number of processors of the machine.
    cancel_grace: ms that a run has to end after its job was cancelled, timed out or lost; then its slot is freed.
    allow, require_durable: which servers are accepted, see `check_server`; checked again after each reconnect.
    middleware: called around the run of every job, the first outermost; see AroundRun.
    dependencies: arguments of processors beside the job, matched by type: instances, or functions `async def pool() ->
    AsyncIterator[Pool]` that yield one. Opened before the first job is claimed, closed after the last.

    Listeners, by `on`: active(job), progress(job, value), completed(job, result), failed(job, error) after each failed
    attempt, stalled(job_id), error(exception), and drained(), once after jobs were claimed, when no job waits and this worker
    has a free slot: some jobs may still run, and delayed ones may follow. The job of `failed` has its data even if it never
    ran, such as one that no processor takes.
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
        dead_letter_alert: tuple[int, Alert] | None = None,
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
        self._options = WorkerOptions.check(
            queue_name,
            processors,
            redis=redis,
            prefix=prefix,
            concurrency=concurrency,
            name=name,
            lock_duration=lock_duration,
            lock_renew=lock_renew,
            stalled_interval=stalled_interval,
            max_stalled=max_stalled,
            remove_on_complete=remove_on_complete,
            remove_on_fail=remove_on_fail,
            dead_letters=dead_letters,
            dead_letter_alert=dead_letter_alert,
            metrics=metrics,
            backoffs=backoffs,
            drain_delay=drain_delay,
            limiter=limiter,
            processes=processes,
            cancel_grace=cancel_grace,
            allow=allow,
            require_durable=require_durable,
            middleware=middleware,
            dependencies=dependencies,
        )
        self.queue_name = queue_name
        self.name = self._options.name
        self.ready = asyncio.Event()
        """Set once the worker claims jobs."""
        self._listeners = Listeners()
        self._reports = Reports(self._listeners)
        self._phase = Phase.NEW
        self._runtime: Runtime | None = None
        self._shared: SharedParts | None = None
        """Parts that it shares with other workers, see WorkerGroup; None: it has its own."""
        self._request = StopRequest()
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        running = f", {len(self._runtime.slots.running)} of {self.concurrency} slots" if self._runtime else ""
        return f"<Worker {self.name} of {self.queue_name} {self._phase.value}{running}>"

    @property
    def concurrency(self) -> int:
        """Jobs that run at once. May be set while the worker runs, on its event loop: with more slots, further jobs start at
        once; with fewer, running jobs go on, and none starts before enough of them have ended. Raises InvalidOption.
        """
        return self._options.concurrency

    @concurrency.setter
    def concurrency(self, value: int) -> None:
        self._options = structs.replace(self._options, concurrency=self._options.check_concurrency(value))
        if self._runtime is not None:
            self._runtime.resize(value)

    @property
    def counters(self) -> Counters:
        if self._runtime is not None:
            self._reports.counters.turns = self._runtime.turns.count
        return self._reports.counters

    @property
    def last_turn(self) -> float | None:
        """Monotonic seconds of the last reply to a turn; an idle worker has one at least every `drain_delay`."""
        return self._runtime.turns.last if self._runtime else None

    @property
    def left_behind(self) -> list[str]:
        """Once closed: ids of jobs that Redis did not take back. Another worker runs them again when their locks expire."""
        return [active.claimed.id for active in self._runtime.left_behind] if self._runtime else []

    def running_jobs(self) -> list[RunningJob]:
        """The jobs that run now, the longest running first."""
        return _running(self._runtime.slots.running) if self._runtime else []

    def abandoned_jobs(self) -> list[RunningJob]:
        """Runs that did not end within `cancel_grace` after they were cancelled, and still go on; their outcome is dropped."""
        return _running(self._runtime.slots.abandoned) if self._runtime else []

    def on(self, event: Event, listener: Listener) -> Listener:
        """Call `listener` at each event; a coroutine function runs as a task. What it raises is logged."""
        self._listeners.add(event, listener)
        return listener

    async def run(self, *, handle_signals: bool = True) -> None:
        """Claim and run jobs until `close` or `stop_now`, or until the process gets SIGTERM or SIGINT.

        The first signal closes the worker: running jobs have 30 s to finish. The second stops it at once. The handlers of
        before are restored at the end. Signals that the program handles itself are left to it, and outside the main thread
        none is handled; handle_signals=False handles none.
        Raises ConnectFailed if Redis is not reachable at the start; the worker survives later outages. Raises ServerUnfit for a
        server on which jobs would not be safe: at the start, and when Redis is back with other settings, after the running
        jobs had 30 s to finish. If the task is cancelled the worker stops at once.
        """
        if self._phase is not Phase.NEW:
            raise InvalidOption(f"{self!r} has been run before; make a new Worker")
        # The parts copy this context: every log line of a job has the worker's name.
        token = worker_name.set(self.name)
        try:
            if not self._request.asked.is_set():
                with stop_on_signals(self._signalled) if handle_signals else nullcontext():
                    await self._work()
        finally:
            worker_name.reset(token)
            self._phase = Phase.STOPPED
            self._stopped.set()

    async def _work(self) -> None:
        self._phase = Phase.STARTING
        async with AsyncExitStack() as stack:
            shared = self._shared or SharedParts(
                self.name,
                f"corral:{self.queue_name}:{self.name}",
                self._connect,
                allow=self._options.allow,
                require_durable=self._options.require_durable,
            )
            runtime = await Runtime.open(self._options, shared, self._listeners, self._reports, self._request, stack)
            self._runtime = runtime
            self._phase = Phase.RUNNING
            self.ready.set()
            try:
                await self._request.asked.wait()
            except asyncio.CancelledError:
                self._request.ask_at_once()
                raise
            finally:
                self._phase = Phase.STOPPING
                await runtime.stop()
            if self._request.unfit is not None:
                raise self._request.unfit

    async def _connect(self, name: str, prelude: Sequence[tuple[str, ...]]) -> Connection | RedisPyLink:
        return await open_link(self._options.redis, name=name, prelude=prelude)

    def _signalled(self, number: signal.Signals, count: int) -> None:
        if count == 1:
            logger.info(
                "%s: %s: %d running jobs have %g s to finish; a second signal stops at once",
                self.name,
                number.name,
                len(self.running_jobs()),
                CLOSE_TIMEOUT / 1000,
            )
            self._request.ask(CLOSE_TIMEOUT / 1000)
        else:
            logger.warning("%s: %s again: stopping at once; running jobs are released", self.name, number.name)
            self._request.ask_at_once()

    async def close(self, timeout: int | timedelta = CLOSE_TIMEOUT) -> None:
        """Claim no more jobs, let running jobs finish within `timeout` (ms or timedelta), cancel and release the rest.

        A released job returns to the front of the queue and uses no attempt. Returns when all is done; may be called
        again, also with a shorter timeout.
        """
        self._request.ask(duration_s("timeout", timeout))
        if self._phase is not Phase.NEW:
            await self._stopped.wait()

    async def stop_now(self) -> None:
        """Cancel running jobs and release what is possible in one second."""
        self._request.ask_at_once()
        if self._phase is not Phase.NEW:
            await self._stopped.wait()

    async def __aenter__(self) -> Self:
        """Run in the background until the block ends. Signals are the program's."""
        run = self.run(handle_signals=False)
        self._task = asyncio.get_running_loop().create_task(run, name=f"worker {self.name}")
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


def _running(jobs: set[ActiveJob]) -> list[RunningJob]:
    return [
        RunningJob(
            active.claimed.id,
            active.claimed.name,
            active.since,
            active.run_in,
            active.stop_reason is StopReason.LOST,
        )
        for active in sorted(jobs, key=lambda active: active.number)
    ]
