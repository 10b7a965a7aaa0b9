"""Blocking wrappers for jobs, dead letters, schedules, flows and events, as SyncQueue returns them.

Knows neither threads nor loops: each wrapper gets a function that runs a coroutine and returns its result.
"""

from __future__ import annotations

import builtins
from asyncio import wait_for
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar, Unpack, overload

import msgspec
from msgspec import UNSET, Struct

from engine.dead_letters import AtLeast, DeadLetter, DeadLetterFilter, DeadLetterPage, Group, ReplayReport
from engine.events import Event
from engine.flows import FlowJob, FlowNode, FlowProducer
from engine.job import Job
from engine.model.clock import duration_s
from engine.model.records import D, Data, R, Result, Target
from engine.queue import Queue
from engine.queue_events import QueueEvents
from engine.schedules import Schedule, UpsertOptions

T = TypeVar("T")
Behind = TypeVar("Behind", covariant=True)


class Run(Protocol):
    """Runs a coroutine on the event loop of another thread and returns its result."""

    def __call__(self, coroutine: Coroutine[Any, Any, T], /) -> T: ...


class Call(Protocol[Behind]):
    """Makes a coroutine from the async object behind the wrapper (a Queue, a FlowProducer), runs it and returns its result."""

    def __call__(self, what: Callable[[Behind], Coroutine[Any, Any, T]], /) -> T: ...


class SyncJob(Generic[Data, Result]):
    """A Job whose methods block. It has the attributes of Job: `id`, `data`, `progress`, `failed_reason`, ..."""

    def __init__(self, job: Job[Data, Result], run: Run) -> None:
        self._job = job
        self._run = run

    def __repr__(self) -> str:
        return repr(self._job)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._job, name)

    @property
    def id(self) -> str:
        """Job id."""
        return self._job.id

    @property
    def data(self) -> Data:
        """The payload, of the processor's type or plain JSON values."""
        return self._job.data

    @property
    def return_value(self) -> Result | None:
        """What the processor returned; None before that. Updated by `refresh`."""
        return self._job.return_value

    def refresh(self) -> SyncJob[Data, Result]:
        """Read the job again and return it. Raises JobNotFound if the job was removed."""
        self._run(self._job.refresh())
        return self

    def state(self) -> str:
        """The job's state: waiting, active, delayed, prioritized, completed, failed, waiting-children, or unknown."""
        return str(self._run(self._job.state()))

    def result(self, timeout: int | timedelta | None = None) -> Result:
        """Wait until the job finishes and return what its processor returned. See `Job.result` for the errors."""
        return self._run(self._job.result(timeout))

    def update_progress(self, value: Any) -> None:
        """Report progress: a number from 0 to 100, or any JSON value."""
        self._run(self._job.update_progress(value))

    def log(self, row: str) -> int:
        """Append a row to the job's log; returns how many rows are kept."""
        return int(self._run(self._job.log(row)))

    def update_data(self, data: Data) -> None:
        """Replace the job's data. Raises JobNotFound if the job was removed."""
        self._run(self._job.update_data(data))

    def children_values(self) -> dict[str, Any]:
        """Results of the completed children, as plain JSON values, by key."""
        return dict(self._run(self._job.children_values()))

    def ignored_failures(self) -> dict[str, str]:
        """Failure reasons of the children whose failure the parent ignores, by key."""
        return dict(self._run(self._job.ignored_failures()))

    def remove_deduplication(self) -> bool:
        """Release this job's deduplication id, so that the next add makes a job. False if it does not own the id."""
        return bool(self._run(self._job.remove_deduplication()))


class SyncDeadLetters:
    """`SyncQueue.dead_letters`: as `Queue.dead_letters`, with methods that block."""

    def __init__(self, call: Call[Queue]) -> None:
        self._call = call

    def list(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        oldest_first: bool = False,
        **filter: Unpack[DeadLetterFilter],
    ) -> DeadLetterPage:
        """A page of up to `limit` dead letters (at most 1,000), the newest failure first."""
        return self._call(
            lambda queue: queue.dead_letters.list(limit=limit, cursor=cursor, oldest_first=oldest_first, **filter)
        )

    def count(self, **filter: Unpack[DeadLetterFilter]) -> int:
        """How many dead letters match."""
        return self._call(lambda queue: queue.dead_letters.count(**filter))

    def at_least(self, *, limit: int = 10_000, **filter: Unpack[DeadLetterFilter]) -> AtLeast:
        """How many dead letters match, after reading at most `limit` of them."""
        return self._call(lambda queue: queue.dead_letters.at_least(limit=limit, **filter))

    def groups(self, by: Group, *, limit: int = 100) -> dict[str, int]:
        """How many open dead letters each type, error, tenant or day has: the `limit` largest groups, or the newest days."""
        return self._call(lambda queue: queue.dead_letters.groups(by, limit=limit))

    def get(self, job_id: str) -> DeadLetter | None:
        """The dead letter of that job, open or replayed; None if it has none."""
        return self._call(lambda queue: queue.dead_letters.get(job_id))

    def replay(
        self,
        job_id: str | None = None,
        *,
        data: Any = msgspec.UNSET,
        dry_run: bool = False,
        rate: float | None = None,
        everything: bool = False,
        **filter: Unpack[DeadLetterFilter],
    ) -> ReplayReport:
        """Enqueue the failed job again, or all jobs that match a filter. See `DeadLetters.replay`."""
        return self._call(
            lambda queue: queue.dead_letters.replay(
                job_id, data=data, dry_run=dry_run, rate=rate, everything=everything, **filter
            )
        )

    def purge(self, job_id: str | None = None, *, everything: bool = False, **filter: Unpack[DeadLetterFilter]) -> int:
        """Delete the dead letter of one job, or all that match a filter; returns how many. The jobs themselves stay."""
        return self._call(lambda queue: queue.dead_letters.purge(job_id, everything=everything, **filter))

    def adopt(self) -> int:
        """Write dead letters for failed jobs that have none, such as those of BullMQ workers; returns how many."""
        return self._call(lambda queue: queue.dead_letters.adopt())


