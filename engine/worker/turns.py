"""Turns: each call to Redis acknowledges completed jobs and claims new ones for free slots.

With no turn under way, one leaves in the same tick of the event loop: one job on an idle worker costs one round trip to
claim and one to finish. While turns are under way completed jobs gather, so under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from enum import Enum

from engine.connection import Argument, Link, Reply
from engine.errors import LinkClosed
from engine.model.clock import monotonic
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Claimed, Completed
from engine.scripting.pace import PER_CALL
from engine.scripting.rows import Finished
from engine.scripts.recover_claim import recover_claim
from engine.scripts.turn import post_turn, read_turn
from engine.worker.active_jobs import ActiveJob
from engine.worker.outbox import NOT_DONE, Acknowledged, Ended
from engine.worker.retry_delay import Report, RetryDelay

MAX_PENDING = 2
"""Turns under way at once: the server works on one while the worker runs the jobs of the other."""
MAX_BYTES = 1024 * 1024
"""Bytes of results in one turn; a larger result leaves alone."""
DEDUPLICATED_BYTES = MAX_BYTES // 50
"""What a job with a deduplication counts beside its result: the turn may have to add the job that was kept for its end."""


MANY_IN_FLIGHT = 4
"""Turns of other queues under way from which on a queue has one turn at a time, for all its slots: the server has work enough."""


class TurnsInFlight:
    """The turns under way of all queues that share a connection."""

    def __init__(self) -> None:
        self.count = 0


class Backlog(Enum):
    """What is known about the jobs that wait in the queue."""

    EMPTY = "empty"
    """The last poll left nothing that may start now: no turn leaves only to claim."""
    PERHAPS = "perhaps"
    """A marker, a timer or the start asks for a poll: one turn leaves for all free slots."""
    MORE = "more"
    """The last turn left jobs behind: turns leave as slots become free, each for half of them."""


class Turns:
    """Sends turns: acknowledges what `put` gathers, claims as many jobs as `free()` says, calls `claimed` with them.

    `idle` is set while a slot is free and there is nothing to claim; `became_idle` is called when it is set. `next_due` is
    called with the milliseconds until the next delayed job (None without one), `limited` with the milliseconds for which a rate
    limit lets nothing start.
    `drained` is called once after jobs were claimed, when a slot is free and no job waits. `changed` is called after each
    change. `last`: monotonic time of the last reply. `limiter`: the worker's own rate limit, MAX,MS. `in_flight`: shared with the
    other queues of the process.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        *,
        worker_id: str,
        name: str,
        lock_ms: int,
        concurrency: int,
        keep: Keep,
        limiter: str,
        in_flight: TurnsInFlight,
        free: Callable[[], int],
        claimed: Callable[[list[Claimed]], None],
        acknowledged: Acknowledged,
        next_due: Callable[[int | None], None],
        limited: Callable[[int], None],
        report: Report,
        drained: Callable[[], None],
        became_idle: Callable[[], None],
        changed: Callable[[], None],
        metrics: Argument = "",
    ) -> None:
        self.idle = asyncio.Event()
        self.last = monotonic()
        self.count = 0
        self._link = link
        self._keys = keys
        self._worker_id = worker_id
        self._name = name
        self._lock_ms = lock_ms
        self._concurrency = concurrency
        self._half = _half(concurrency)
        self._share = self._half  # how many jobs a turn carries at most while others wait
        self._in_flight = in_flight
        self._keep = keep
        self._metrics = metrics
        self._limiter = limiter
        self._free = free
        self._claimed = claimed
        self._acknowledged = acknowledged
        self._next_due = next_due
        self._limited = limited
        self._drained = drained
        self._became_idle = became_idle
        self._report = report
        self._completed: deque[Ended[Completed]] = deque()
        self._backlog = Backlog.EMPTY
        self._none_waiting = False  # the last turn found no waiting job
        self._claimed_since_drained = False
        self._polls = 0
        self._promised = 0  # slots of claims under way, and of claims whose reply was lost until they are recovered
        self._pending: set[_PendingTurn] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._scheduled = False
        self._retry_delay = RetryDelay()
        self._retry_timer: asyncio.TimerHandle | None = None
        self._claiming = True
        self._closed = False
        self._changed = changed
        # A job calls `put`: turns and their callbacks must not inherit the job's context variables.
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<Turns {self.count}, {len(self._pending)} pending, {len(self._completed)} completed jobs, backlog {self._backlog.value}>"

    @property
    def promised(self) -> int:
        """Slots that a claim under way may still fill."""
        return self._promised

    def put(self, active: ActiveJob, outcome: Completed) -> None:
        """Acknowledge this completed job with the next turn."""
        self._completed.append((active, outcome))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump, context=self._context)

    def poll(self) -> None:
        """Claim as soon as a slot is free: jobs may wait. With a free slot the turn leaves before this returns."""
        self._expect_jobs()
        self._pump()

    def resize(self, concurrency: int) -> None:
        """Use this many slots from now on."""
        self._concurrency = concurrency
        self._half = _half(concurrency)
        self._expect_jobs()
        # A job may call this: its context is not ours.
        self.pump()

    def _expect_jobs(self) -> None:
        self._polls += 1
        if self._backlog is Backlog.EMPTY:
            self._backlog = Backlog.PERHAPS

    def pump(self) -> None:
        """Send turns if there is a reason to, at the end of this tick."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump, context=self._context)

    def stop_claiming(self) -> None:
        self._claiming = False
        self.idle.clear()

    async def close(self) -> None:
        """Abandon the turns under way."""
        self._claiming = False
        self._closed = True
        if self._retry_timer is not None:
            self._retry_timer.cancel()
        for turn in list(self._pending):
            self._failed(turn, asyncio.CancelledError())
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # -- sending ---------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        self._scheduled = False
        pending = len(self._pending)
        is_busy = self._in_flight.count - pending >= MANY_IN_FLIGHT
        self._share = self._concurrency if is_busy else self._half
        if pending < (1 if is_busy else MAX_PENDING) and self._retry_timer is None:
            wanted = self._wanted()
            if self._completed or wanted:
                self._send(wanted)
                if self._completed or self._backlog is Backlog.MORE:
                    # A second turn leaves a tick later, in a write of its own, so that the server starts on the first.
                    self.pump()
        if self._claiming and self._backlog is Backlog.EMPTY and self._free() - self._promised > 0:
            if not self.idle.is_set():
                self.idle.set()
                self._became_idle()
            if self._claimed_since_drained and self._none_waiting:
                self._claimed_since_drained = False
                self._drained()
        else:
            self.idle.clear()
        self._changed()

    def _wanted(self) -> int:
        """How many jobs the next turn claims at most."""
        free = self._free() - self._promised
        if not self._claiming or free <= 0:
            return 0
        if self._backlog is Backlog.MORE:
            return min(free, self._share, PER_CALL)
        # A turn that leaves anyway polls too; one poll under way is enough.
        if self._promised or (self._backlog is Backlog.EMPTY and not self._completed):
            return 0
        return min(free, PER_CALL)

    def _send(self, wanted: int) -> None:
        self._promised += wanted
        turn = _PendingTurn(self, wanted, self._polls, f"{self._worker_id}:{next(self._numbers)}")
        self._pending.add(turn)
        self._in_flight.count += 1
        post_turn(
            self._link,
            self._keys,
            self._take(turn.ended),
            turn,
            token=turn.token,
            lock_ms=self._lock_ms,
            worker=self._name,
            count=wanted,
            metrics=self._metrics,
            worker_limit=self._limiter,
        )

    def _take(self, ended: list[Ended[Completed]]) -> list[Finished]:
        """Move completed jobs to `ended`, as many as one turn carries; their rows."""
        rows: list[Finished] = []
        completed, size = self._completed, 0
        most = min(PER_CALL, max(self._share, len(completed) // 2))
        while completed and len(rows) < most and size < MAX_BYTES:
            one = completed.popleft()
            active, outcome = one
            options, value = active.options, outcome.value
            size += len(value)
            if options.deduplication is not None:
                size += DEDUPLICATED_BYTES
            keep = options.remove_on_complete
            ended.append(one)
            rows.append((active.claimed, value, self._keep if keep is None else keep))
        return rows

    # -- replies ---------------------------------------------------------------------------------------------------

    def replied(self, turn: _PendingTurn, reply: Reply) -> None:
        """Handle the reply in the next tick: the link is still reading."""
        self._loop.call_soon(self._read, turn, reply, context=self._context)

    def failed(self, turn: _PendingTurn, error: Exception) -> None:
        """Handle the failure in the next tick. The call may have been carried out."""
        self._loop.call_soon(self._failed, turn, error, context=self._context)

    def _read(self, turn: _PendingTurn, reply: Reply) -> None:
        if turn not in self._pending:
            return
        try:
            turned = read_turn(reply, turn.token)
        except Exception as error:
            self._failed(turn, error)
            return
        self._pending.discard(turn)
        self._in_flight.count -= 1
        self._retry_delay.clear()
        self.last = monotonic()
        self.count += 1
        self._promised -= turn.wanted
        if turned.more:
            self._backlog = Backlog.MORE
        elif turn.wanted:
            # A poll that was asked for after this turn left may know of newer jobs.
            self._backlog = Backlog.EMPTY if turn.polls == self._polls else Backlog.PERHAPS
        if turn.ended:
            self._acknowledged(turn.ended, turned.refused)
        self._none_waiting = turned.empty
        if turned.jobs:
            self._start(turned.jobs)
        self._next_due(turned.next_due)
        self._limited(turned.limited_ms)
        self.pump()

    def _failed(self, turn: _PendingTurn, error: BaseException) -> None:
        if turn not in self._pending:
            return
        self._pending.discard(turn)
        self._in_flight.count -= 1
        self._completed.extendleft(reversed(turn.ended))
        if isinstance(error, LinkClosed) or self._closed:
            self._promised -= turn.wanted
            return
        if turn.wanted and self._backlog is Backlog.EMPTY:
            self._backlog = Backlog.PERHAPS
        if isinstance(error, NOT_DONE):
            self._promised -= turn.wanted
        else:
            for active, _ in turn.ended:
                active.resent = True
            if turn.wanted:
                self._track(self._recover(turn.token, turn.wanted))
        self._report(error)
        if self._retry_timer is None:
            self._retry_timer = self._loop.call_later(self._retry_delay.wait(), self._retry)

    def _retry(self) -> None:
        self._retry_timer = None
        self.pump()

    def _start(self, jobs: list[Claimed]) -> None:
        self._claimed_since_drained = True
        self._claimed(jobs)

    async def _recover(self, token: str, wanted: int) -> None:
        """Start the jobs of a claim whose reply was lost. Their slots stay promised until the server has answered."""
        retry_delay = RetryDelay()
        while True:
            try:
                jobs = await recover_claim(self._link, self._keys, token=token, lock_ms=self._lock_ms)
                break
            except LinkClosed:
                jobs = []
                break
            except Exception as error:
                self._report(error)
                await asyncio.sleep(retry_delay.wait())
        self._promised -= wanted
        if jobs:
            self._start(jobs)
        self.pump()

    def _track(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _half(concurrency: int) -> int:
    """The jobs of a turn while another is under way: half of the slots."""
    return max(1, (concurrency + 1) // 2)


class _PendingTurn:
    """A turn under way: the jobs it acknowledges, how many it claims, and `polls` when it left."""

    __slots__ = ("_turns", "ended", "polls", "token", "wanted")

    def __init__(self, turns: Turns, wanted: int, polls: int, token: str) -> None:
        self._turns = turns
        self.ended: list[Ended[Completed]] = []
        self.wanted = wanted
        self.polls = polls
        self.token = token

    def done(self) -> bool:
        return False

    def set_result(self, reply: Reply) -> None:
        self._turns.replied(self, reply)

    def set_exception(self, error: Exception) -> None:
        self._turns.failed(self, error)
