"""The three sides of a soak: each adds, pauses and resumes, and notes every event of the stream in its ledger."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from engine import FlowJob, FlowProducer, NewJob, Queue, QueueEvents, events
from tests.interop.side import HERE, NodeSide, connection, modules
from tests.interop.soaking.wishes import NAME, Batch, Wish

QUEUE = "q"
VERSIONS = {"v5": "5.63.0", "v6": "6.7.0"}
SIDES = (*VERSIONS, "us")
MAX_EVENTS = 10**8
"""Nothing of the stream is cut off: the readers are compared to its end. soaker.js says the same."""


def heard_path(folder: Path, side: str) -> Path:
    """Where a side notes the events that it read: PLACE EVENT JOB VALUE."""
    return folder / f"heard-{side}"


def soaker(side: str, url: str, setup: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The command of a program on that side's BullMQ, and what its environment has beside ours."""
    command = ["node", str(HERE / "node" / "soaker.js"), json.dumps(connection(url)), json.dumps(setup)]
    return command, {"NODE_PATH": str(modules(VERSIONS[side]))}


class Side(Protocol):
    """What a soak wants of a side. Ids come in the order of the jobs."""

    async def add(self, batch: Batch) -> list[str]: ...
    async def add_family(self, batch: Batch) -> list[str]: ...
    async def pause(self) -> None: ...
    async def resume(self) -> None: ...


@asynccontextmanager
async def all_sides(url: str, folder: Path) -> AsyncIterator[dict[str, Side]]:
    async with AsyncExitStack() as stack:
        found: dict[str, Side] = {}
        for side in VERSIONS:
            found[side] = node = _Node(side, url, folder)
            await stack.enter_async_context(node)
        found["us"] = await stack.enter_async_context(_us(url, folder))
        yield found


# --- BullMQ -----------------------------------------------------------------------------------------------------------


class _Node(NodeSide):
    def __init__(self, side: str, url: str, folder: Path) -> None:
        super().__init__(VERSIONS[side], url)
        setup = {"role": "side", "queue": QUEUE, "ledger": str(heard_path(folder, side))}
        self._soaker = soaker(side, url, setup)

    def _program(self) -> tuple[list[str], dict[str, str]]:
        return self._soaker

    async def add(self, batch: Batch) -> list[str]:
        return list[str](await self._answer("add", [[NAME, wish.data, _for_node(wish.options)] for wish in batch]))

    async def add_family(self, batch: Batch) -> list[str]:
        parent, *children = map(_node_of_tree, batch)
        return list[str](await self._answer("addFamily", parent | {"children": children}))

    async def pause(self) -> None:
        await self._answer("pause")

    async def resume(self) -> None:
        await self._answer("resume")

    async def _answer(self, call: str, *args: Any) -> Any:
        return await self._ask(call=call, args=args)


def _for_node(options: dict[str, Any]) -> dict[str, Any]:
    return {"jobId" if name == "job_id" else name: value for name, value in options.items()}


def _node_of_tree(wish: Wish) -> dict[str, Any]:
    return {"name": NAME, "queueName": QUEUE, "data": wish.data, "opts": _for_node(wish.options)}


# --- ourselves --------------------------------------------------------------------------------------------------------


class _Us:
    def __init__(self, queue: Queue, flows: FlowProducer) -> None:
        self._queue = queue
        self._flows = flows

    async def add(self, batch: Batch) -> list[str]:
        if len(batch) % 2:  # either way is to keep the order
            adds = [self._queue.add(NAME, wish.data, **wish.options) for wish in batch]
            return [job.id for job in await asyncio.gather(*adds)]
        jobs = await self._queue.add_many([NewJob(NAME, wish.data, **wish.options) for wish in batch])
        return [job.id for job in jobs]

    async def add_family(self, batch: Batch) -> list[str]:
        parent, *children = batch
        below = [FlowJob(NAME, QUEUE, child.data, **child.options) for child in children]
        made = await self._flows.add(FlowJob(NAME, QUEUE, parent.data, children=below, **parent.options))
        return [made.job.id, *(child.job.id for child in made.children)]

    async def pause(self) -> None:
        await self._queue.pause()

    async def resume(self) -> None:
        await self._queue.resume()


@asynccontextmanager
async def _us(url: str, folder: Path) -> AsyncIterator[_Us]:
    async with (
        Queue(QUEUE, redis=url, max_events=MAX_EVENTS) as queue,
        FlowProducer(redis=url) as flows,
        QueueEvents(QUEUE, redis=url) as events,
    ):
        reading = asyncio.create_task(_read(events, heard_path(folder, "us")))
        try:
            yield _Us(queue, flows)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading


async def _read(events: QueueEvents, path: Path) -> None:
    with path.open("a", buffering=1) as ledger:
        async for event in events.events(after="0"):
            ledger.write(_line(event) + "\n")


def _line(event: events.Event) -> str:
    value = json.dumps(event.result) if isinstance(event, events.Completed) else "-"
    return f"{event.id} {_wire_name(event)} {event.job_id or '-'} {value}"


def _wire_name(event: events.Event) -> str:
    if isinstance(event, events.Unknown):
        return event.name
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(event).__name__).lower()


def line_of_entry(place: str, fields: Sequence[bytes]) -> str:
    """The same line from an entry of the stream as it stands there."""
    said = {name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)}
    return f"{place} {said['event']} {said.get('jobId', '-')} {said.get('returnvalue', '-')}"
