"""Flows: `FlowJob` trees, checked as a whole and turned into rows before anything is written. Talks to no server."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Generic, Unpack, overload

import msgspec
from msgspec import UNSET

from engine.errors import InvalidInput, InvalidOption
from engine.model import codec
from engine.model.keys import Keys
from engine.model.options import POLICIES, FlowOptions, JobOptions, Parent
from engine.model.records import Data, NewRow, NodeRow, Result, Target, encode_data, signature_of

MAX_JOBS = 500
"""Most jobs of a tree. One script call adds them all, and blocks the server for 8 to 11 us a job."""
MAX_LINKS = 700
"""Most links between jobs and their parents."""
MAX_QUEUES = 50
"""Most queues of a tree: each takes another 20 us."""
MAX_BYTES = 2 * 1024 * 1024
"""Most bytes of data in a tree: a MiB takes another 1 to 3 ms, the most on Redis 7.0 with an append-only file."""


class FlowJob(Generic[Data, Result]):
    """A job of a flow: it runs when all of its `children` are done, in whatever queues they are.

        FlowJob("report", "reports", {"month": 5}, children=[
            FlowJob("load", "loads", {"table": "orders"}, attempts=3),
            FlowJob("load", "loads", {"table": "stock"}, ignore_dependency_on_failure=True),
        ])

    The same FlowJob may stand among the children of several jobs: it runs once, and each of them has its result.

    name: the processor, or the word that chooses one. queue: the name of its queue. data: as for `Queue.add`.
    options: those of `JobOptions`; a `delay` of a parent counts from when its children are done. Without a `job_id` the job
    gets a UUID. Raises InvalidOption or InvalidName at once if an option is wrong.
    """

    __slots__ = ("children", "data", "name", "options", "queue", "signature")

    @overload
    def __init__(
        self,
        name: Target[Data, Result],
        queue: str,
        data: Data,
        *,
        children: Iterable[FlowJob[Any, Any]] = (),
        **options: Unpack[FlowOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: FlowJob[None, Result],
        name: Target[None, Result],
        queue: str,
        *,
        children: Iterable[FlowJob[Any, Any]] = (),
        **options: Unpack[FlowOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: FlowJob[Any, Any],
        name: str,
        queue: str,
        data: Any = UNSET,
        *,
        children: Iterable[FlowJob[Any, Any]] = (),
        **options: Unpack[FlowOptions],
    ) -> None: ...
    def __init__(
        self, name: Any, queue: str, data: Any = UNSET, *, children: Iterable[FlowJob] = (), **options: Any
    ) -> None:
        self.signature = None if isinstance(name, str) and name else signature_of(name)
        self.name: str = name if self.signature is None else self.signature.name
        self.queue = queue
        self.data: Data = {} if data is UNSET else data
        self.children: list[FlowJob[Any, Any]] = list(children)
        self.options = JobOptions.check(options, in_flow=True)
        if self.children and options.get("run_at") is not None:
            raise InvalidOption("run_at: a job with children runs when they are done; give it a `delay` from then on")

    def __repr__(self) -> str:
        below = f" and {len(self.children)} children" if self.children else ""
        return f"<FlowJob {self.name!r} of {self.queue}{below}>"


def chain(*jobs: FlowJob) -> FlowJob:
    """A flow that runs the jobs one after the other: each waits for the one before it, and the last is the root.

    `await flows.add(chain(fetch, convert, publish))` runs fetch, then convert, then publish. A job keeps
    its own children and gets the job before it as another. An option such as `fail_parent_on_failure` sets what a failure does to
    the jobs after it. The arguments are not changed.
    """
    if not jobs:
        raise InvalidInput("chain: it has no jobs; give the jobs in the order in which they run")
    before: FlowJob | None = None
    for job in jobs:
        if not isinstance(job, FlowJob):
            raise InvalidInput(f"chain: {job!r} is not a FlowJob; write FlowJob(name, queue, data)")
        before = _copied(job, [] if before is None else [before])
    assert before is not None
    return before


def _copied(job: FlowJob, children: list[FlowJob]) -> FlowJob:
    twin = FlowJob(job.name, job.queue, job.data, children=[*job.children, *children])
    twin.signature, twin.options = job.signature, job.options
    return twin


class Planned(msgspec.Struct, frozen=True):
    """A job of a tree, its queue, and the row that it becomes."""

    job: FlowJob
    keys: Keys
    node: NodeRow


class Taken:
    """What one call has already: jobs, chosen ids, queues, and bytes of data."""

    __slots__ = ("bytes", "ids", "jobs", "queues")

    def __init__(self) -> None:
        self.jobs: set[int] = set()
        self.ids: set[tuple[str, str]] = set()
        self.queues: set[str] = set()
        self.bytes = 0

    def copy(self) -> Taken:
        twin = Taken()
        twin.jobs, twin.ids, twin.queues, twin.bytes = set(self.jobs), set(self.ids), set(self.queues), self.bytes
        return twin


def plan(
    tree: FlowJob,
    prefix: str,
    parent: tuple[Keys, str] | None = None,
    *,
    taken: Taken | None = None,
    is_root: bool = True,
) -> list[Planned]:
    """The rows of a tree, each job after all its parents; below `parent`, a queue and an id, if one is given.

    taken: what the same call has beside it. is_root: without a parent it may not say what a failure does to one.
    Raises InvalidInput, naming the job, for whatever cannot be.
    """
    taken = taken or Taken()
    above: dict[int, list[tuple[Keys, str]]] = {id(tree): [parent] if parent else []}
    known: dict[str, Keys] = {}
    planned: list[Planned] = []
    for job in _ordered(tree):
        if id(job) in taken.jobs:
            raise InvalidInput(f"children: {job!r} is in two trees that this run adds; add them as one tree")
        taken.jobs.add(id(job))
        if len(taken.jobs) > MAX_JOBS:
            raise _too_large()
        keys = known.get(job.queue) or known.setdefault(job.queue, Keys(job.queue, prefix))
        if not above[id(job)] and is_root:
            _no_policy(job)
        node = _row(job, keys, above[id(job)])
        if (node.queue, node.row.id) in taken.ids:
            raise InvalidInput(
                f"job_id: {node.row.id!r} is used twice in queue {job.queue!r}; give each job its own id"
            )
        taken.ids.add((node.queue, node.row.id))
        taken.queues.add(job.queue)
        taken.bytes += len(node.row.data)
        if len(taken.queues) > MAX_QUEUES:
            raise InvalidInput(
                f"flow: its jobs are in more than {MAX_QUEUES} queues, which is the most that one call takes; use fewer queues,"
                " or let a job add the others while it runs (`job.add_child`)"
            )
        if taken.bytes > MAX_BYTES:
            raise InvalidInput(
                f"flow: its data have more than {MAX_BYTES:,} bytes, which is the most that one call takes; store large values"
                " elsewhere and give jobs a reference, or let a job add the others while it runs (`job.add_child`)"
            )
        planned.append(Planned(job, keys, node))
        for child in job.children:
            above.setdefault(id(child), []).append((keys, node.row.id))
    return planned


def _ordered(tree: FlowJob) -> list[FlowJob]:
    """The jobs of a tree, each once and after all its parents; otherwise in the order in which they are written."""
    done: list[FlowJob] = []
    is_done: dict[int, bool] = {}
    links, ahead = 0, [tree]
    while ahead:
        job = ahead[-1]
        if id(job) not in is_done:
            is_done[id(job)] = False
            links += len(_children(job))
            for child in job.children:
                if is_done.get(id(child)) is False:
                    raise InvalidInput(
                        f"children: {child!r} would wait for itself, through {job!r}; remove it from those children"
                    )
            if links > MAX_LINKS:
                raise _too_large()
            ahead += job.children
        elif is_done[id(ahead.pop())] is False:
            is_done[id(job)] = True
            done.append(job)
    return done[::-1]


def _children(job: FlowJob) -> list[FlowJob]:
    if not isinstance(job, FlowJob):
        raise InvalidInput(f"children: {job!r} is not a FlowJob; write FlowJob(name, queue, data)")
    if len({id(child) for child in job.children}) < len(job.children):
        raise InvalidInput(f"children: {job!r} has the same child twice; make a FlowJob for each, or remove one")
    return job.children


def _too_large() -> InvalidInput:
    return InvalidInput(
        f"flow: it has more than {MAX_JOBS:,} jobs, or more than {MAX_LINKS:,} links between them, which is the most that one"
        " call takes; let a job add the others while it runs (`job.add_child`), or add them with the option `parent`"
    )


def _no_policy(job: FlowJob) -> None:
    for name in POLICIES:
        if getattr(job.options, name):
            raise InvalidOption(f"{name}: {job!r} is the root of the flow and has no parent; leave it out")


def _row(job: FlowJob, keys: Keys, above: Sequence[tuple[Keys, str]]) -> NodeRow:
    options = job.options
    if options.deduplication is not None:
        raise InvalidOption(f"deduplication: {job!r} is part of a flow, whose parents would wait for it; leave it out")
    encoded = encode_data(job.data, job.signature)
    limit = codec.DEFAULT_MAX_PAYLOAD if options.size_limit is None else options.size_limit
    codec.check_size("data", encoded, min(limit, codec.DEFAULT_MAX_PAYLOAD))
    return node_row(
        keys, options.job_id or str(uuid.uuid4()), job.name, encoded, options, above, waits=bool(job.children)
    )


def node_row(
    keys: Keys,
    id: str,
    name: str,
    data: bytes,
    options: JobOptions,
    above: Sequence[tuple[Keys, str]],
    *,
    waits: bool = False,
) -> NodeRow:
    """A row, its job below others if any are given. BullMQ knows of the first."""
    parent, link, also = "", b"", b""
    if above:
        queue, parent_id = above[0]
        qualified = queue.jobs[:-1]
        options = msgspec.structs.replace(options, parent=Parent(parent_id, qualified))
        parent = queue.job(parent_id)
        link = msgspec.json.encode({"id": parent_id, "queueKey": qualified, **options.policy()})
        if len(above) > 1:
            also = "\n".join(queue.job(id) for queue, id in above[1:]).encode()
    row = NewRow(id, name, data, options.to_wire(), options.timestamp, options.delay, options.priority, options.lifo)
    return NodeRow(keys.jobs, row, parent, link, also, waits)


class Gathered:
    """The jobs that a run adds when it ends; each is checked at once."""

    __slots__ = ("_jobs", "_keys", "_taken")

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._jobs: list[FlowJob] = []
        self._taken = Taken()

    def add(self, job: FlowJob) -> None:
        """Take a job and its children. Raises InvalidInput as `FlowProducer.add` does, and keeps what there was."""
        before = self._taken.copy()
        plan(job, self._keys.prefix, taken=before, is_root=False)
        self._taken = before
        self._jobs.append(job)

    def rows(self, parent: str | None) -> tuple[NodeRow, ...]:
        """Their rows: children of the job of that id, or jobs of their own."""
        above = None if parent is None else (self._keys, parent)
        taken, rows = Taken(), []
        for job in self._jobs:
            rows += [one.node for one in plan(job, self._keys.prefix, above, taken=taken, is_root=False)]
        return tuple(rows)
