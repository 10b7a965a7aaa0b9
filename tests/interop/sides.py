"""Either side by the same calls, in BullMQ's words, so that a test can let one do what the other did: add, work, hold still.

What a job does, its data say, as in node/side.js.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from engine import FlowJob, FlowProducer, Job, Queue, Worker
from engine.errors import UnrecoverableError
from engine.model.clock import to_ms
from tests.interop.side import PATIENCE, NodeSide
from tests.support.running import running, until


class Side(Protocol):
    """A program on a queue: BullMQ's, or ours."""

    async def add(self, queue: str, name: str, data: Any, **opts: Any) -> str: ...

    async def flow(self, tree: dict[str, Any]) -> None: ...

    async def schedule(self, queue: str, id: str, data: Any, **repeat: Any) -> None:
        """`repeat`: BullMQ's words, as pattern and tz."""

    async def limit(self, queue: str, most: int, ms: int) -> None: ...

    async def let_run(self, queue: str, concurrency: int) -> None: ...

    async def pause(self, queue: str) -> None: ...

    async def work(self, queue: str, **options: Any) -> None:
        """Start a worker, which works until `rest`."""

    async def rest(self) -> None: ...


class Theirs:
    """BullMQ's side."""

    def __init__(self, node: NodeSide) -> None:
        self.node = node
        self._made: dict[str, str] = {}
        self._made_workers = 0
        self._working: list[str] = []

    async def queue(self, name: str) -> str:
        """What the queue is called over there; made by the first who asks."""
        if name not in self._made:
            self._made[name] = f"queue {name}"
            await self.node.make("Queue", self._made[name], name)
        return self._made[name]

    async def call(self, queue: str, method: str, *args: Any, **more: Any) -> Any:
        return await self.node.call(await self.queue(queue), method, *args, **more)

    async def add(self, queue: str, name: str, data: Any, **opts: Any) -> str:
        return str((await self.call(queue, "add", name, data, opts))["id"])

    async def flow(self, tree: dict[str, Any]) -> None:
        if "flows" not in self._made:
            self._made["flows"] = "flows"
            await self.node.make("FlowProducer", "flows")
        await self.node.call("flows", "add", tree)

    async def schedule(self, queue: str, id: str, data: Any, **repeat: Any) -> None:
        await self.call(queue, "upsertJobScheduler", id, repeat, {"name": id, "data": data})

    async def limit(self, queue: str, most: int, ms: int) -> None:
        await self.call(queue, "setGlobalRateLimit", most, ms)

    async def let_run(self, queue: str, concurrency: int) -> None:
        await self.call(queue, "setGlobalConcurrency", concurrency)

    async def pause(self, queue: str) -> None:
        await self.call(queue, "pause")

    async def work(self, queue: str, **options: Any) -> None:
        self._made_workers += 1
        name = f"worker {self._made_workers}"
        self._working.append(name)
        metrics = {"metrics": {"maxDataPoints": options.pop("metrics")}} if "metrics" in options else {}
        await self.node.make("Worker", name, queue, **options, **metrics)

    async def rest(self) -> None:
        while self._working:
            # By force, for some hold their jobs.
            await self.node.call(self._working.pop(), "close", True)


class Ours:
    """Our side. `async with Ours(url) as ours`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queues: dict[str, Queue] = {}
        self._held: dict[str, asyncio.Event] = {}
        self._stack = AsyncExitStack()
        self._working = AsyncExitStack()

    async def __aenter__(self) -> Ours:
        self.flows = await self._stack.enter_async_context(FlowProducer(redis=self._url))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.rest()
        await self._stack.aclose()

    async def queue(self, name: str) -> Queue:
        if name not in self._queues:
            self._queues[name] = await self._stack.enter_async_context(Queue(name, redis=self._url))
        return self._queues[name]

    async def add(self, queue: str, name: str, data: Any, **opts: Any) -> str:
        return (await (await self.queue(queue)).add(name, data, **_ours(opts))).id

    async def flow(self, tree: dict[str, Any]) -> None:
        await self.flows.add(_tree(tree))

    async def schedule(self, queue: str, id: str, data: Any, **repeat: Any) -> None:
        if "pattern" in repeat:
            repeat["cron"] = repeat.pop("pattern")
        await (await self.queue(queue)).schedules.upsert(id, id, data, **repeat)

    async def limit(self, queue: str, most: int, ms: int) -> None:
        await (await self.queue(queue)).set_rate_limit(most, ms)

    async def let_run(self, queue: str, concurrency: int) -> None:
        await (await self.queue(queue)).set_concurrency(concurrency)

    async def pause(self, queue: str) -> None:
        await (await self.queue(queue)).pause()

    async def work(self, queue: str, **options: Any) -> None:
        worker = Worker(queue, self._run, redis=self._url, **_ours({"concurrency": 1} | options))
        await self._working.enter_async_context(running(worker))

    async def rest(self) -> None:
        for event in self._held.values():
            event.set()
        await self._working.aclose()
        self._held.clear()

    async def _run(self, job: Job[Any]) -> Any:
        data = job.data if isinstance(job.data, dict) else {}
        match data.get("do"):
            case "throw":
                raise ValueError(data.get("reason", "boom"))
            case "give up":
                raise UnrecoverableError(data.get("reason", "no use"))
            case "progress":
                await job.update_progress(data["value"])
                return None
            case "log":
                await job.log(data["value"])
                return None
            case "hold":
                await self._held.setdefault(job.id, asyncio.Event()).wait()
                return data.get("value")
            case "children":
                return await job.children_values()
        return data.get("value", job.data)


@asynccontextmanager
async def both(url: str, node: NodeSide) -> AsyncIterator[tuple[Ours, Theirs]]:
    async with Ours(url) as ours:
        yield ours, Theirs(node)


async def counted(queue: Queue, **wanted: int) -> None:
    """Wait until the queue has so many jobs in these states."""

    async def is_so() -> bool:
        counts = await queue.counts()
        return all(getattr(counts, state) == number for state, number in wanted.items())

    await until(is_so, f"{queue.name} had {wanted}", timeout=PATIENCE)


def as_node_shows(job: Job[Any]) -> dict[str, Any]:
    """A job of ours as BullMQ's class has it."""
    return {
        "name": job.name, "data": job.data, "returnvalue": job.return_value, "failedReason": job.failed_reason,
        "progress": 0 if job.progress is None else job.progress, "stacktrace": job.stacktrace, "delay": job.delay,
        "priority": job.priority, "attemptsMade": job.attempts_made, "attemptsStarted": job.attempts_started,
        "timestamp": job.timestamp and to_ms(job.timestamp), "processedOn": job.processed_on and to_ms(job.processed_on),
        "finishedOn": job.finished_on and to_ms(job.finished_on), "deduplicationId": job.deduplication_id,
    }  # fmt: skip


def _ours(opts: dict[str, Any]) -> dict[str, Any]:
    """Options of BullMQ's in our spelling."""
    return {
        re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name): _ours(value) if isinstance(value, dict) else value
        for name, value in opts.items()
    }


def _tree(tree: dict[str, Any]) -> FlowJob:
    children = [_tree(child) for child in tree.get("children", [])]
    return FlowJob(tree["name"], tree["queueName"], tree["data"], children=children, **_ours(tree.get("opts", {})))
