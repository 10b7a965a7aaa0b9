"""Acknowledgement queues: one per script; each batches outcomes and retries until Redis confirms.

Completed jobs are not here: they leave with the turns (turns.py).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, assert_never

from engine.connection import Argument, Link
from engine.errors import ConnectFailed, LinkClosed, ServerBusy
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import (
    CompletedAdding,
    Delayed,
    Failed,
    Limited,
    Outcome,
    Released,
    Retrying,
    WaitingChildren,
)
from engine.scripting.pace import ATTEMPTS_PER_CALL, FAILED_PER_CALL, PER_CALL
from engine.scripting.rows import Refusals
from engine.scripts.delay import delay
from engine.scripts.fail import fail
from engine.scripts.finish_adding import finish_adding
from engine.scripts.rate_limit import rate_limit
from engine.scripts.release import release
from engine.scripts.retry import retry
from engine.scripts.wait_children import wait_children
from engine.worker.active_jobs import ActiveJob
from engine.worker.retry_delay import Report, RetryDelay

SomeOutcome = TypeVar("SomeOutcome", bound=Outcome)
Ended = tuple[ActiveJob, SomeOutcome]
"""A job whose run has ended, and its outcome."""

Acknowledged = Callable[[Sequence[Ended[Outcome]], Refusals], None]
"""Called when Redis has answered for these outcomes; a refusal stands at the outcome's index."""

NOT_DONE = (ServerBusy, ConnectFailed, LinkClosed)
"""Errors after which nothing was carried out. After any other error the call may have been."""

_MAX_BYTES = 1024 * 1024
"""Data of the failed jobs of one call, in bytes; a larger job leaves alone."""


