"""Worker slots: starts claimed jobs, collects their outcomes, cancels them on timeout, lost lock or shutdown."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any

from engine.errors import CorralError, JobCancelled, JobTimeout, LockLost
from engine.job import tell_to_stop
from engine.model.clock import monotonic
from engine.model.records import Claimed, Outcome, Released
from engine.worker.active_jobs import ActiveJob, ActiveJobs, StopReason
from engine.worker.reports import Reports
from engine.worker.runner import Runner

CHAIN_EVERY = 64
"""Batches after which one is run as a chain again, although a job of the last chain waited."""
MAX_UNACKNOWLEDGED = 1_000
"""Outcomes that may wait for Redis, beside four for each slot, before no more jobs are claimed."""
MAX_ABANDONED = 100
"""Abandoned runs that still go on. Each one beyond that keeps its slot, so that threads do not grow without bound."""


class Slots:
    """Runs up to `concurrency` jobs at once, each in a context of its own.

    `ended` is called with each job and its outcome, exactly once; `dropped` with a job that another claim has, whose
    outcome is not written; `changed` when a slot becomes free without an outcome. `returning(in_order=...)`: see `Outbox`.
    grace: seconds that a cancelled run has to end before its slot is freed.
    """

    def __init__(
        self,
        runner: Runner,
        active_jobs: ActiveJobs,
        reports: Reports,
        *,
        concurrency: int,
        grace: float,
        ended: Callable[[ActiveJob, Outcome], None],
        returning: Callable[..., int],
        changed: Callable[[], None],
    ) -> None:
        self.running: set[ActiveJob] = set()
        self.abandoned: set[ActiveJob] = set()
        """Runs whose slot was freed before they ended. Their outcome is dropped."""
        self._grace = grace
        self._runner = runner
        self._active_jobs = active_jobs
        self._reports = reports
        self.concurrency = concurrency
        """May be set at any time: with fewer slots, running jobs keep theirs until they end."""
        self._ended = ended
        self._returning = returning
        self._changed = changed
        self._numbers = itertools.count()
        self._closed = False
        self._unstarted: list[ActiveJob] = []
        self._brief = True  # no job of the last chain waited for anything
        self._batches = 0
        self.last_ended: deque[Claimed] = deque(maxlen=5)
        """The jobs that ended last: one of them may have blocked the event loop."""
        # A job may be started from the context of one that ended: no variable may pass from job to job.
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<Slots {len(self.running)} of {self.concurrency} running, {len(self.abandoned)} abandoned{', closed' if self._closed else ''}>"

    def free(self) -> int:
        """Slots without a job; 0 while too many outcomes wait for Redis.

        A job that returns to the queue keeps its slot until that call has left: otherwise the next claim would miss the rate
        limit that the job met. With one slot, where jobs start in order, another job would pass it.
        """
        free = self.concurrency - len(self.running) - self._returning(in_order=self.concurrency == 1)
        if len(self.abandoned) > MAX_ABANDONED:
            free = max(0, free - (len(self.abandoned) - MAX_ABANDONED))
        unacknowledged = len(self._active_jobs) - len(self.running)
        return 0 if unacknowledged > 4 * self.concurrency + MAX_UNACKNOWLEDGED else free

    def start(self, claimed: list[Claimed]) -> None:
        """Run these jobs; after `close`, keep them to be released."""
        now = monotonic()
        jobs = [ActiveJob(job, next(self._numbers), now) for job in claimed]
        self._active_jobs.take(jobs)
        self._reports.counters.claimed += len(jobs)
        if self._closed:
            self._unstarted += jobs
            return
        self.running.update(jobs)
        self._batches += 1
        if self._brief or self._batches % CHAIN_EVERY == 0:
            self._loop.create_task(self._chain(jobs), context=self._context.copy())
        else:
            self._spread(jobs)

    def _spread(self, jobs: Iterable[ActiveJob]) -> None:
        """Start a task for each job."""
        create_task, clean = self._loop.create_task, self._context.copy
        for active in jobs:
            if active.outcome is None:
                active.task = create_task(self._work(active), context=clean())

    async def _chain(self, jobs: list[ActiveJob]) -> None:
        """Run jobs that end without waiting in one task, each in a context of its own: a task costs more than such a job.

        The first job that waits for something keeps the task, and each job behind it gets a task.
        """
        task = asyncio.current_task()
        assert task is not None
        rest = iter(jobs)
        self._brief = True
        for active in rest:
            if active.outcome is not None:
                continue  # given up before its turn came
            active.task = task
            work, context = self._work(active), self._context.copy()
            try:
                awaited = context.run(work.send, None)
            except StopIteration:
                if not task.cancelling():
                    continue
                # Cancelled by its own job, which has ended: not to be used again.
                self._spread(rest)
                return
            self._brief = False
            self._spread(rest)
            await _driven(work, context, awaited)

    async def _work(self, active: ActiveJob) -> None:
        outcome = await self._runner.run(active)
        active.task = None
        self.running.discard(active)
        self.last_ended.append(active.claimed)
        if active.outcome is not None:  # given up before it ended
            self._returned(active)
        elif active.stop_reason is StopReason.LOST:
            self._active_jobs.drop([active])
            self._changed()
        else:
            self._ended(active, outcome)

    # -- cancelling a run ------------------------------------------------------------------------------------------

    def lose(self, active: ActiveJob) -> None:
        """Another claim has the job: cancel its run and write nothing. Does nothing once the job has an outcome."""
        if active not in self.running or active.outcome is not None or active.stop_reason is StopReason.LOST:
            return
        self._reports.lost(active)
        self._cancel(active, LockLost(active.claimed.id))

    def stop(self, active: ActiveJob, error: JobCancelled | JobTimeout) -> None:
        """Cancel this run, which then ends with `error`. Does nothing if it has an outcome or is being stopped already."""
        if (
            active not in self.running
            or active.outcome is not None
            or active.stop_error is not None
            or active.stop_reason is not None
        ):
            return
        active.stop_error = error
        self._cancel(active, error)

    def _cancel(self, active: ActiveJob, error: CorralError) -> None:
        """Cancel a run; after the grace time its slot is freed."""
        if active.task is None:  # not begun
            self._leave(active)
            return
        if active.handle is not None:
            tell_to_stop(active.handle, error)
        active.task.cancel()
        # The runner asks only of a run that has timers whether it was stopped.
        active.add_timer(
            "grace", self._loop.call_later(self._grace, self._abandon, active, context=self._context.copy())
        )

    def _abandon(self, active: ActiveJob) -> None:
        """Free the slot of a run that did not end within its grace time."""
        if active not in self.running:
            return
        self.abandoned.add(active)
        self._reports.abandoned(active, len(self.abandoned) > MAX_ABANDONED)
        self._leave(active)

    def _leave(self, active: ActiveJob) -> None:
        """Free the slot of a stopped run without waiting for its end."""
        self.running.discard(active)
        if active.stop_reason is StopReason.LOST:
            active.outcome = Released()
            self._active_jobs.drop([active])
            self._changed()
        else:
            self._ended(active, self._runner.stopped(active))

    def _returned(self, active: ActiveJob) -> None:
        if active in self.abandoned:
            self.abandoned.discard(active)
            self._changed()

    # -- shutdown --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Start no more jobs, and take back those whose function has not been called."""
        self._closed = True
        for active in list(self.running):
            if not active.started:
                self.give_up(active)

    def release_unstarted(self) -> None:
        """Release what never ran to its end, once no claim is under way: in one batch, in the old order."""
        for active in self._unstarted:
            self._ended(active, Released())
        self._unstarted.clear()

    def cancel_all(self) -> None:
        """Cancel every run; its job is released."""
        for active in list(self.running):
            if active.task is None:
                self.give_up(active)
                continue
            if active.stop_reason is None:
                active.stop_reason = StopReason.RELEASED
            if active.handle is not None:
                tell_to_stop(active.handle, LockLost(active.claimed.id))
            active.task.cancel()

    def give_up(self, active: ActiveJob) -> None:
        """Release a job without waiting for its run, whose outcome will be dropped."""
        if active.stop_error is not None:
            self._leave(active)
            return
        self.running.discard(active)
        active.outcome = Released()
        if active.task is not None:
            active.task.cancel()
        if active.stop_reason is StopReason.LOST:
            self._active_jobs.drop([active])
        else:
            active.stop_reason = StopReason.RELEASED
            self._unstarted.append(active)


@types.coroutine
def _driven(work: Coroutine[Any, Any, None], context: contextvars.Context, awaited: Any) -> Generator[Any, Any, None]:
    """The rest of a coroutine that waits for `awaited`, run in its own context within the current task."""
    while True:
        try:
            sent = yield awaited
        except BaseException as error:
            step: Callable[[Any], Any] = work.throw
            value: Any = error
        else:
            step, value = work.send, sent
        try:
            awaited = context.run(step, value)
        except StopIteration:
            return
