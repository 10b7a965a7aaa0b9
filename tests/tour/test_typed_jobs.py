"""Typed jobs: added with their processor, they have its data and result types in the editor and at run time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from engine import (
    BaseProcessor,
    Counts,
    FlowJob,
    FlowProducer,
    Job,
    NewJob,
    Queue,
    Retry,
    SyncQueue,
    Worker,
    batch_processor,
    processor,
)
from engine.errors import InvalidData, InvalidInput
from engine.testing import TestQueue, assert_enqueued


class Greeting(Struct):
    name: str


class Greeted(Struct):
    text: str


@processor("greet")
async def greet(job: Job[Greeting]) -> Greeted | Retry:
    return Greeted(f"Hello, {job.data.name}!")


class Parcel(BaseProcessor[Greeting, list[int]]):
    name = "parcel"

    async def process(self, job: Job[Greeting]) -> list[int]:
        return [len(job.data.name)]


@processor("ping")
async def ping(job: Job[None]) -> None:
    assert job.data is None


async def test_a_job_added_by_its_processor_has_its_types(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, Worker("q", greet, Parcel(), ping, redis=redis_url):
        job = await queue.add(greet, Greeting("Ada"))
        assert (job.name, job.data) == ("greet", Greeting("Ada"))
        assert await job.result(timeout=10_000) == Greeted("Hello, Ada!")
        assert (await job.refresh()).return_value == Greeted("Hello, Ada!")
        # The class stands for its processor too; of a job that takes no data none is given.
        assert await (await queue.add(Parcel, Greeting("Ada"))).result(timeout=10_000) == [3]
        await (await queue.add(ping)).result(timeout=10_000)
        many = await queue.add_many([NewJob(greet, Greeting(name)) for name in ("Bob", "Cy")])
        assert [await one.result(timeout=10_000) for one in many] == [Greeted("Hello, Bob!"), Greeted("Hello, Cy!")]
        # By its id alone a job is plain JSON values; with its processor it has the types again.
        plain, typed = await queue.get_job(job.id), await queue.get_job(job.id, greet)
        assert plain is not None
        assert typed is not None
        assert (plain.data, plain.return_value) == ({"name": "Ada"}, {"text": "Hello, Ada!"})
        assert (typed.data, typed.return_value) == (Greeting("Ada"), Greeted("Hello, Ada!"))
        assert await plain.result(timeout=10_000) == {"text": "Hello, Ada!"}


async def test_data_of_a_wrong_type_is_not_added(redis_url: str) -> None:
    wrong: Any = Greeting(name=5)  # type: ignore[arg-type]  # a type checker would have seen it
    untyped: Any = greet

    def plain(job: Job[Any]) -> None: ...

    async with Queue("q", redis=redis_url) as queue, FlowProducer(redis=redis_url) as flows:
        adds: list[Callable[[], Awaitable[Any]]] = [
            lambda: queue.add(greet, wrong),
            lambda: queue.add(untyped, {"nmae": "Ada"}),
            lambda: queue.add(untyped),
            lambda: queue.add_many([NewJob(greet, Greeting("Ada")), NewJob(greet, wrong)]),
            lambda: flows.add(FlowJob("top", "q", children=[FlowJob(greet, "q", wrong)])),
            lambda: queue.schedules.upsert("s", greet, wrong, every=1_000),
        ]
        for add in adds:
            with pytest.raises(InvalidData, match="data: "):
                await add()
        with pytest.raises(InvalidInput, match=r"job name: .*; write @processor\('plain'\) above it"):
            await queue.add(plain)  # type: ignore[call-overload]
        with pytest.raises(InvalidInput, match=r"job name: <processor \*: .*> has no name; name it by @processor"):
            await queue.add(processor()(plain), 5)
        assert await queue.counts() == Counts()
        # What fits is accepted, and the handle has what the processor will have.
        job = await queue.add(untyped, {"name": "Ada"})
        assert job.data == Greeting("Ada")


class Line(BaseModel):
    model_config = ConfigDict(strict=True)

    sku: str = Field(alias="stockUnit", min_length=3)
    due: date


@dataclass
class Order:
    lines: list[Line]
    at: datetime


class Receipt(BaseModel):
    total: int


async def test_pydantic_models_and_dataclasses_work_as_data(redis_url: str) -> None:
    @processor("order")
    async def order(job: Job[Order]) -> Receipt:
        assert isinstance(job.data.lines[0], Line)
        return Receipt(total=len(job.data.lines[0].sku))

    @processor("model")
    def model(job: Job[Line]) -> dict[str, Line]:
        return {"same": job.data}

    when = datetime(2026, 1, 2, tzinfo=UTC)
    line = Line(stockUnit="tea", due=when.date())
    async with Queue("q", redis=redis_url) as queue, Worker("q", order, model, redis=redis_url):
        job = await queue.add(order, Order([line], when))
        assert await job.result(timeout=10_000) == Receipt(total=3)
        assert await (await queue.add(model, line)).result(timeout=10_000) == {"same": line}
        stored = await queue.get_job(job.id)
        assert stored is not None
        assert stored.data["lines"] == [{"stockUnit": "tea", "due": "2026-01-02"}]
        untyped: Any = model
        with pytest.raises(InvalidData, match="stockUnit: String should have at least 3 characters; due: "):
            await queue.add(untyped, {"stockUnit": "t", "due": 5})


def test_a_worker_refuses_what_it_cannot_decode() -> None:
    class Handle:
        """What JSON has no form for."""

    class A(Struct):
        a: int

    class B(Struct):
        b: int

    async def takes(job: Job[list[Handle]]) -> None: ...
    async def gives(job: Job[int]) -> dict[str, Handle]:
        return {}

    async def torn(job: Job[A | B]) -> None: ...
    async def fine(job: Job[int]) -> A | B:
        return A(1)

    takes.__annotations__ = {"job": Job[list[Handle]], "return": None}
    gives.__annotations__ = {"job": Job[int], "return": dict[str, Handle]}
    torn.__annotations__ = {"job": Job[A | B], "return": None}
    fine.__annotations__ = {"job": Job[int], "return": A | B}
    with pytest.raises(
        InvalidInput, match=r"data of <processor .*takes>: .*Handle has no form in JSON; use JSON values"
    ):
        Worker("q", takes)
    with pytest.raises(InvalidInput, match=r"result of <processor .*gives>: .*Handle has no form in JSON"):
        Worker("q", gives)
    with pytest.raises(InvalidInput, match=r"data of <processor .*torn>: .* cannot be decoded: "):
        Worker("q", torn)
    Worker("q", fine)


async def test_flows_schedules_and_blocking_code_are_typed(redis_url: str) -> None:
    @batch_processor("sum", size=2)
    async def add_up(jobs: list[Job[list[int]]]) -> list[int]:
        return [sum(job.data) for job in jobs]

    def block() -> list[Any]:
        with SyncQueue("q", redis=redis_url) as queue:
            job = queue.add(greet, Greeting("Eve"))
            return [job.data, job.result(timeout=10_000), job.refresh().return_value]

    async with (
        Queue("q", redis=redis_url) as queue,
        FlowProducer(redis=redis_url) as flows,
        Worker("q", greet, ping, add_up, redis=redis_url),
    ):
        flow = await flows.add(FlowJob(greet, "q", Greeting("Ada"), children=[FlowJob(ping, "q")]))
        assert (flow.job.data, await flow.job.result(timeout=10_000)) == (Greeting("Ada"), Greeted("Hello, Ada!"))
        assert await (await queue.add(add_up, [1, 2])).result(timeout=10_000) == 3
        await queue.schedules.upsert(
            "s", greet, Greeting("Cy"), every=3_600_000, start=datetime.now(UTC) + timedelta(1)
        )
        run = await queue.schedules.run_now("s")
        assert await run.result(timeout=10_000) == {"text": "Hello, Cy!"}
        assert await asyncio.to_thread(block) == [Greeting("Eve"), Greeted("Hello, Eve!"), Greeted("Hello, Eve!")]


async def test_middleware_sees_typed_jobs(redis_url: str) -> None:
    async def rename(new_job: NewJob, call_next: Callable[[NewJob], Awaitable[Job[Any, Any]]]) -> Job[Any, Any]:
        if new_job.data == Greeting("Bob"):
            new_job.name = "other"
        return await call_next(new_job)

    async with Queue("q", redis=redis_url, middleware=[rename]) as queue:
        same = await queue.add(greet, Greeting("Ada"))
        other = await queue.add(greet, Greeting("Bob"))
        many = await queue.add_many([NewJob(greet, Greeting("Ada")), NewJob(greet, Greeting("Bob"))])
        assert [job.name for job in (same, other, *many)] == ["greet", "other", "greet", "other"]
    async with Queue("q", redis=redis_url) as queue, Worker("q", greet, redis=redis_url):
        found = await queue.get_job(same.id, greet)
        assert found is not None
        assert await found.result(timeout=10_000) == Greeted("Hello, Ada!")


async def test_the_testing_kit_has_the_types(corral_queue: TestQueue) -> None:
    async with corral_queue as kit:
        await kit.queue.add(greet, Greeting("Ada"), delay=1_000)
        await assert_enqueued(kit.queue, greet, {"name": "Ada"}, delay=1_000)
        run = await kit.run_until_drained(greet, delayed=True)
        stored = await kit.queue.get_job(run.completed[0].id)
        assert stored is not None
        assert run.completed[0].return_value == stored.return_value == {"text": "Hello, Ada!"}
        with kit.inline(greet) as queue:
            job = await queue.add(greet, Greeting("Bob"), remove_on_complete=True)
            assert job.return_value == Greeted("Hello, Bob!")
            assert (await queue.add("greet", {"name": "Cy"})).return_value == {"text": "Hello, Cy!"}
