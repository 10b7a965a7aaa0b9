"""Outcomes on their way to Redis: which script takes which, in lists, until each has been taken.

The one place where an outcome becomes a call. Completed jobs leave with the turns, all others by a lane of their own.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

from engine.connection import Argument, Link
from engine.errors import ConnectFailed, LinkClosed, ServerBusy
from engine.model.keys import Keys
from engine.model.options import Keep
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
from engine.scripting.pace import FAILED_PER_CALL, PER_CALL
from engine.scripting.rows import Refusal, Refusals
from engine.scripts.delay import delay
from engine.scripts.fail import fail
from engine.scripts.finish_adding import finish_adding
from engine.scripts.rate_limit import rate_limit
from engine.scripts.release import release
from engine.scripts.retry import retry
from engine.scripts.wait_children import wait_children
from engine.worker.active_jobs import ActiveJob
from engine.worker.retry_delay import Report, RetryDelay

Settled = Callable[[Sequence[ActiveJob], Refusals], None]
"""Redis has answered for the outcomes of these jobs."""

NOT_DONE = (ServerBusy, ConnectFailed, LinkClosed)
"""Errors after which nothing was carried out. After any other, the call may have been."""


_REASONS: dict[Refusal | None, str] = {
    Refusal.DOOMED: "a child has failed without which the job may not complete",
    Refusal.NO_PROGRESS: "it waits for children again, though all are done and none has ended since it ran last",
    Refusal.OTHER_PARENT: "the id of one of its new children is that of a job which is the child of another",
}


class Outbox:
    """Takes each job's outcome and sees to it that Redis does; `completed` takes those of turns, `pending` judges a job that was
    to be completed with open children."""

    def __init__(
        self,
        link: Link,
        keys: Keys,
        keep_failed: Keep,
        keep_completed: Keep,
        completed: Callable[[ActiveJob], None],
        settled: Settled,
        report: Report,
        pending: Callable[[ActiveJob], Outcome],
        *,
        letters: Keep | None = None,
        metrics: Argument = "",
    ) -> None:
        self._link = link
        self._keys = keys
        self._keep_failed = keep_failed
        self._letters = letters
        self._metrics = metrics
        self._keep_completed = keep_completed
        self._completed = completed
        self._pending = pending
        most = PER_CALL if letters is None else FAILED_PER_CALL
        self._failed = _AckQueue("fail", self._fail, settled, report, most)
        self._retried = _AckQueue("retry", self._retry, settled, report)
        self._delayed = _AckQueue("delay", self._delay, settled, report)
        self._released = _ReleaseQueue("release", self._release, settled, report)
        self._limited = _ReleaseQueue("limit", self._limit, settled, report)
        self._adding = _SingleQueue("finish_adding", self._finish_adding, settled, report)
        self._waiting = _SingleQueue("wait_children", self._wait_children, settled, report)
        self._lanes = (
            self._failed,
            self._retried,
            self._delayed,
            self._released,
            self._limited,
            self._adding,
            self._waiting,
        )

    def __repr__(self) -> str:
        return f"<Outbox {', '.join(f'{len(lane.holds)} to {lane.name}' for lane in self._lanes)}>"

    def returning(self, *, in_order: bool) -> int:
        """Jobs that met a limit and whose call has not left: what leaves after it finds the limit. `in_order`: also those that
        failed, which it finds in line."""
        return len(self._limited.holds) + (len(self._retried.holds) if in_order else 0)

    def put(self, hold: ActiveJob, outcome: Outcome) -> None:
        hold.outcome = outcome
        match outcome:
            case Completed():
                self._completed(hold)
            case Failed():
                self._failed.put(hold)
            case Retrying(delay=0):
                self._retried.put(hold)
            case Retrying() | Delayed():
                self._delayed.put(hold)
            case Released():
                self._released.put(hold)
            case Limited():
                self._limited.put(hold)
            case CompletedAdding():
                self._adding.put(hold)
            case WaitingChildren():
                self._waiting.put(hold)
            case _:
                assert_never(outcome)

    def fail_instead(self, holds: Sequence[ActiveJob], refused: Refusals) -> tuple[list[ActiveJob], Refusals]:
        """Let those jobs fail whose outcome cannot be because of their children; what is left of an answer."""
        left: list[ActiveJob] = []
        left_refused: Refusals = {}
        for number, hold in enumerate(holds):
            refusal = refused.get(number)
            if refusal is Refusal.PENDING:
                self.put(hold, self._pending(hold))
                continue
            if refusal in _REASONS:
                self.put(hold, Failed(_REASONS[refusal], hold.claimed.stacktrace))
                continue
            if refusal is not None:
                left_refused[len(left)] = refusal
            left.append(hold)
        return left, left_refused

    def wake(self) -> None:
        """Go on with what lies here, also where a call was cancelled from outside."""
        for lane in self._lanes:
            lane.wake()

    async def close(self) -> None:
        for lane in self._lanes:
            await lane.close()

    async def _fail(self, holds: Sequence[ActiveJob]) -> Refusals:
        rows = []
        for hold in holds:
            assert isinstance(hold.outcome, Failed)
            keep = hold.options.remove_on_fail
            rows.append((hold.claimed, hold.outcome, self._keep_failed if keep is None else keep, hold.attempts))
        tenants = [(hold.handle.tenant if hold.handle else None) or "" for hold in holds]
        return await fail(
            self._link, self._keys, rows, dead_letters=self._letters, tenants=tenants, metrics=self._metrics
        )

    async def _retry(self, holds: Sequence[ActiveJob]) -> Refusals:
        rows = [(hold.claimed, _retrying(hold), hold.options.lifo) for hold in holds]
        return await retry(self._link, self._keys, rows)

    async def _delay(self, holds: Sequence[ActiveJob]) -> Refusals:
        rows = []
        for hold in holds:
            assert isinstance(hold.outcome, Retrying | Delayed)
            rows.append((hold.claimed, hold.outcome))
        return await delay(self._link, self._keys, rows)

    async def _release(self, holds: Sequence[ActiveJob]) -> Refusals:
        return await release(self._link, self._keys, [hold.claimed for hold in holds])

    async def _limit(self, holds: Sequence[ActiveJob]) -> Refusals:
        rows = []
        for hold in holds:
            assert isinstance(hold.outcome, Limited)
            rows.append((hold.claimed, hold.outcome))
        return await rate_limit(self._link, self._keys, rows)

    async def _finish_adding(self, holds: Sequence[ActiveJob]) -> Refusals:
        hold, outcome = holds[0], holds[0].outcome
        assert isinstance(outcome, CompletedAdding)
        keep = hold.options.remove_on_complete
        keep = self._keep_completed if keep is None else keep
        refusal = await finish_adding(self._link, self._keys, (hold.claimed, outcome.value, keep), outcome.nodes)
        return {} if refusal is None else {0: refusal}

    async def _wait_children(self, holds: Sequence[ActiveJob]) -> Refusals:
        outcome = holds[0].outcome
        assert isinstance(outcome, WaitingChildren)
        refusal = await wait_children(self._link, self._keys, holds[0].claimed, outcome.children)
        return {} if refusal is None else {0: refusal}


def _retrying(hold: ActiveJob) -> Retrying:
    assert isinstance(hold.outcome, Retrying)
    return hold.outcome


class _AckQueue:
    """The outcomes that one script takes: at most one call under way, and what gathers meanwhile goes in the next."""

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[ActiveJob]], Awaitable[Refusals]],
        settled: Settled,
        report: Report,
        most: int = PER_CALL,
    ) -> None:
        self.name = name
        self.holds: deque[ActiveJob] = deque()
        self._send = send
        self._settled = settled
        self._report = report
        self._most = most
        self._task: asyncio.Task[None] | None = None
        self._context = contextvars.copy_context()  # lest it runs in that of a job

    def put(self, hold: ActiveJob) -> None:
        self.holds.append(hold)
        self.wake()

    def wake(self) -> None:
        if self._task is None and self.holds:
            deliver = self._deliver()
            self._task = asyncio.get_running_loop().create_task(
                deliver, name=f"worker {self.name}", context=self._context.copy()
            )

    async def close(self) -> None:
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _deliver(self) -> None:
        setbacks = RetryDelay()
        while self.holds:
            holds = self._next()
            try:
                refused = await self._send(holds)
            except LinkClosed:
                self._back(holds)
                break
            except (Exception, asyncio.CancelledError) as error:
                for hold in holds:
                    hold.resent = hold.resent or not isinstance(error, NOT_DONE)
                self._back(holds)
                if isinstance(error, asyncio.CancelledError):
                    self._task = None
                    raise
                self._report(error)
                await asyncio.sleep(setbacks.wait())
                continue
            setbacks.clear()
            self._settled(holds, refused)
        self._task = None

    def _next(self) -> list[ActiveJob]:
        return [self.holds.popleft() for _ in range(min(len(self.holds), self._most))]

    def _back(self, holds: list[ActiveJob]) -> None:
        self.holds.extendleft(reversed(holds))


class _SingleQueue(_AckQueue):
    """Each call takes one job, which may bring many others with it."""

    def _next(self) -> list[ActiveJob]:
        return [self.holds.popleft()]


class _ReleaseQueue(_AckQueue):
    """Each call puts its jobs in front of all that wait, so the jobs that were claimed last leave first."""

    def _next(self) -> list[ActiveJob]:
        ordered = sorted(self.holds, key=lambda hold: hold.number)
        self.holds = deque(ordered[:-PER_CALL])
        return ordered[-PER_CALL:]
