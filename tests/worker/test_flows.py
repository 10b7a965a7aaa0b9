"""Flows in the hands of workers: what a whole tree comes to, and what happens to its parts when things break."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from engine import FlowJob, FlowNode, FlowProducer, Job, Queue, RedisSettings, WaitForChildren, Worker, processor
from engine.connection import Link
from engine.connection.embedded import EmbeddedServer
from engine.errors import JobFailed
from engine.model.keys import Keys
from engine.model.options import JobOptions
from engine.scripting.loader import loading
from tests.support.invariants import check_invariants
from tests.support.proxy import Proxy
from tests.support.running import running, until

QUEUES = ("one", "two", "three")
POLICIES = ("fail_parent_on_failure", "ignore_dependency_on_failure", "remove_dependency_on_failure")


def grown(chance: random.Random, depth: int, others: list[FlowJob]) -> FlowJob:
    """A tree of chance, some of whose jobs are those of other branches too. Its data says how a leaf ends."""
    children = [grown(chance, depth - 1, others) for _ in range(chance.randint(0, 3))] if depth else []
    if others and chance.random() < 0.4:
        children += {id(job): job for job in chance.choices(others, k=3) if job not in children}.values()
    make: Any = FlowJob  # whose option is a word of chance
    tree: FlowJob = make("n", chance.choice(QUEUES), chance.random() < 0.8, children=children, attempts=chance.choice([1, 2]),
                   priority=chance.choice([0, 0, 3]), delay=chance.choice([0, 0, 5]), **{chance.choice(POLICIES): True})  # fmt: skip
    others.append(tree)
    return tree


def planted(chance: random.Random) -> FlowJob:
    tree = grown(chance, 4, [])
    tree.options = JobOptions()
    return tree


def foretold(job: FlowJob) -> dict[str, Any] | None:
    """What a job of the tree returns: how many children returned something, how many were ignored. None: it fails."""
    ends = [(foretold(child), child.options) for child in job.children]
    if any(end is None and options.fail_parent_on_failure for end, options in ends):
        return None
    if not job.data:
        return None
    ignored = sum(end is None and options.ignore_dependency_on_failure for end, options in ends)
    return {"done": sum(end is not None for end, _ in ends), "ignored": ignored}


async def work(job: Job[bool]) -> dict[str, int]:
    done, ignored = await job.children_values(), await job.ignored_failures()
    if not job.data:
        raise ValueError("as it was to")
    return {"done": len(done), "ignored": len(ignored)}


@pytest.mark.parametrize("seed", range(4))
async def test_trees_of_chance_come_to_what_their_options_say(redis_url: str, link: Link, seed: int) -> None:
    chance = random.Random(seed)
    trees = [planted(chance) for _ in range(25)]
    async with AsyncExitStack() as stack:
        flows = await stack.enter_async_context(FlowProducer(redis=redis_url))
        for queue in (*QUEUES, QUEUES[0]):
            await stack.enter_async_context(running(Worker(queue, work, redis=redis_url, concurrency=7)))
        for tree, flow in zip(trees, await asyncio.gather(*map(flows.add, trees)), strict=True):
            try:
                found = await flow.job.result(timeout=20_000)
            except JobFailed:
                found = None
            assert found == foretold(tree)
        for queue in QUEUES:
            await check_invariants(link, Keys(queue))


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    with EmbeddedServer(tcp=True) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("end", ["waiting_children", "completed"])
async def test_a_lost_reply_adds_a_runs_jobs_once(server: EmbeddedServer, end: str) -> None:
    ran: Counter[str] = Counter()
    async with Proxy("127.0.0.1", server.port or 0) as proxy, Queue("book", redis=server.url) as queue:

        async def write(job: Job[Any]) -> Any:
            ran[job.name] += 1
            if job.name == "page":
                return 7
            values = await job.children_values()
            if not values:
                job.add_child(FlowJob("page", "book"))
                proxy.drop_replies = True
                if end == "waiting_children":
                    raise WaitForChildren
            return list(values.values())

        async def carried_out() -> bool:
            return proxy.drop_replies and getattr(await queue.counts(), end) == 1

        through = RedisSettings(host="127.0.0.1", port=proxy.port, call_timeout=300)
        # A lost reply may have held the marker: then only asking now and then finds the job.
        worker = Worker("book", write, redis=through, concurrency=1, drain_delay=200)
        async with running(worker):
            await worker.ready.wait()
            # Else the lost reply would be the one that says that the server does not know the script.
            await queue.link.call_many(loading("wait_children", "finish_adding"))
            book = await queue.add("book")
            await until(carried_out, "the server has done what the lost reply says")
            proxy.drop_replies = False
            waits = end == "waiting_children"
            assert await book.result(timeout=20_000) == ([7] if waits else [])
            await until(lambda: worker.counters.completed == 2, "both are done")
        assert ran == {"book": 2 if waits else 1, "page": 1}
        assert (worker.counters.waited, worker.counters.lost) == (int(waits), 0)
        await check_invariants(queue.link, queue.keys)


async def test_jobs_in_a_child_process_can_wait_too(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, running(Worker("q", _waits, redis=redis_url)):
        job = await queue.add("waits")
        with pytest.raises(JobFailed, match="though all are done"):
            await job.result(timeout=20_000)


@processor("waits", run_in="process")
def _waits(job: Any) -> None:
    raise WaitForChildren


async def test_children_are_added_with_a_progress_listener_too(redis_url: str) -> None:
    async def work(job: Job[Any]) -> list[Any] | None:
        if job.name == "child":
            return None
        if not await job.children_values():
            job.add_child(FlowJob("child", "q"))
            await job.update_progress(50)
            raise WaitForChildren
        return list((await job.children_values()).values())

    told: list[Any] = []
    worker = Worker("q", work, redis=redis_url)
    worker.on("progress", lambda job, value: told.append(value))
    async with Queue("q", redis=redis_url) as queue, running(worker):
        assert await (await queue.add("parent")).result(timeout=10_000) == [None]
    assert told == [50]
    assert worker.counters.waited == 1


async def test_a_parent_fails_without_its_processor(redis_url: str) -> None:
    """The deferred failure of a parent needs no run: any worker of its queue writes it, and it goes up at once."""

    async def broken(job: Job[Any]) -> None:
        raise ValueError("no")

    tree = FlowJob("top", "a", children=[
        FlowJob("middle", "b", children=[FlowJob("leaf", "c", fail_parent_on_failure=True)], fail_parent_on_failure=True),
    ])  # fmt: skip
    async with AsyncExitStack() as stack:
        flows = await stack.enter_async_context(FlowProducer(redis=redis_url))
        for queue in "abc":
            await stack.enter_async_context(running(Worker(queue, processor("leaf")(broken), redis=redis_url)))
        flow: FlowNode = await flows.add(tree)
        with pytest.raises(JobFailed, match="failed"):
            await flow.job.result(timeout=10_000)
        await flow.job.refresh()
        assert flow.job.failed_reason == f"child bull:b:{flow.children[0].job.id} failed"
        assert flow.job.attempts_made == 1
