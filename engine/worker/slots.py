"""The jobs that run now: started when they are claimed, handed on when they end, cut short when they must.

Knows the runner and the outbox; knows neither Redis nor when to claim.
"""

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
from engine.model.records import Claimed, Released
from engine.worker.active_jobs import ActiveJob, ActiveJobs, StopReason
from engine.worker.outbox import Outbox
from engine.worker.reports import Reports
from engine.worker.runner import Runner

TRY_AGAIN = 64
"""Batches after which a chain is tried again."""
BACKLOG = 1_000
"""Outcomes that may wait for Redis, beside four for each slot, before no more jobs are claimed."""
MAX_ABANDONED = 100
"""Runs that did not end when told and still go on. Each beyond that keeps its slot, lest threads grow without bound."""


class Slots:
    """Up to `concurrency` jobs at once, each in a context of its own. `changed` is called when a slot becomes free.

    grace: seconds that a run has to end once it was told to stop.
    """

    def __init__(
        self,
        runner: Runner,
        holds: ActiveJobs,
        outbox: Outbox,
        reports: Reports,
        concurrency: int,
        grace: float,
        changed: Callable[[], None],
    ) -> None:
        self.running: set[ActiveJob] = set()
        self.abandoned: set[ActiveJob] = set()
        """Runs whose slot was freed before they ended. What they come to is dropped."""
        self._grace = grace
        self._runner = runner
        self._holds = holds
        self._outbox = outbox
        self._reports = reports
        self.concurrency = concurrency
        """Jobs at once. May be set at any time: with fewer, those that run keep their slots until they end."""
        self._changed = changed
        self._numbers = itertools.count()
        self._closed = False
        self._unstarted: list[ActiveJob] = []
        self._brief = True  # no job of the last chain waited for anything
        self._batches = 0
        self.ended: deque[Claimed] = deque(maxlen=5)
        """The last jobs that ended, for those who ask why the loop was blocked."""
        # What starts a job may run in the context of one that ended: no variable may pass from job to job.
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<Slots {len(self.running)} of {self.concurrency} running, {len(self.abandoned)} abandoned{', closed' if self._closed else ''}>"

    def free(self) -> int:
        """Slots without a job; none while too many outcomes wait for Redis.

        A job that goes back in line keeps its slot until the call that puts it there has left, lest the next claim misses the
        limit that it met; and with one slot, where jobs start in the order of the line, so that no other passes it.
        """
        returning = self._outbox.returning(in_order=self.concurrency == 1)
        free = self.concurrency - len(self.running) - returning
        if len(self.abandoned) > MAX_ABANDONED:
            free = max(0, free - (len(self.abandoned) - MAX_ABANDONED))
        waiting = len(self._holds) - len(self.running)
        return 0 if waiting > 4 * self.concurrency + BACKLOG else free

    def start(self, jobs: list[Claimed]) -> None:
        """Run these jobs; once closed, keep them to be released."""
        now = monotonic()
        holds = [ActiveJob(job, next(self._numbers), now) for job in jobs]
        self._holds.take(holds)
        self._reports.counters.claimed += len(holds)
        if self._closed:
            self._unstarted += holds
            return
        self.running.update(holds)
        self._batches += 1
        if self._brief or self._batches % TRY_AGAIN == 0:
            self._loop.create_task(self._chain(holds), context=self._context.copy())
        else:
            self._spread(holds)

    def _spread(self, holds: Iterable[ActiveJob]) -> None:
        """A task for each."""
        create_task, clean = self._loop.create_task, self._context.copy
        for hold in holds:
            if hold.outcome is None:
                hold.task = create_task(self._work(hold), context=clean())

    async def _chain(self, holds: list[ActiveJob]) -> None:
        """One task for jobs that end without waiting, each in a context of its own: a task costs more than such a job.

        The first that waits for something keeps the task for itself, and those behind it get their own.
        """
        task = asyncio.current_task()
        assert task is not None
        rest = iter(holds)
        self._brief = True
        for hold in rest:
            if hold.outcome is not None:
                continue  # given up before its turn came
            hold.task = task
            work, context = self._work(hold), self._context.copy()
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

    async def _work(self, hold: ActiveJob) -> None:
        outcome = await self._runner.run(hold)
        hold.task = None
        self.running.discard(hold)
        self.ended.append(hold.claimed)
        if hold.outcome is not None:  # given up before it ended
            self._returned(hold)
            return
        if hold.why is StopReason.LOST:
            self._holds.drop([hold])
        else:
            self._outbox.put(hold, outcome)
        self._changed()

    def lose(self, hold: ActiveJob) -> None:
        """Another claim has the job: cancel its run and write nothing. One whose outcome is on its way is let be."""
        if hold not in self.running or hold.outcome is not None or hold.why is StopReason.LOST:
            return
        self._reports.lost(hold)
        self._cut(hold, LockLost(hold.claimed.id))

    def stop(self, hold: ActiveJob, end: JobCancelled | JobTimeout) -> None:
        """Let this run end as `end` says. One whose outcome is on its way, or that another reason ends, is let be."""
        if hold not in self.running or hold.outcome is not None or hold.stop is not None or hold.why is not None:
            return
        hold.stop = end
        self._cut(hold, end)

    def _cut(self, hold: ActiveJob, why: CorralError) -> None:
        """Tell a run to stop, and count on it for so long as the grace is."""
        if hold.task is None:  # not begun
            self._leave(hold)
            return
        if hold.handle is not None:
            tell_to_stop(hold.handle, why)
        hold.task.cancel()
        # The runner asks only of a run that was timed whether it was told to stop.
        hold.time("grace", self._loop.call_later(self._grace, self._abandon, hold, context=self._context.copy()))

    def _abandon(self, hold: ActiveJob) -> None:
        """Its grace is over: its slot is for others, whatever it still does."""
        if hold not in self.running:
            return
        self.abandoned.add(hold)
        self._reports.abandoned(hold, len(self.abandoned) > MAX_ABANDONED)
        self._leave(hold)

    def _leave(self, hold: ActiveJob) -> None:
        """Free the slot of a run that was told to stop, without waiting for it."""
        self.running.discard(hold)
        if hold.why is StopReason.LOST:
            hold.outcome = Released()
            self._holds.drop([hold])
        else:
            self._outbox.put(hold, self._runner.stopped(hold))
        self._changed()

    def _returned(self, hold: ActiveJob) -> None:
        if hold in self.abandoned:
            self.abandoned.discard(hold)
            self._changed()

    # -- stopping --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Start no more jobs, and take back those that wait for a place to run in."""
        self._closed = True
        for hold in list(self.running):
            if not hold.started:
                self.give_up(hold)

    def release_unstarted(self) -> None:
        """Give back what never ran to its end, once no claim is on the way: all in one go, in the old order."""
        for hold in self._unstarted:
            self._outbox.put(hold, Released())
        self._unstarted.clear()

    def cancel(self) -> None:
        """Cut every run short."""
        for hold in list(self.running):
            if hold.task is None:
                self.give_up(hold)
                continue
            if hold.why is None:
                hold.why = StopReason.RELEASED
            if hold.handle is not None:
                tell_to_stop(hold.handle, LockLost(hold.claimed.id))
            hold.task.cancel()

    def give_up(self, hold: ActiveJob) -> None:
        """Release a job without waiting for its run, whose outcome will be dropped."""
        if hold.stop is not None:
            self._leave(hold)
            return
        self.running.discard(hold)
        hold.outcome = Released()
        if hold.task is not None:
            hold.task.cancel()
        if hold.why is StopReason.LOST:
            self._holds.drop([hold])
        else:
            hold.why = StopReason.RELEASED
            self._unstarted.append(hold)


@types.coroutine
def _driven(work: Coroutine[Any, Any, None], context: contextvars.Context, awaited: Any) -> Generator[Any, Any, None]:
    """The rest of a coroutine that waits for `awaited`, run in its own context within the current task."""
    while True:
        try:
            sent = yield awaited
        except BaseException as error:
            step: Callable[[Any], Any] = work.throw
            given: Any = error
        else:
            step, given = work.send, sent
        try:
            awaited = context.run(step, given)
        except StopIteration:
            return
