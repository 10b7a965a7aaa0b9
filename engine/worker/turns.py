"""Turns: calls that hand in results and claim jobs for free slots. Knows when to send one, and what a lost reply means.

With nothing on the way a turn leaves in the same tick of the loop: one job on an idle worker costs one round trip to
claim and one to finish. While turns are on the way results gather, so under load turns grow by themselves.
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
from engine.scripts.recover_claim import recover_claim
from engine.scripts.turn import TurnReply, post_turn, read_turn
from engine.worker.active_jobs import ActiveJob
from engine.worker.outbox import NOT_DONE, Settled
from engine.worker.retry_delay import Report, RetryDelay

ON_THE_WAY = 2
"""Turns at once: the server works on one while the worker works on the jobs of the other."""
MAX_BYTES = 1024 * 1024
"""Results of one turn; a larger one goes alone."""
FOLLOWED = MAX_BYTES // 50
"""What a job with a deduplication counts beside its result: the turn may have to make the job that was kept for its end."""


class Backlog(Enum):
    """What is known of the line of waiting jobs."""

    EMPTY = "empty"
    """The last turn that looked left nothing that may start now: no turn goes only to claim."""
    PERHAPS = "perhaps"
    """A marker, a timer or the start says to look: one turn goes for all free slots."""
    MORE = "more"
    """The last turn left jobs behind: turns go as slots are free, each for half of them."""


class Turns:
    """Hands in what `put` gathers and claims as many jobs as `free` says; `start` takes the claimed ones.

    `idle` is set while there is a free slot and nothing to claim. `due` is told the milliseconds until the next delayed
    job, `closed` for how many milliseconds a rate limit lets nothing start. `drained` is called when a slot is free and no
    job is in line, once after jobs were claimed. `last` is when the last reply came (monotonic), written here only.
    `changed` is called after each change.
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
        own: str,
        free: Callable[[], int],
        start: Callable[[list[Claimed]], None],
        settled: Settled,
        due: Callable[[int | None], None],
        closed: Callable[[int], None],
        report: Report,
        drained: Callable[[], None],
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
        self._share = _share(concurrency)
        self._keep = keep
        self._metrics = metrics
        self._own = own
        self._free = free
        self._start = start
        self._settled = settled
        self._due = due
        self._closed_for = closed
        self._drained = drained
        self._report = report
        self._results: deque[ActiveJob] = deque()
        self._seen = Backlog.EMPTY
        self._empty = False  # the last turn found no job in line
        self._fed = False  # jobs were claimed since `drained` was called
        self._looks = 0
        self._asked = 0  # slots promised to claims on the way, or lost and not yet recovered
        self._flights: set[_PendingTurn] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._pending = False
        self._setbacks = RetryDelay()
        self._resting: asyncio.TimerHandle | None = None
        self._claiming = True
        self._closed = False
        self._changed = changed
        self._context = contextvars.copy_context()  # lest turns, and what they tell, run in a job's own
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<Turns {self.count}, {len(self._flights)} on the way, {len(self._results)} results, line {self._seen.value}>"

    @property
    def claims_on_the_way(self) -> int:
        """Slots that a claim may still fill."""
        return self._asked

    def put(self, hold: ActiveJob) -> None:
        """Hand in this result with the next turn."""
        self._results.append(hold)
        if not self._pending:
            self._pending = True
            self._loop.call_soon(self._pump, context=self._context)

    def look(self) -> None:
        """There may be jobs in line."""
        self._looks += 1
        if self._seen is Backlog.EMPTY:
            self._seen = Backlog.PERHAPS
        self.pump()

    def resize(self, concurrency: int) -> None:
        """The worker has another number of slots."""
        self._share = _share(concurrency)
        self.look()

    def pump(self) -> None:
        """Send turns if there is reason to, at the end of this tick."""
        if not self._pending:
            self._pending = True
            self._loop.call_soon(self._pump, context=self._context)

    def stop_claiming(self) -> None:
        self._claiming = False
        self.idle.clear()

    async def close(self) -> None:
        """Give up what is on the way."""
        self._claiming = False
        self._closed = True
        if self._resting is not None:
            self._resting.cancel()
        for flight in list(self._flights):
            self._missed(flight, asyncio.CancelledError())
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # --------------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        self._pending = False
        if len(self._flights) < ON_THE_WAY and self._resting is None:
            wanted = self._wanted()
            if self._results or wanted:
                self._send(self._take(), wanted)
                # A second turn goes a tick later, in a write of its own, so that the server starts on the first.
                self.pump()
        if self._claiming and self._seen is Backlog.EMPTY and self._free() - self._asked > 0:
            self.idle.set()
            if self._fed and self._empty:
                self._fed = False
                self._drained()
        else:
            self.idle.clear()
        self._changed()

    def _wanted(self) -> int:
        """How many jobs the next turn asks for."""
        free = self._free() - self._asked
        if not self._claiming or free <= 0:
            return 0
        if self._seen is Backlog.MORE:
            return min(free, self._share, PER_CALL)
        # A turn that goes anyway looks too; one that is already looking is enough.
        if self._asked or (self._seen is Backlog.EMPTY and not self._results):
            return 0
        return min(free, PER_CALL)

    def _take(self) -> list[ActiveJob]:
        taken: list[ActiveJob] = []
        results, size = self._results, 0
        most = min(PER_CALL, max(self._share, len(results) // 2))
        while results and len(taken) < most and size < MAX_BYTES:
            hold = results.popleft()
            size += len(hold.outcome.value)  # type: ignore[union-attr]
            if hold.options.deduplication is not None:
                size += FOLLOWED
            taken.append(hold)
        return taken

    def _send(self, holds: list[ActiveJob], wanted: int) -> None:
        self._asked += wanted
        flight = _PendingTurn(self, holds, wanted, self._looks, f"{self._worker_id}:{next(self._numbers)}")
        self._flights.add(flight)
        post_turn(
            self._link,
            self._keys,
            [(hold.claimed, *self._row(hold)) for hold in holds],
            flight,
            token=flight.token,
            lock_ms=self._lock_ms,
            worker=self._name,
            count=wanted,
            metrics=self._metrics,
            worker_limit=self._own,
        )

    def landed(self, flight: _PendingTurn, reply: Reply) -> None:
        """A turn was answered. What it leads to waits for the next tick: the link is in the middle of reading."""
        self._loop.call_soon(self._land, flight, reply, context=self._context)

    def missed(self, flight: _PendingTurn, error: Exception) -> None:
        """A turn failed, or nobody knows."""
        self._loop.call_soon(self._missed, flight, error, context=self._context)

    def _land(self, flight: _PendingTurn, reply: Reply) -> None:
        if flight not in self._flights:
            return
        try:
            turned = read_turn(reply, flight.token)
        except Exception as error:
            self._missed(flight, error)
            return
        self._flights.discard(flight)
        self._turned(turned, flight.holds, flight.wanted, flight.looks)

    def _missed(self, flight: _PendingTurn, error: BaseException) -> None:
        if flight in self._flights:
            self._flights.discard(flight)
            self._failed(error, flight.holds, flight.wanted, flight.token)

    def _row(self, hold: ActiveJob) -> tuple[bytes, Keep]:
        outcome, keep = hold.outcome, hold.options.remove_on_complete
        assert isinstance(outcome, Completed)
        return outcome.value, self._keep if keep is None else keep

    def _turned(self, turned: TurnReply, holds: list[ActiveJob], wanted: int, looks: int) -> None:
        self._setbacks.clear()
        self.last = monotonic()
        self.count += 1
        self._asked -= wanted
        if turned.more:
            self._seen = Backlog.MORE
        elif wanted:
            # What was told after this turn left may be news.
            self._seen = Backlog.EMPTY if looks == self._looks else Backlog.PERHAPS
        if holds:
            self._settled(holds, turned.refused)
        self._empty = turned.empty
        if turned.jobs:
            self._fed = True
            self._start(turned.jobs)
        self._due(turned.next_due)
        self._closed_for(turned.limited_ms)
        self.pump()

    def _failed(self, error: BaseException, holds: list[ActiveJob], wanted: int, token: str) -> None:
        self._results.extendleft(reversed(holds))
        if isinstance(error, LinkClosed) or self._closed:
            self._asked -= wanted
            return
        if wanted and self._seen is Backlog.EMPTY:
            self._seen = Backlog.PERHAPS
        if isinstance(error, NOT_DONE):
            self._asked -= wanted
        else:
            for hold in holds:
                hold.resent = True
            if wanted:
                self._track(self._recover(token, wanted))
        self._report(error)
        if self._resting is None:
            self._resting = self._loop.call_later(self._setbacks.wait(), self._rested)

    def _rested(self) -> None:
        self._resting = None
        self.pump()

    async def _recover(self, token: str, wanted: int) -> None:
        """Take the jobs that a claim took whose reply was lost. Their slots stay taken until the server has told."""
        setbacks = RetryDelay()
        while True:
            try:
                jobs = await recover_claim(self._link, self._keys, token=token, lock_ms=self._lock_ms)
                break
            except LinkClosed:
                jobs = []
                break
            except Exception as error:
                self._report(error)
                await asyncio.sleep(setbacks.wait())
        self._asked -= wanted
        if jobs:
            self._fed = True
            self._start(jobs)
        self.pump()

    def _track(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _share(concurrency: int) -> int:
    """How many jobs a turn carries at most while others are in line."""
    return max(1, (concurrency + 1) // 2)


class _PendingTurn:
    """A turn on the way: what it carries, and what was known when it left."""

    __slots__ = ("_turns", "holds", "looks", "token", "wanted")

    def __init__(self, turns: Turns, holds: list[ActiveJob], wanted: int, looks: int, token: str) -> None:
        self._turns = turns
        self.holds = holds
        self.wanted = wanted
        self.looks = looks
        self.token = token

    def done(self) -> bool:
        return False

    def set_result(self, reply: Reply) -> None:
        self._turns.landed(self, reply)

    def set_exception(self, error: Exception) -> None:
        self._turns.missed(self, error)
