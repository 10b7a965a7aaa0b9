"""Flows: parents run after their children, across queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from engine import FlowJob, FlowProducer, Job, Parent, Queue, WaitForChildren, Worker, chain
from engine.errors import InvalidInput, InvalidOption, JobFailed, JobLocked, JobNotFound
from tests.support.running import running


@asynccontextmanager
async def workers(redis_url: str, *queues: str, process: Any) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for queue in queues:
            await stack.enter_async_context(running(Worker(queue, process, redis=redis_url, drain_delay=100)))
        yield


async def test_a_parent_runs_after_its_children(redis_url: str) -> None:
    async def load(job: Job[str]) -> int:
        return len(job.data)

    async def report(job: Job[None]) -> int:
        return sum((await job.children_values()).values())

    tree = FlowJob(
        "report",
        "reports",
        children=[FlowJob("load", "loads", "orders", attempts=3), FlowJob("load", "loads", "stock")],
    )
    async with FlowProducer(redis=redis_url) as flows:
        flow = await flows.add(tree)
        assert await flow.job.state() == "waiting-children"
        assert [await child.job.state() for child in flow.children] == ["waiting", "waiting"]
        async with workers(redis_url, "reports", process=report), workers(redis_url, "loads", process=load):
            assert await flow.job.result(timeout=10_000) == len("orders") + len("stock")


async def test_jobs_run_one_after_the_other(redis_url: str) -> None:
    ran = []

    async def work(job: Job[Any]) -> str:
        before = list((await job.children_values()).values())
        ran.append((job.name, before))
        return f"{job.name}ed"

    steps = [FlowJob(name, "media", attempts=2) for name in ("fetch", "convert", "publish")]
    async with FlowProducer(redis=redis_url) as flows, workers(redis_url, "media", process=work):
        flow = await flows.add(chain(*steps))
        assert await flow.job.result(timeout=10_000) == "published"
    assert ran == [("fetch", []), ("convert", ["fetched"]), ("publish", ["converted"])]


async def test_a_job_may_have_several_parents(redis_url: str) -> None:
    ran = []

    async def work(job: Job[Any]) -> str:
        ran.append(job.name)
        before = sorted((await job.children_values()).values())
        return f"{job.name}({', '.join(before)})"

    download = FlowJob("download", "media")
    sound = FlowJob("sound", "media", children=[download])
    pictures = FlowJob("pictures", "media", children=[download])
    async with FlowProducer(redis=redis_url) as flows, workers(redis_url, "media", process=work):
        flow = await flows.add(FlowJob("film", "media", children=[sound, pictures]))
        assert await flow.job.result(timeout=10_000) == "film(pictures(download()), sound(download()))"
    assert sorted(ran) == ["download", "film", "pictures", "sound"]


async def work_or_fail(job: Job[Any]) -> dict[str, Any]:
    if job.name == "broken":
        raise ValueError("no such table")
    values, ignored = await job.children_values(), await job.ignored_failures()
    return {"done": sorted(values.values(), key=str), "ignored": list(ignored.values())}


async def test_a_failed_child_can_fail_its_ancestors(redis_url: str) -> None:
    broken = FlowJob("broken", "loads", fail_parent_on_failure=True)
    middle = FlowJob(
        "middle", "reports", children=[broken, FlowJob("slow", "nobody-works-here")], fail_parent_on_failure=True
    )
    async with FlowProducer(redis=redis_url) as flows, workers(redis_url, "reports", "loads", process=work_or_fail):
        flow = await flows.add(FlowJob("top", "reports", children=[middle]))
        with pytest.raises(JobFailed, match=rf"child bull:reports:{flow.children[0].job.id} failed"):
            await flow.job.result(timeout=10_000)


async def test_a_failed_child_can_be_ignored(redis_url: str) -> None:
    children = [FlowJob("broken", "loads", ignore_dependency_on_failure=True), FlowJob("fine", "loads")]
    async with FlowProducer(redis=redis_url) as flows, workers(redis_url, "reports", "loads", process=work_or_fail):
        flow = await flows.add(FlowJob("top", "reports", children=children))
        found = await flow.job.result(timeout=10_000)
    assert found == {"done": [{"done": [], "ignored": []}], "ignored": ["no such table"]}


async def test_a_failed_child_can_be_left_out(redis_url: str) -> None:
    children = [FlowJob("broken", "loads", remove_dependency_on_failure=True)]
    async with FlowProducer(redis=redis_url) as flows, workers(redis_url, "reports", "loads", process=work_or_fail):
        flow = await flows.add(FlowJob("top", "reports", children=children))
        assert await flow.job.result(timeout=10_000) == {"done": [], "ignored": []}


async def test_a_failed_child_can_let_its_parent_run_at_once(redis_url: str) -> None:
    children = [FlowJob("broken", "loads", continue_parent_on_failure=True), FlowJob("slow", "nobody-works-here")]
    async with FlowProducer(redis=redis_url) as flows, workers(redis_url, "reports", "loads", process=work_or_fail):
        flow = await flows.add(FlowJob("top", "reports", children=children))
        assert await flow.job.result(timeout=10_000) == {"done": [], "ignored": ["no such table"]}


async def test_by_default_a_parent_waits_for_a_failed_child(redis_url: str) -> None:
    broken = True

    async def work(job: Job[Any]) -> str:
        if job.name == "child" and broken:
            raise ValueError("not yet")
        return job.name

    async with (
        FlowProducer(redis=redis_url) as flows,
        Queue("work", redis=redis_url) as queue,
        workers(redis_url, "work", process=work),
    ):
        flow = await flows.add(FlowJob("parent", "work", children=[FlowJob("child", "work")]))
        with pytest.raises(JobFailed):
            await flow.children[0].job.result(timeout=10_000)
        assert await flow.job.state() == "waiting-children"
        broken = False
        await queue.retry(flow.children[0].job.id)
        assert await flow.job.result(timeout=10_000) == "parent"


async def test_a_running_job_adds_children_and_waits(redis_url: str) -> None:
    async def work(job: Job[Any]) -> Any:
        if job.name == "page":
            return job.data
        pages = await job.children_values()
        if not pages:
            for number in range(3):
                job.add_child(FlowJob("page", "work", number))
            raise WaitForChildren
        return sorted(pages.values())

    async with Queue("work", redis=redis_url) as queue, workers(redis_url, "work", process=work):
        book = await queue.add("book")
        assert await book.result(timeout=10_000) == [0, 1, 2]
        await book.refresh()
        assert (book.attempts_started, book.attempts_made) == (2, 1)


async def test_added_children_become_jobs_if_the_job_returns(redis_url: str) -> None:
    ran: list[str] = []

    async def work(job: Job[Any]) -> str:
        ran.append(job.name)
        if job.name == "import":
            job.add_child(FlowJob("mail", "work", job_id="mail-1"))
        return job.name

    async with Queue("work", redis=redis_url) as queue, workers(redis_url, "work", process=work):
        assert await (await queue.add("import")).result(timeout=10_000) == "import"
        mail = await queue.get_job("mail-1")
        assert mail is not None
        assert await mail.result(timeout=10_000) == "mail"
    assert ran == ["import", "mail"]


async def test_added_children_are_dropped_if_the_job_fails(redis_url: str) -> None:
    async def work(job: Job[Any]) -> None:
        job.add_child(FlowJob("mail", "work", job_id="mail-1"))
        raise ValueError("broken")

    async with Queue("work", redis=redis_url) as queue, workers(redis_url, "work", process=work):
        with pytest.raises(JobFailed):
            await (await queue.add("import")).result(timeout=10_000)
        assert await queue.get_job("mail-1") is None


async def test_plain_functions_wait_for_children_too(redis_url: str) -> None:
    def work(job: Any) -> Any:
        if job.name == "page":
            return job.data
        if not job.children_values():
            job.add_child(FlowJob("page", "work", 7))
            raise WaitForChildren
        return list(job.children_values().values())

    async with Queue("work", redis=redis_url) as queue, workers(redis_url, "work", process=work):
        assert await (await queue.add("book")).result(timeout=10_000) == [7]


async def test_a_job_that_waits_for_nothing_twice_fails(redis_url: str) -> None:
    async def work(job: Job[Any]) -> None:
        raise WaitForChildren

    async with Queue("work", redis=redis_url) as queue, workers(redis_url, "work", process=work):
        with pytest.raises(JobFailed, match="though all are done"):
            await (await queue.add("book")).result(timeout=10_000)


async def test_a_job_fails_where_a_child_failed_while_it_ran(redis_url: str) -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def work(job: Job[Any]) -> None:
        if job.name == "broken":
            raise ValueError("no")
        entered.set()
        await go.wait()

    async with Queue("work", redis=redis_url) as queue, workers(redis_url, "work", process=work):
        parent = await queue.add("parent")
        await entered.wait()
        link = Parent(parent.id, "work")
        child = await queue.add("broken", parent=link, fail_parent_on_failure=True)
        with pytest.raises(JobFailed):
            await child.result(timeout=10_000)
        go.set()
        with pytest.raises(JobFailed, match="a child has failed"):
            await parent.result(timeout=10_000)


async def test_a_child_can_be_added_to_a_job_that_is_there(redis_url: str) -> None:
    async def work(job: Job[Any]) -> Any:
        return [job.name, sorted(str(value) for value in (await job.children_values()).values())]

    async with FlowProducer(redis=redis_url) as flows, Queue("work", redis=redis_url) as queue:
        flow = await flows.add(FlowJob("parent", "work", children=[FlowJob("first", "work")]))
        child = await queue.add("second", parent={"id": flow.job.id, "queue": "work"})
        assert child.id == "3"
        with pytest.raises(JobNotFound, match="'gone'"):
            await queue.add("third", parent={"id": "gone", "queue": "work"})
        async with workers(redis_url, "work", process=work):
            assert await flow.job.result(timeout=10_000) == ["parent", ["['first', []]", "['second', []]"]]


async def test_a_flow_can_be_read_and_removed_as_a_whole(redis_url: str) -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def work(job: Job[Any]) -> None:
        entered.set()
        await go.wait()

    tree = FlowJob(
        "a", "work", children=[FlowJob("b", "other", children=[FlowJob("c", "work")]), FlowJob("d", "other")]
    )
    async with FlowProducer(redis=redis_url) as flows, Queue("work", redis=redis_url) as queue:
        flow = await flows.add(tree)
        found = await flows.get("work", flow.job.id)
        assert found is not None
        assert found.job.name == "a"
        assert {child.job.name: [below.job.name for below in child.children] for child in found.children} == {
            "b": ["c"],
            "d": [],
        }
        shallow = await flows.get("work", flow.job.id, depth=2, max_children=1)
        assert shallow is not None
        assert [child.children for child in shallow.children] == [[]]
        async with workers(redis_url, "work", process=work):
            await entered.wait()
            with pytest.raises(JobLocked):
                await flows.remove("work", flow.job.id)
            assert await flow.children[0].job.state() == "waiting-children"
            go.set()
            await flow.children[0].children[0].job.result(timeout=10_000)
        assert await flows.remove("work", flow.job.id)
        assert await flows.get("work", flow.job.id) is None
        assert (await queue.counts()).completed == 0
        assert not await flows.remove("work", flow.job.id)


async def test_a_wrong_flow_is_refused_before_any_write(redis_url: str) -> None:
    untyped: Any = FlowJob  # what a type checker refuses
    leaf = FlowJob("leaf", "work")
    leaves = [FlowJob("leaf", "work") for _ in range(90)]
    wrong: list[tuple[Any, str]] = [
        (lambda: untyped("x", "work", colour="red"), "colour: unknown option"),
        (
            lambda: FlowJob("x", "work", fail_parent_on_failure=True, continue_parent_on_failure=True),
            "fail_parent_on_failure and continue_parent_on_failure",
        ),
        (lambda: untyped("x", "work", parent={"id": "1", "queue": "work"}), "parent: it is not allowed in a flow"),
        (lambda: chain(), "chain: it has no jobs"),
    ]
    for make, said in wrong:
        with pytest.raises(InvalidInput, match=said):
            make()
    trees = [
        (FlowJob("x", "work", children=[leaf, leaf]), "has the same child twice"),
        (FlowJob("x", "work", children=["leaf"]), "is not a FlowJob"),  # type: ignore[list-item]
        (FlowJob("x", "work", children=[FlowJob("y", "w:x")]), "queue name"),
        (FlowJob("x", "work", fail_parent_on_failure=True), "is the root"),
        (FlowJob("x", "work", children=[untyped("y", "work", deduplication={"id": "d"})]), "deduplication"),
        (FlowJob("x", "work", children=[FlowJob("y", "work", job_id="a"), FlowJob("y", "work", job_id="a")]), "twice"),
        (FlowJob("x", "work", object()), "data"),
        (FlowJob("x", "work", children=[FlowJob("y", "work") for _ in range(500)]), "more than 500 jobs"),
        (
            FlowJob("x", "work", children=[FlowJob("y", "work", children=leaves) for _ in range(8)]),
            "more than 700 links",
        ),
        (FlowJob("x", "work", children=[FlowJob("y", f"w{n}") for n in range(50)]), "more than 50 queues"),
        (FlowJob("x", "work", children=[FlowJob("y", "work", "x" * 700_000) for _ in range(3)]), "2,097,152 bytes"),
    ]
    async with FlowProducer(redis=redis_url) as flows, Queue("work", redis=redis_url) as queue:
        for tree, said in trees:
            with pytest.raises(InvalidInput, match=said):
                await flows.add(tree)
        with pytest.raises(InvalidOption, match="the job has no parent"):
            await queue.add("x", fail_parent_on_failure=True)
        loop = FlowJob("x", "work")
        loop.children.append(loop)
        with pytest.raises(InvalidInput, match="would wait for itself"):
            await flows.add(loop)
        counts = await queue.counts()
        assert counts.waiting + counts.waiting_children == 0
