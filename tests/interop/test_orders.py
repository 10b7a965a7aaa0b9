"""Jobs run in the order of BullMQ alone, whoever adds and whoever claims them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from engine import NewJob, Queue, Worker
from tests.interop.acting import act
from tests.interop.side import PATIENCE, NodeSide
from tests.interop.stream import claims
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

LONG_AGO = 1_700_000_000_000
"""When the delayed jobs were made: all of them are due at the first claim."""

Add = tuple[bool, list[dict[str, Any]]]
"""Whether Node does it, and the options of the jobs that are added by one call, in BullMQ's words."""


def _options(chance: random.Random, *, failing: bool) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if failing and chance.random() < 0.4:
        options["attempts"] = 3
    kind = chance.choice(["plain", "plain", "lifo", "ranked", "delayed", "ranked and delayed"])
    if kind == "lifo":
        options["lifo"] = True
    if "ranked" in kind:
        options["priority"] = chance.randint(1, 4)
    if "delayed" in kind:
        options |= {"timestamp": LONG_AGO, "delay": chance.randint(1, 3)}
    return options


def _sequence(chance: random.Random, calls: int, *, failing: bool = False) -> list[Add]:
    return [
        (chance.random() < 0.5, [_options(chance, failing=failing) for _ in range(chance.choice([1, 1, 1, 4]))])
        for _ in range(calls)
    ]


def _data(options: dict[str, Any]) -> dict[str, Any]:
    return {"do": "succeed later", "after": options.get("attempts", 1) - 1, "value": 1}


async def _add_by_node(node: NodeSide, name: str, jobs: list[dict[str, Any]]) -> None:
    if len(jobs) == 1:
        await node.call(name, "add", "n", _data(jobs[0]), jobs[0])
    else:
        await node.call(name, "addBulk", [{"name": "n", "data": _data(options), "opts": options} for options in jobs])


async def _add_by_us(queue: Queue, jobs: list[dict[str, Any]]) -> None:
    if len(jobs) == 1:
        await queue.add("n", _data(jobs[0]), **jobs[0])
    else:
        await queue.add_many([NewJob("n", _data(options), **options) for options in jobs])


async def _order(
    redis_url: str, node: NodeSide, name: str, sequence: Sequence[Add], workers: str, *, concurrency: int = 1
) -> list[str]:
    """The order in which the `workers` ("us", "node", "us and node") take the jobs of the sequence."""
    await node.make("Queue", name, name)
    async with Queue(name, redis=redis_url) as queue, AsyncExitStack() as stack:
        for is_node, jobs in sequence:
            await (_add_by_node(node, name, jobs) if is_node else _add_by_us(queue, jobs))
        if "us" in workers:
            await stack.enter_async_context(running(Worker(name, act, redis=redis_url, concurrency=concurrency)))
        if "node" in workers:
            await node.make("Worker", f"{name} worker", name, concurrency=concurrency)
        count = sum(len(jobs) for _, jobs in sequence)

        async def done() -> bool:
            return (await queue.counts()).completed == count

        await until(done, f"{workers} had done all", timeout=PATIENCE)
        return await claims(queue)


async def test_adds_run_in_the_order_of_bullmq_alone(redis_url: str, node: NodeSide) -> None:
    """Added by both sides in turn, alone and many at once: plain, lifo, with priorities, delayed and due."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    sequence = _sequence(random.Random(seed), 40)
    by_node_alone = [(True, jobs) for _, jobs in sequence]
    expected = await _order(redis_url, node, "reference", by_node_alone, "node")
    assert await _order(redis_url, node, "node works", sequence, "node") == expected
    assert await _order(redis_url, node, "we work", sequence, "us", concurrency=7) == expected
    assert await _order(redis_url, node, "both work", sequence, "us and node", concurrency=3) == expected


async def test_retries_take_the_place_of_bullmq_alone(redis_url: str, node: NodeSide) -> None:
    """One at a time, so that it is certain when a job comes back: to the back of the line, or with `lifo` to the front."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    sequence = _sequence(random.Random(seed), 20, failing=True)
    by_node_alone = [(True, jobs) for _, jobs in sequence]
    expected = await _order(redis_url, node, "reference", by_node_alone, "node")
    assert await _order(redis_url, node, "we work", sequence, "us") == expected
