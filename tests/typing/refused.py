"""What type checkers refuse: each line with `# refused`, and no other."""

from __future__ import annotations

from msgspec import Struct

from engine import BaseProcessor, FlowJob, FlowProducer, Job, NewJob, Queue, SyncQueue, processor
from engine.testing import TestQueue, assert_enqueued


class Greeting(Struct):
    name: str


@processor("greet")
async def greet(job: Job[Greeting]) -> str:
    print(job.data.nmae)  # refused
    return job.data.name


@processor("loose", atempts=3)  # refused
async def loose(job: Job[Greeting]) -> str:
    return job.data.name


@processor("no job")  # refused
async def no_job(greeting: Greeting) -> str:
    return greeting.name


class Class(BaseProcessor[Greeting, int]):
    name = "class"

    async def process(self, job: Job[Greeting]) -> int:
        return 1


async def adding(queue: Queue) -> None:
    await queue.add(greet, 5)  # refused
    await queue.add(greet, {"name": "Ada"})  # refused
    await queue.add(greet)  # refused
    await queue.add(Class, 5)  # refused
    await queue.add(greet, Greeting("Ada"), dealy=5)  # refused
    await queue.add("greet", {}, dealy=5)  # refused
    await queue.add("greet", {}, countdown=5)  # refused
    await queue.add("greet", {}, delay="5")  # refused
    await queue.add("greet", {}, backoff={"type": "fixed", "dely": 5})  # refused
    await queue.add("greet", {}, backoff={"delay": 5})  # refused
    await queue.add("greet", {}, remove_on_complete={"cuont": 5})  # refused
    await queue.add("greet", {}, deduplication={"ttl": 5})  # refused
    await queue.add(5)  # refused
    job = await queue.add(greet, Greeting("Ada"))
    print((await job.result()).nmae)  # refused
    print(job.data.nmae)  # refused
    number: int = await job.result()  # refused
    await job.result(timeout=0.5)  # refused
    print(number)


async def others(queue: Queue, flows: FlowProducer, kit: TestQueue) -> None:
    NewJob(greet, 5)  # refused
    NewJob("greet", {}, dealy=5)  # refused
    await queue.add_many([{"name": "greet"}])  # refused
    FlowJob(greet, "greetings", 5)  # refused
    FlowJob("greet", "greetings", parent={"id": "1", "queue": "q"})  # refused
    number: int = await (await flows.add(FlowJob(greet, "greetings", Greeting("Ada")))).job.result()  # refused
    await queue.schedules.upsert("daily", greet, 5, every=60_000)  # refused
    await queue.schedules.upsert("daily", greet, Greeting("Ada"), evry=60_000)  # refused
    await queue.schedules.upsert("daily", greet, Greeting("Ada"), every=60_000, delay=5)  # refused
    await kit.queue.add(greet, 5)  # refused
    await assert_enqueued(kit.queue, greet, dealy=5)  # refused
    print(number)


def blocking(queue: SyncQueue) -> None:
    queue.add(greet, 5)  # refused
    queue.add("greet", {}, dealy=5)  # refused
    number: int = queue.add(greet, Greeting("Ada")).result()  # refused
    queue.schedules.upsert("daily", greet, 5, every=60_000)  # refused
    print(number)
