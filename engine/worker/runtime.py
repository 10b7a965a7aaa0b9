"""Runtime: the parts of a running worker, and the way of a job through them: claim -> run -> outcome -> acknowledge."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress

from engine.connection import Connection, RedisPyLink
from engine.errors import ServerUnfit
from engine.model.clock import monotonic
from engine.model.records import Claimed, Completed, Outcome, Released
from engine.scripting.rows import Refusals
from engine.worker.active_jobs import ActiveJob, ActiveJobs
from engine.worker.listeners import Listeners
from engine.worker.loops.cancellations import Cancellations
from engine.worker.loops.dead_letter_alert import DeadLetterWatch
from engine.worker.loops.deadlines import Deadlines
from engine.worker.loops.marker_wait import MarkerWait
from engine.worker.loops.renewer import Renewed
from engine.worker.loops.scheduling import Scheduling
from engine.worker.loops.stalled_checker import StalledChecker
from engine.worker.loops.wake import Wake
from engine.worker.options import WorkerOptions
from engine.worker.outbox import Ended, Outbox
from engine.worker.reports import Reports
from engine.worker.run_in.children import Children
from engine.worker.run_in.threads import Threads
from engine.worker.runner import Routes, Runner
from engine.worker.shared import SharedParts
from engine.worker.slots import Slots
from engine.worker.turns import Turns

CANCEL_GRACE = 1.0
"""Seconds that cancelled jobs have to end at shutdown."""
FLUSH_GRACE = 5.0
"""Seconds that Redis has to confirm the last outcomes."""
AT_ONCE = 0.5
"""Seconds for each of these two when the worker stops at once."""
UNFIT_GRACE = 30.0
"""Seconds that running jobs have when the server is found unfit after a reconnect."""
_MAX_IDS = 20
"""Job ids that one log message names at most."""

logger = logging.getLogger("engine.worker")


class StopRequest:
    """Whether, when and why a worker is to stop. Its worker writes it, its runtime waits for it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.changed = asyncio.Event()
        """Set after each change of this request and of the runtime's parts."""
        self.deadline = float("inf")
        """Monotonic time until which running jobs may finish. It only moves closer."""
        self.at_once = False
        self.unfit: ServerUnfit | None = None

    def ask(self, within: float) -> None:
        """Stop; running jobs may finish within so many seconds."""
        self.deadline = min(self.deadline, monotonic() + within)
        self.asked.set()
        self.changed.set()

    def ask_at_once(self) -> None:
        """Stop; running jobs are cancelled now, and Redis has little time to confirm."""
        self.at_once = True
        self.ask(0)