class SyncSchedules:
    """`SyncQueue.schedules`: as `Queue.schedules`, with methods that block."""

    def __init__(self, call: Call[Queue], run: Run) -> None:
        self._call = call
        self._run = run

    @overload
    def upsert(self, id: str, name: Target[D, R], data: D, **options: Unpack[UpsertOptions]) -> Schedule: ...
    @overload
    def upsert(self, id: str, name: Target[None, R], **options: Unpack[UpsertOptions]) -> Schedule: ...
    @overload
    def upsert(self, id: str, name: str, data: Any = UNSET, **options: Unpack[UpsertOptions]) -> Schedule: ...
    def upsert(self, id: str, name: Any, data: Any = UNSET, **options: Any) -> Schedule:
        """Add a schedule, or change the one with this id. See `Schedules.upsert` for the arguments."""
        return self._call(lambda queue: queue.schedules.upsert(id, name, data, **options))

    def get(self, id: str) -> Schedule | None:
        """The schedule with this id; None if there is none."""
        return self._call(lambda queue: queue.schedules.get(id))

    def list(self, start: int = 0, end: int = 99) -> list[Schedule]:
        """A page of the schedules, in order of their next run: positions `start` to `end`, both included, from 0."""
        return self._call(lambda queue: queue.schedules.list(start, end))

    def remove(self, id: str) -> bool:
        """Remove a schedule and its next run; False if it does not exist."""
        return self._call(lambda queue: queue.schedules.remove(id))

    def run_now(self, id: str) -> SyncJob:
        """Add an extra job with the schedule's name, data and options. Raises ScheduleNotFound."""
        return SyncJob(self._call(lambda queue: queue.schedules.run_now(id)), self._run)


class SyncFlowNode(Struct, Generic[Data, Result], frozen=True):
    """A job of a flow and its children."""

    job: SyncJob[Data, Result]
    children: builtins.list[SyncFlowNode[Any, Any]]


class SyncFlows:
    """`SyncQueue.flows`: as FlowProducer, with methods that block."""

    def __init__(self, call: Call[FlowProducer], run: Run) -> None:
        self._call = call
        self._run = run

    def add(self, tree: FlowJob[Data, Result]) -> SyncFlowNode[Data, Result]:
        """Add a tree of at most 500 jobs in one step, all or nothing; returns the tree of added jobs."""
        return self._node(self._call(lambda flows: flows.add(tree)))

    def get(self, queue: str, job_id: str, *, depth: int = 10, max_children: int = 20) -> SyncFlowNode | None:
        """A stored job with its descendants, `depth` levels in all; None if it does not exist."""
        found = self._call(lambda flows: flows.get(queue, job_id, depth=depth, max_children=max_children))
        return None if found is None else self._node(found)

    def remove(self, queue: str, job_id: str) -> bool:
        """Remove a job and all its descendants; False if it does not exist. Raises JobLocked while a worker runs one."""
        return self._call(lambda flows: flows.remove(queue, job_id))

    def _node(self, node: FlowNode[Data, Result]) -> SyncFlowNode[Data, Result]:
        return SyncFlowNode(SyncJob(node.job, self._run), [self._node(child) for child in node.children])


class SyncEvents:
    """Iterator over the events of a queue: each step blocks until there is an event. Has a connection of its own.

    with queue.events() as events:
        for event in events:
            print(event)
    """

    def __init__(self, events: QueueEvents, run: Run, after: str, names: Iterable[str] | None) -> None:
        self._run = run
        self._events = events
        run(events.open())
        try:
            self._reader = events.events(after, names=names)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> SyncEvents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> SyncEvents:
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    @property
    def place(self) -> str:
        """The position after the last event read. Pass it to `queue.events(after=)` to continue from there."""
        return self._events.place

    def next(self, timeout: int | timedelta | None = None) -> Event | None:
        """The next event; None once this is closed.

        Raises TimeoutError after `timeout` (ms or timedelta) without an event; no event is lost.
        """
        seconds = None if timeout is None else duration_s("timeout", timeout)

        async def step() -> Event | None:
            return await wait_for(anext(self._reader, None), seconds)

        return self._run(step())

    def close(self) -> None:
        """Close the connection; a call of `next` that waits in another thread returns None. Can be called twice."""
        self._run(self._events.close())