class Outbox:
    """Sends every outcome but Completed to Redis, each by its own script, and calls `acknowledged` with the answer.

    dead_letters: retention of dead letters; None writes none.
    metrics: minutes of counts kept of finished jobs; "" counts none.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        *,
        keep_completed: Keep,
        keep_failed: Keep,
        acknowledged: Acknowledged,
        report: Report,
        dead_letters: Keep | None = None,
        metrics: Argument = "",
    ) -> None:
        self._link = link
        self._keys = keys
        self._keep_completed = keep_completed
        self._keep_failed = keep_failed
        self._dead_letters = dead_letters
        self._metrics = metrics
        failed_per_call = ATTEMPTS_PER_CALL if dead_letters is None else FAILED_PER_CALL
        self._failed = _FailQueue("fail", self._fail, acknowledged, report, failed_per_call)
        self._retried = _AckQueue("retry", self._retry, acknowledged, report, ATTEMPTS_PER_CALL)
        self._delayed = _AckQueue("delay", self._delay, acknowledged, report, ATTEMPTS_PER_CALL)
        self._released = _ReleaseQueue("release", self._release, acknowledged, report)
        self._limited = _ReleaseQueue("rate_limit", self._rate_limit, acknowledged, report)
        # A call with new jobs takes one outcome: the jobs that it brings may be many.
        self._adding = _AckQueue("finish_adding", self._finish_adding, acknowledged, report, 1)
        self._waiting = _AckQueue("wait_children", self._wait_children, acknowledged, report, 1)

    def __repr__(self) -> str:
        return f"<Outbox {', '.join(f'{len(queue)} to {queue.name}' for queue in self._queues())}>"

    def _queues(self) -> Sequence[_AnyQueue]:
        return (
            self._failed,
            self._retried,
            self._delayed,
            self._released,
            self._limited,
            self._adding,
            self._waiting,
        )

    def returning(self, *, in_order: bool) -> int:
        """How many jobs wait here for a call that returns them to the queue.

        A claim that leaves after that call finds what the call wrote: the rate limit, and, with `in_order`, the failed
        jobs in front of the others.
        """
        return len(self._limited) + (len(self._retried) if in_order else 0)

    def put(
        self,
        active: ActiveJob,
        outcome: CompletedAdding | Failed | Retrying | Delayed | WaitingChildren | Released | Limited,
    ) -> None:
        match outcome:
            case Failed():
                self._failed.put((active, outcome))
            case Retrying(delay=0):
                self._retried.put((active, outcome))
            case Retrying() | Delayed():
                self._delayed.put((active, outcome))
            case Released():
                self._released.put((active, outcome))
            case Limited():
                self._limited.put((active, outcome))
            case CompletedAdding():
                self._adding.put((active, outcome))
            case WaitingChildren():
                self._waiting.put((active, outcome))
            case _:
                assert_never(outcome)

    def wake(self) -> None:
        """Send what waits here, also after a call was cancelled from outside."""
        for queue in self._queues():
            queue.wake()

    async def close(self) -> None:
        """Cancel the calls under way; outcomes that Redis has not confirmed stay unconfirmed."""
        for queue in self._queues():
            await queue.close()

    async def _fail(self, ended: Sequence[Ended[Failed]]) -> Refusals:
        default = self._keep_failed
        rows = [
            (
                active.claimed,
                outcome,
                default if active.options.remove_on_fail is None else active.options.remove_on_fail,
                active.attempts,
            )
            for active, outcome in ended
        ]
        tenants = [(active.handle.tenant if active.handle else None) or "" for active, _ in ended]
        return await fail(
            self._link, self._keys, rows, dead_letters=self._dead_letters, tenants=tenants, metrics=self._metrics
        )

    async def _retry(self, ended: Sequence[Ended[Retrying]]) -> Refusals:
        rows = [(active.claimed, outcome, active.options.lifo) for active, outcome in ended]
        return await retry(self._link, self._keys, rows)

    async def _delay(self, ended: Sequence[Ended[Retrying | Delayed]]) -> Refusals:
        return await delay(self._link, self._keys, [(active.claimed, outcome) for active, outcome in ended])

    async def _release(self, ended: Sequence[Ended[Released]]) -> Refusals:
        return await release(self._link, self._keys, [active.claimed for active, _ in ended])

    async def _rate_limit(self, ended: Sequence[Ended[Limited]]) -> Refusals:
        return await rate_limit(self._link, self._keys, [(active.claimed, outcome) for active, outcome in ended])

    async def _finish_adding(self, ended: Sequence[Ended[CompletedAdding]]) -> Refusals:
        active, outcome = ended[0]
        keep = active.options.remove_on_complete
        row = (active.claimed, outcome.value, self._keep_completed if keep is None else keep)
        refusal = await finish_adding(self._link, self._keys, row, outcome.nodes)
        return {} if refusal is None else {0: refusal}

    async def _wait_children(self, ended: Sequence[Ended[WaitingChildren]]) -> Refusals:
        active, outcome = ended[0]
        refusal = await wait_children(self._link, self._keys, active.claimed, outcome.children)
        return {} if refusal is None else {0: refusal}


class _AckQueue(Generic[SomeOutcome]):
    """The outcomes that one script takes: one call at a time; what arrives during a call leaves with the next."""

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[Ended[SomeOutcome]]], Awaitable[Refusals]],
        acknowledged: Acknowledged,
        report: Report,
        per_call: int = PER_CALL,
    ) -> None:
        self.name = name
        self._ended: deque[Ended[SomeOutcome]] = deque()
        self._send = send
        self._acknowledged = acknowledged
        self._report = report
        self._per_call = per_call
        self._task: asyncio.Task[None] | None = None
        # A job puts its outcome here: the call must not inherit the job's context variables.
        self._context = contextvars.copy_context()

    def __len__(self) -> int:
        """Outcomes whose call has not left."""
        return len(self._ended)

    def put(self, ended: Ended[SomeOutcome]) -> None:
        self._ended.append(ended)
        self.wake()

    def wake(self) -> None:
        if self._task is None and self._ended:
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
        retry_delay = RetryDelay()
        while self._ended:
            sent = self._next()
            try:
                refused = await self._send(sent)
            except LinkClosed:
                self._put_back(sent)
                break
            except (Exception, asyncio.CancelledError) as error:
                for active, _ in sent:
                    active.resent = active.resent or not isinstance(error, NOT_DONE)
                self._put_back(sent)
                if isinstance(error, asyncio.CancelledError):
                    self._task = None
                    raise
                self._report(error)
                await asyncio.sleep(retry_delay.wait())
                continue
            retry_delay.clear()
            self._acknowledged(sent, refused)
        self._task = None

    def _next(self) -> list[Ended[SomeOutcome]]:
        return [self._ended.popleft() for _ in range(min(len(self._ended), self._per_call))]

    def _put_back(self, sent: list[Ended[SomeOutcome]]) -> None:
        self._ended.extendleft(reversed(sent))


class _FailQueue(_AckQueue[Failed]):
    """Bounds a call by the jobs' data too: a dead letter holds a copy."""

    def _next(self) -> list[Ended[Failed]]:
        sent: list[Ended[Failed]] = []
        size = 0
        while self._ended and len(sent) < self._per_call and size < _MAX_BYTES:
            sent.append(self._ended.popleft())
            size += len(sent[-1][0].claimed.data)
        return sent


class _ReleaseQueue(_AckQueue[SomeOutcome]):
    """Each call puts its jobs in front of all that wait, so the jobs that were claimed last leave first."""

    def _next(self) -> list[Ended[SomeOutcome]]:
        ordered = sorted(self._ended, key=lambda ended: ended[0].number)
        self._ended = deque(ordered[: -self._per_call])
        return ordered[-self._per_call :]


_AnyQueue = (
    _AckQueue[Failed]
    | _AckQueue[Retrying]
    | _AckQueue[Retrying | Delayed]
    | _AckQueue[Released]
    | _AckQueue[Limited]
    | _AckQueue[CompletedAdding]
    | _AckQueue[WaitingChildren]
)