class Runtime:
    """Everything that a worker has while it runs. `start` and `stop` in that order; `open` makes one.

    What a part needs from a later one it calls through the methods below, so that the way of a job is on this page.
    """

    def __init__(
        self,
        options: WorkerOptions,
        routes: Routes,
        link: Connection | RedisPyLink,
        shared: SharedParts,
        marker_wait: MarkerWait,
        listeners: Listeners,
        reports: Reports,
        request: StopRequest,
    ) -> None:
        keys, report = options.keys, reports.trouble
        reports.recent_errors = shared.recent_errors
        self.options = options
        self.reports = reports
        self.shared = shared
        self.request = request
        self.changed = request.changed
        self.left_behind: list[ActiveJob] = []
        self.active_jobs = ActiveJobs()
        self.threads = Threads(f"{keys.queue} job")
        self.children = Children(options.processes)
        self.scheduling = Scheduling(link, keys, interval_ms=options.stalled_ms, report=report)
        self.runner = Runner(
            routes,
            link,
            keys,
            threads=self.threads,
            children=self.children,
            backoffs=options.backoffs,
            listeners=listeners,
            reports=reports,
            watch=self.watch,
            middleware=options.middleware,
            scheduling=self.scheduling,
        )
        self.outbox = Outbox(
            link,
            keys,
            keep_completed=options.keep_completed,
            keep_failed=options.keep_failed,
            acknowledged=self.acknowledged,
            report=report,
            dead_letters=options.dead_letters,
            metrics=options.metrics,
        )
        self.slots = Slots(
            self.runner,
            self.active_jobs,
            reports,
            concurrency=options.concurrency,
            grace=options.cancel_grace_ms / 1000,
            ended=self.ended,
            returning=self.outbox.returning,
            changed=self.slot_freed,
        )
        self.deadlines = Deadlines(self.slots.stop)
        self.turns = Turns(
            link,
            keys,
            worker_id=secrets.token_hex(8),
            name=options.name,
            lock_ms=options.lock_ms,
            concurrency=options.concurrency,
            keep=options.keep_completed,
            metrics=options.metrics,
            limiter=options.limiter,
            in_flight=shared.in_flight,
            free=self.slots.free,
            claimed=self.claimed,
            acknowledged=self.acknowledged,
            next_due=self.next_due,
            limited=self.limited,
            report=report,
            drained=reports.drained,
            became_idle=self.became_idle,
            changed=self.changed.set,
        )
        self.renewed = Renewed(
            keys,
            self.active_jobs,
            lock_ms=options.lock_ms,
            every_ms=options.renew_ms,
            lost=self.slots.lose,
            report=report,
        )
        self.cancellations = Cancellations(link, keys, self.active_jobs, self.slots.stop, report)
        self.stalled_checker = StalledChecker(
            link,
            keys,
            interval_ms=options.stalled_ms,
            lock_ms=options.lock_ms,
            renew_ms=options.renew_ms,
            max_stalls=options.max_stalled,
            stalled=reports.stalled,
            report=report,
        )
        self.alert: DeadLetterWatch | None = None
        if options.dead_letter_alert is not None:
            every = options.stalled_ms / 1000
            self.alert = DeadLetterWatch(link, keys, *options.dead_letter_alert, every=every, report=report)
        self.wake = Wake(marker_wait, link, keys, self.turns, self.slots.free, options.drain_ms / 1000, report)

    # -- the way of a job ------------------------------------------------------------------------------------------
    #
    # `Turns` claims as many jobs as there are free slots and calls `claimed`. `Slots` runs each by the `Runner`, which
    # returns its Outcome, and calls `ended`. `Turns` and `Outbox` send outcomes in batches and call `acknowledged`.

    def claimed(self, jobs: list[Claimed]) -> None:
        """Redis gave us these jobs, locked: run them."""
        self.cancellations.jobs_run()
        self.slots.start(jobs)

    def ended(self, active: ActiveJob, outcome: Outcome) -> None:
        """A run has ended and its slot is free: send the outcome. Completed jobs leave with the next turn."""
        active.outcome = outcome
        match outcome:
            case Completed():
                self.turns.put(active, outcome)
            case _:
                self.outbox.put(active, outcome)
                self.turns.pump()

    def acknowledged(self, ended: Sequence[Ended[Outcome]], refused: Refusals) -> None:
        """Redis has answered for these outcomes: their locks are ours no more. A refused job may have another outcome."""
        if refused:
            ended, refused = self._end_otherwise(ended, refused)
        self.active_jobs.drop([active for active, _ in ended])
        self.turns.pump()
        self.reports.acknowledged(ended, refused)
        self.changed.set()

    def _end_otherwise(
        self, ended: Sequence[Ended[Outcome]], refused: Refusals
    ) -> tuple[list[Ended[Outcome]], Refusals]:
        """Send another outcome for each job that its children keep from this one. Returns the rest, and its refusals."""
        rest: list[Ended[Outcome]] = []
        rest_refused: Refusals = {}
        for number, (active, outcome) in enumerate(ended):
            refusal = refused.get(number)
            if refusal is not None:
                instead = self.runner.refused(active, refusal)
                if instead is not None:
                    self.ended(active, instead)
                    continue
                rest_refused[len(rest)] = refusal
            rest.append((active, outcome))
        return rest, rest_refused

    # -- what the parts ask of each other --------------------------------------------------------------------------

    def slot_freed(self) -> None:
        self.turns.pump()

    def watch(self, active: ActiveJob) -> None:
        self.deadlines.watch(active)

    def next_due(self, ms: int | None) -> None:
        self.wake.due(ms)

    def limited(self, ms: int) -> None:
        self.wake.limited(ms)

    def became_idle(self) -> None:
        self.wake.became_idle()

    def suspects(self) -> list[str]:
        """The jobs that may have blocked the event loop: those that just ended, and those that run on it."""
        running = sorted(self.slots.running, key=lambda active: active.number)
        on_loop = [active.claimed for active in running if active.run_in == "loop"]
        return [f"{job.name} job {job.id}" for job in [*reversed(self.slots.last_ended), *on_loop]]

    def resize(self, concurrency: int) -> None:
        """Run this many jobs at once from now on."""
        self.slots.concurrency = concurrency
        self.turns.resize(concurrency)

    # -- start and stop --------------------------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        options: WorkerOptions,
        shared: SharedParts,
        listeners: Listeners,
        reports: Reports,
        request: StopRequest,
        stack: AsyncExitStack,
    ) -> Runtime:
        """Join the shared parts, open the dependencies, start every part. `stack` closes all in reverse.

        Raises ConnectFailed or ServerUnfit.
        """
        keys = options.keys

        def unfit(error: ServerUnfit) -> None:
            if not request.asked.is_set():
                logger.error(
                    "%s claims no more jobs, running jobs have %g s to finish: %s", options.name, UNFIT_GRACE, error
                )
                listeners.emit("error", error)
                request.unfit = error
                request.ask(UNFIT_GRACE)

        link = await shared.join(keys, unfit, stack)
        marker_wait = await shared.wait_for(keys, options.name, stack)
        bound = await options.dependencies.open(stack)
        stack.push_async_callback(listeners.done, AT_ONCE)
        routes = Routes([bound(processor) for processor in options.processors])
        runtime = cls(options, routes, link, shared, marker_wait, listeners, reports, request)
        runtime._start(stack)
        return runtime

    def _start(self, stack: AsyncExitStack) -> None:
        """Start the parts, sinks first: what takes jobs is there before what gives them."""
        stack.push_async_callback(self.outbox.close)
        stack.callback(self.threads.stop)
        stack.push_async_callback(self.children.stop)
        stack.push_async_callback(self.turns.close)
        stack.callback(self.slots.cancel_all)
        self.shared.watch(self.suspects, stack)
        self.shared.renewer.add(self.renewed)
        stack.callback(self.shared.renewer.remove, self.renewed)
        for loop in (self.cancellations, self.scheduling, self.alert):
            if loop is not None:
                loop.start()
                stack.push_async_callback(loop.stop)
        self.stalled_checker.start()
        self.wake.start()
        self.turns.poll()

    async def stop(self) -> None:
        """Empty the parts from the source on, so that no job and no outcome is left in between."""
        self.turns.stop_claiming()
        await self.wake.stop()
        await self.stalled_checker.stop()
        self.slots.close()
        self.outbox.wake()
        # Released jobs go back in one call, in their old order; a claim under way may bring more of them.
        await self._until(lambda: not self.turns.promised, self._deadline)
        self.slots.release_unstarted()
        await self._until(lambda: not self.slots.running, self._deadline)
        self.slots.cancel_all()
        await self._until(lambda: not self.slots.running, self._after(CANCEL_GRACE))
        for active in list(self.slots.running):
            logger.warning(
                "%s job %s does not end when cancelled; it is released", active.claimed.name, active.claimed.id
            )
            self.slots.give_up(active)
        self.slots.release_unstarted()
        await self._until(lambda: not len(self.active_jobs), self._after(FLUSH_GRACE))
        self.left_behind = self.active_jobs.all()
        if self.left_behind:
            self._log_left_behind()

    def _deadline(self) -> float:
        return self.request.deadline

    def _after(self, seconds: float) -> Callable[[], float]:
        """A deadline so many seconds from now, or sooner once the worker stops at once."""
        now = monotonic()
        return lambda: now + (AT_ONCE if self.request.at_once else seconds)

    async def _until(self, done: Callable[[], bool], deadline: Callable[[], float]) -> None:
        """Wait until `done()`, or until the monotonic time `deadline()`, which may come closer meanwhile."""
        while not done():
            self.changed.clear()
            left = deadline() - monotonic()
            if left <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), None if left == float("inf") else left)

    def _log_left_behind(self) -> None:
        ids = [active.claimed.id for active in self.left_behind]
        finished = sum(not isinstance(active.outcome, Released) for active in self.left_behind)
        logger.error(
            "%d jobs of %s could not be handed back to Redis, which does not answer: %s%s. Another worker recovers them when "
            "their locks expire, in at most %g s, and runs them again%s",
            len(ids),
            self.options.keys.queue,
            ", ".join(ids[:_MAX_IDS]),
            f" and {len(ids) - _MAX_IDS} more" if len(ids) > _MAX_IDS else "",
            self.options.lock_ms / 1000,
            f", also the {finished} whose run had finished, unless their outcome reached Redis" if finished else "",
        )
