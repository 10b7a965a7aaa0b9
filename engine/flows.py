"""Flows: trees of jobs in which each parent runs after its children, added in one step."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Generic

from msgspec import Struct

from engine.connection import (
    DEFAULT_WAIT,
    Argument,
    Connection,
    Link,
    RedisPyLink,
    RedisSettings,
    SharedLink,
    open_link,
)
from engine.errors import InvalidName, ServerError
from engine.job import Job, added_job, existing_job, stored_job
from engine.model import wire
from engine.model.checks import whole_number
from engine.model.clock import duration_ms
from engine.model.flow_rows import FlowJob, plan
from engine.model.keys import Keys
from engine.model.options import Parent
from engine.model.records import Data, Result
from engine.results import ResultWaiter
from engine.scripting.loader import guard, loading
from engine.scripts.add_flow import add_flow
from engine.scripts.get_jobs import get_jobs
from engine.scripts.remove_flow import NotRemovedFlow, remove_flow

__all__ = ["FlowJob", "FlowNode", "FlowProducer"]


class FlowNode(Struct, Generic[Data, Result], frozen=True):
    """A job of a flow and its children. A child with several parents is below each of them."""

    job: Job[Data, Result]
    children: list[FlowNode[Any, Any]]


class FlowProducer:
    """Adds trees of jobs, across queues: a parent runs when its children are finished. The data is BullMQ's.

        async with FlowProducer(redis="redis://localhost:6379/0") as flows:
            flow = await flows.add(FlowJob("report", "reports", children=[FlowJob("load", "loads", {"table": "orders"})]))
            await flow.job.result(timeout=30_000)

    redis, prefix, wait, link: as for a Queue. In a Redis Cluster all queues of a flow must be in one slot: give the prefix a
    hash tag, as in "{bull}".
    """

    def __init__(
        self,
        *,
        redis: str | RedisSettings | None = None,
        prefix: str = wire.DEFAULT_PREFIX,
        wait: int | timedelta = DEFAULT_WAIT,
        link: Connection | RedisPyLink | None = None,
    ) -> None:
        Keys("flow", prefix)  # refuses a wrong prefix here
        self.prefix = prefix
        self._wait = duration_ms("wait", wait)
        self._redis = link.settings if link is not None else RedisSettings.parse(redis)
        self._shared = SharedLink("the FlowProducer", self._connect, lent=link)
        self._results: dict[str, ResultWaiter] = {}

    def __repr__(self) -> str:
        return f"<FlowProducer {self.prefix}: {'open' if self._shared.link else 'not connected'}>"

    async def __aenter__(self) -> FlowProducer:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> FlowProducer:
        """Connect within `wait`; also reopens after `close`. Raises ConnectFailed or AuthFailed; the message says what to do."""
        await self._shared.open()
        return self

    async def close(self) -> None:
        """Close the connection. Later calls raise QueueClosed. Can be called twice."""
        waiters, self._results = list(self._results.values()), {}
        for waiter in waiters:
            await waiter.close()
        await self._shared.close()

    async def add(self, tree: FlowJob[Data, Result]) -> FlowNode[Data, Result]:
        """Add a tree of at most 500 jobs in one step, all or nothing; returns the tree of added jobs.

        It has at most 700 links between jobs, 50 queues and 2 MiB of data, so that the call does not block the server for long.
        Jobs with children are in `waiting-children` until the children finish; jobs without children are ready to run at once.
        If a job with a given `job_id` exists, it stays unchanged and its Job has `deduplicated` True; its parent in the tree
        waits for it, or gets its result at once. Raises InvalidInput before anything is written; WrongState if an existing
        job is the child of another parent; OutcomeUnknown if the connection was lost before the reply.
        """
        planned = plan(tree, self.prefix)
        link = await self._shared.ready()
        await guard(link, planned[0].keys)
        added = await add_flow(link, planned[0].keys, [one.node for one in planned])
        if isinstance(added, tuple):
            row = planned[added[0]].node.row
            raise added[1].error(Parent("", ""), row.id)
        made: dict[int, FlowNode] = {}
        for one, job_id in zip(reversed(planned), reversed(added), strict=True):
            job, row, results = one.job, one.node.row, self._waiter(one.keys)
            if job_id is None:
                result: Job[Any, Any] = existing_job(link, one.keys, row.id, job.name, results, job.signature)
            else:
                data = job.data if job.signature is None else job.signature.decode(row.data)
                result = added_job(link, one.keys, row.id, job.name, data, job.options, results, job.signature)
            made[id(one.job)] = FlowNode(result, [made[id(child)] for child in job.children])
        return made[id(tree)]

    async def get(self, queue: str, job_id: str, *, depth: int = 10, max_children: int = 20) -> FlowNode | None:
        """A stored job with its descendants; None if it does not exist.

        depth: how many levels are read, the job's own included. max_children: how many children of each job are read at
        most. Removed jobs are left out.
        """
        for name, value in (("depth", depth), ("max_children", max_children)):
            whole_number(name, value, 1, 1_000)
        found = await self._read([(Keys(queue, self.prefix), job_id)], depth, max_children)
        return found[0]

    async def remove(self, queue: str, job_id: str) -> bool:
        """Remove a job and all its descendants; False if it does not exist.

        Raises JobLocked, and removes nothing, while a worker runs one of them. A parent of the job no longer waits for it.
        A tree of more than 100 jobs is removed in several steps: a job that a worker claims between two of them stays, with
        its ancestors.
        """
        link, keys = await self._shared.ready(), Keys(queue, self.prefix)
        await guard(link, keys)
        refused = await remove_flow(link, keys, id=job_id)
        if refused is None:
            return True
        if refused is NotRemovedFlow.MISSING:
            return False
        raise refused.error(job_id)

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _read(self, jobs: list[tuple[Keys, str]], depth: int, most: int) -> list[FlowNode | None]:
        link = await self._shared.ready()
        ids: dict[str, list[str]] = {}
        queues = {keys.jobs: keys for keys, _ in jobs}
        for keys, job_id in jobs:
            ids.setdefault(keys.jobs, []).append(job_id)
        stored: dict[str, Job[Any, Any]] = {}
        for name, keys in queues.items():
            for snapshot in await get_jobs(link, keys, ids[name]):
                if snapshot is not None:
                    stored[keys.job(snapshot.id)] = stored_job(link, keys, snapshot, self._waiter(keys))
        nodes = {key: FlowNode(job, []) for key, job in stored.items()}
        below: list[tuple[FlowNode, Keys, str]] = []
        for keys, job_id in {keys.job(id): (keys, id) for keys, id in jobs}.values() if depth > 1 else ():
            if (node := nodes.get(keys.job(job_id))) is not None:
                below += [(node, *child) for child in await self._children(link, keys, job_id, most)]
        if below:
            found = await self._read([(keys, job_id) for _, keys, job_id in below], depth - 1, most)
            for (node, _, _), child in zip(below, found, strict=True):
                if child is not None:
                    node.children.append(child)
        return [nodes.get(keys.job(job_id)) for keys, job_id in jobs]

    async def _children(self, link: Link, keys: Keys, job_id: str, most: int) -> list[tuple[Keys, str]]:
        reads: list[tuple[Argument, ...]] = [
            ("SRANDMEMBER", keys.helper(job_id, "dependencies"), most),
            ("HRANDFIELD", keys.helper(job_id, "processed"), most),
            ("HRANDFIELD", keys.helper(job_id, "failed"), most),
            ("ZRANGE", keys.helper(job_id, "unsuccessful"), 0, most - 1),
        ]
        # A key of another type was written by another program, and names no children.
        replies = [found for found in await link.call_many(reads) if not isinstance(found, ServerError)]
        named = {key.decode(errors="replace") for found in replies for key in found}
        children = []
        for key in sorted(named)[:most]:
            base, _, child = key.rpartition(":")
            prefix, _, queue = base.rpartition(":")
            with suppress(InvalidName):  # not the key of a job
                children.append((Keys(queue, prefix), child))
        return children

    async def _connect(self) -> Connection | RedisPyLink:
        return await open_link(self._redis, prelude=loading("add_flow"), call_wait=self._wait / 1000)

    def _waiter(self, keys: Keys) -> ResultWaiter:
        waiter = self._results.get(keys.jobs)
        if waiter is None:
            assert self._shared.link is not None
            listen = partial(open_link, self._redis, name=keys.client_name(":qe"))
            waiter = self._results[keys.jobs] = ResultWaiter(self._shared.link, keys, listen)
        return waiter
