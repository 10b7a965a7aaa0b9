"""What a SyncQueue gives beside itself, each call blocking: jobs, dead letters, schedules, flows and events.

Knows nothing of threads and loops: it is given what runs a coroutine and returns its result.
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
    """Runs a coroutine on a loop of another thread and returns its result."""

    def __call__(self, coroutine: Coroutine[Any, Any, T], /) -> T: ...


class Call(Protocol[Behind]):
    """Runs what is made of the thing that stands behind: a Queue, a FlowProducer."""

    def __call__(self, what: Callable[[Behind], Coroutine[Any, Any, T]], /) -> T: ...


class SyncJob(Generic[Data, Result]):
    """A Job whose methods block. Its attributes (`id`, `data`, `progress`, ...) are those of the Job."""

    def __init__(self, job: Job[Data, Result], run: Run) -> None:
        self._job = job
        self._run = run

    def __repr__(self) -> str:
        return repr(self._job)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._job, name)

    @property
    def id(self) -> str:
        return self._job.id

    @property
    def data(self) -> Data:
        return self._job.data

    @property
    def return_value(self) -> Result | None:
        return self._job.return_value

    def refresh(self) -> SyncJob[Data, Result]:
        self._run(self._job.refresh())
        return self

    def state(self) -> str:
        return str(self._run(self._job.state()))

    def result(self, timeout: int | timedelta | None = None) -> Result:
        return self._run(self._job.result(timeout))

    def update_progress(self, value: Any) -> None:
        self._run(self._job.update_progress(value))

    def log(self, row: str) -> int:
        return int(self._run(self._job.log(row)))

    def update_data(self, data: Data) -> None:
        self._run(self._job.update_data(data))

    def children_values(self) -> dict[str, Any]:
        return dict(self._run(self._job.children_values()))

    def ignored_failures(self) -> dict[str, str]:
        return dict(self._run(self._job.ignored_failures()))

    def remove_deduplication(self) -> bool:
        return bool(self._run(self._job.remove_deduplication()))


class SyncDeadLetters:
    """The blocking view of `Queue.dead_letters`: the same names, arguments and errors."""

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
        return self._call(
            lambda queue: queue.dead_letters.list(limit=limit, cursor=cursor, oldest_first=oldest_first, **filter)
        )

    def count(self, **filter: Unpack[DeadLetterFilter]) -> int:
        return self._call(lambda queue: queue.dead_letters.count(**filter))

    def at_least(self, *, limit: int = 10_000, **filter: Unpack[DeadLetterFilter]) -> AtLeast:
        return self._call(lambda queue: queue.dead_letters.at_least(limit=limit, **filter))

    def groups(self, by: Group, *, limit: int = 100) -> dict[str, int]:
        return self._call(lambda queue: queue.dead_letters.groups(by, limit=limit))

    def get(self, job_id: str) -> DeadLetter | None:
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
        return self._call(
            lambda queue: queue.dead_letters.replay(
                job_id, data=data, dry_run=dry_run, rate=rate, everything=everything, **filter
            )
        )

    def purge(self, job_id: str | None = None, *, everything: bool = False, **filter: Unpack[DeadLetterFilter]) -> int:
        return self._call(lambda queue: queue.dead_letters.purge(job_id, everything=everything, **filter))

    def adopt(self) -> int:
        return self._call(lambda queue: queue.dead_letters.adopt())


class SyncSchedules:
    """The blocking view of `Queue.schedules`: the same names, arguments and errors."""

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
        return self._call(lambda queue: queue.schedules.upsert(id, name, data, **options))

    def get(self, id: str) -> Schedule | None:
        return self._call(lambda queue: queue.schedules.get(id))

    def list(self, start: int = 0, end: int = 99) -> list[Schedule]:
        return self._call(lambda queue: queue.schedules.list(start, end))

    def remove(self, id: str) -> bool:
        return self._call(lambda queue: queue.schedules.remove(id))

    def run_now(self, id: str) -> SyncJob:
        return SyncJob(self._call(lambda queue: queue.schedules.run_now(id)), self._run)


class SyncFlowNode(Struct, Generic[Data, Result], frozen=True):
    """A job of a flow and those that it waits for, or waited for."""

    job: SyncJob[Data, Result]
    children: builtins.list[SyncFlowNode[Any, Any]]


class SyncFlows:
    """The blocking view of a FlowProducer: the same names, arguments and errors."""

    def __init__(self, call: Call[FlowProducer], run: Run) -> None:
        self._call = call
        self._run = run

    def add(self, tree: FlowJob[Data, Result]) -> SyncFlowNode[Data, Result]:
        return self._node(self._call(lambda flows: flows.add(tree)))

    def get(self, queue: str, job_id: str, *, depth: int = 10, max_children: int = 20) -> SyncFlowNode | None:
        found = self._call(lambda flows: flows.get(queue, job_id, depth=depth, max_children=max_children))
        return None if found is None else self._node(found)

    def remove(self, queue: str, job_id: str) -> bool:
        return self._call(lambda flows: flows.remove(queue, job_id))

    def _node(self, node: FlowNode[Data, Result]) -> SyncFlowNode[Data, Result]:
        return SyncFlowNode(SyncJob(node.job, self._run), [self._node(child) for child in node.children])


class SyncEvents:
    """Events of a queue, one after the other: each step blocks until there is one. Has a connection of its own.

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
        """After the event that was given last: what `queue.events(after=)` takes to go on from there."""
        return self._events.place

    def next(self, timeout: int | timedelta | None = None) -> Event | None:
        """The next event; None once this is closed. Raises TimeoutError after `timeout` (ms or timedelta) without one; ask
        again.
        """
        seconds = None if timeout is None else duration_s("timeout", timeout)

        async def step() -> Event | None:
            return await wait_for(anext(self._reader, None), seconds)

        return self._run(step())

    def close(self) -> None:
        """Close the connection; who waits for an event in another thread is given None. May be called twice."""
        self._run(self._events.close())
