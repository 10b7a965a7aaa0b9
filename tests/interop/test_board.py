"""bull-board in a browser: it shows our queues like BullMQ's, and our workers obey its buttons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, expect

from engine import FlowJob, FlowProducer, Job, NewJob, Queue, Worker
from engine.connection.embedded import EmbeddedServer
from tests.interop.board import Board, browsing, need_board, serving
from tests.support.running import running, until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module", loop_factories=["uvloop"]),
    # The first test of a fresh clone fetches three sets of packages.
    pytest.mark.timeout(180),
]

VERSIONS = ("5.63.0", "6.7.0")
QUEUES = ("orders", "parts", "still")
HOUR = 3_600_000

one_version = pytest.mark.parametrize("board", VERSIONS[:1], indirect=True)
"""For what the two versions do by the same commands; each test costs seconds."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[BrowserContext]:
    async with browsing(need_board(*VERSIONS)) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def addresses(browser: BrowserContext, redis_server: EmbeddedServer) -> AsyncIterator[Mapping[str, str]]:
    """Where each version of BullMQ has its board."""
    redis_server.start()
    async with AsyncExitStack() as stack:
        yield {
            version: await stack.enter_async_context(serving(version, redis_server.url, QUEUES)) for version in VERSIONS
        }


@pytest_asyncio.fixture(loop_scope="module", params=VERSIONS)
async def board(
    request: pytest.FixtureRequest, redis_url: str, browser: BrowserContext, addresses: Mapping[str, str]
) -> AsyncIterator[Board]:
    page = await browser.new_page()
    board = Board(page, addresses[request.param], request.param)
    yield board
    await page.close()
    assert board.troubles == []


class Shop:
    """What our workers do: `{"fail": reason}` fails, `{"hold": true}` waits for `open`, all else is told back."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.ran: list[str] = []

    async def run(self, job: Job[dict[str, Any]]) -> Any:
        self.ran.append(job.id)
        if job.data.get("hold"):
            await job.update_progress(40)
            await self.open.wait()
        if "fail" in job.data:
            raise ValueError(job.data["fail"])
        return {"done": job.data}


async def test_every_state_has_its_tab_and_its_jobs(board: Board, redis_url: str) -> None:
    shop = Shop()
    async with (
        Queue("orders", redis=redis_url) as orders,
        Queue("still", redis=redis_url) as still,
        FlowProducer(redis=redis_url) as flows,
        running(Worker("orders", shop.run, redis=redis_url, concurrency=1)),
    ):
        jobs = {"completed": await orders.add("order", {}), "failed": await orders.add("order", {"fail": "sold out"})}
        jobs["active"] = await orders.add("order", {"hold": True})
        await until(lambda: len(shop.ran) == 3, "the third job runs")
        jobs["waiting"] = await orders.add("order", {})
        jobs["prioritized"] = await orders.add("order", {}, priority=3)
        jobs["delayed"] = await orders.add("order", {}, delay=HOUR)
        parent = FlowJob("order", "orders", {}, children=[FlowJob("part", "parts", {})])
        jobs["waiting-children"] = (await flows.add(parent)).job
        await still.add_many([NewJob("order", {})] * 2)
        await still.pause()

        await board.open()
        everywhere = {state.replace("-", " "): 1 for state in jobs} | {"waiting": 2}
        assert await board.counts() == everywhere | {"paused": 2 * board.has_paused}
        await expect(board.page.get_by_role("link", name="still [ Paused ]")).to_be_visible()
        await board.open_queue("orders")
        assert set(await board.job_ids("orders")) == {job.id for job in jobs.values()}
        for state, job in jobs.items():
            assert await board.turn_to("orders", state) == [job.id]
        shop.open.set()


@one_version
async def test_a_jobs_page_says_what_became_of_it(board: Board, redis_url: str) -> None:
    async def work(job: Job[Any]) -> Any:
        await job.log(f"<b>attempt {job.attempts_made + 1}</b>")
        await job.update_progress({"packed": 3})
        if job.data["items"] == []:
            raise ValueError(f"empty at attempt {job.attempts_made + 1}")
        return {"total": 12.5, "paid": None}

    async with Queue("orders", redis=redis_url) as orders:
        good = await orders.add("order", {"items": [2**53 - 1, "Ä <i>"]}, attempts=3, backoff=100)
        bad = await orders.add("order", {"items": []}, attempts=2, backoff=10)
        async with running(Worker("orders", work, redis=redis_url, name="mill")):
            await until(lambda: _all(orders, completed=1, failed=1), "both have ended")
    await board.open_job("orders", good.id, "completed")
    await expect(board.page.locator("main")).to_contain_text("by mill")
    for text in ("9007199254740991", '"Ä <i>"', "total:12.5", "paid:null"):
        await expect(await board.tab("Data")).to_contain_text(text)
    for tab, text in (("Options", "attempts:3"), ("Progress", "packed:3"), ("Logs", "<b>attempt 1</b>")):
        await expect(await board.tab(tab)).to_contain_text(text)
    await board.open_job("orders", bad.id, "failed")
    traces = await (await board.tab("Error")).inner_text()
    assert 0 < traces.index("ValueError: empty at attempt 2") < traces.index("ValueError: empty at attempt 1")
    await expect(await board.tab("Logs")).to_contain_text("<b>attempt 2</b>")


@one_version
async def test_our_workers_are_listed_while_they_run(board: Board, redis_url: str) -> None:
    idle = board.page.get_by_text("No workers")
    async with (
        running(Worker("orders", Shop().run, redis=redis_url, name="mill-1")),
        running(Worker("orders", Shop().run, redis=redis_url, name="mill-2")),
    ):
        await board.open()
        await expect(idle).to_have_count(2)
        await board.open_queue("orders")
        await board.page.get_by_role("button", name="Queue info").click()
        await board.page.get_by_role("button", name="Connected workers").click()
        listed = board.page.get_by_role("dialog").get_by_role("listitem")
        await expect(listed).to_have_count(2)
        for name in ("mill-1", "mill-2"):
            await expect(listed.filter(has_text=name)).to_have_count(1)
    await board.open()
    await expect(idle).to_have_count(3)


async def test_a_failed_job_is_mended_and_retried(board: Board, redis_url: str) -> None:
    shop = Shop()
    async with (
        Queue("orders", redis=redis_url) as orders,
        running(Worker("orders", shop.run, redis=redis_url, concurrency=1)),
    ):
        bad, *others = await orders.add_many([NewJob("order", {"fail": "sold out"})] * 3)
        await until(lambda: _all(orders, failed=3), "all have failed")
        await board.open_job("orders", bad.id, "failed")
        await board.icon("pencil").click()
        await board.fill('{"order": 8}')
        await board.press("Update")
        await board.icon("refresh-cw").click()
        await board.press()
        await until(lambda: _all(orders, failed=2, completed=1), "the mended job is completed")
        assert await bad.result(timeout=10_000) == {"done": {"order": 8}}
        await board.open_queue("orders", "failed")
        await board.page.get_by_role("button", name="Retry all").click()
        await board.press()
        await until(lambda: len(shop.ran) == 6, "the others ran again")
        await until(lambda: _all(orders, failed=2, completed=1), "the others failed again")
        assert sorted(shop.ran[4:]) == [job.id for job in others]
        # A retry from elsewhere leaves the dead letters of ours open.
        assert await orders.dead_letters.count() == 3


@one_version
async def test_delayed_jobs_are_let_run(board: Board, redis_url: str) -> None:
    shop = Shop()
    async with Queue("orders", redis=redis_url) as orders, running(Worker("orders", shop.run, redis=redis_url)):
        jobs = [await orders.add("order", {}, delay=HOUR + number) for number in range(4)]
        moved, promoted, *rest = [job.id for job in jobs]
        await board.open_queue("orders", "delayed")
        await board.icon("clock", moved).click()
        await board.page.get_by_label("Run at").fill("2020-01-01T00:00")
        await board.press("Save")
        await until(lambda: shop.ran == [moved], "the rescheduled job ran")
        await board.icon("corner-up-left", promoted).click()
        await board.press()
        await until(lambda: shop.ran == [moved, promoted], "the promoted job ran")
        await board.page.get_by_role("button", name="Promote all").click()
        await board.press()
        await until(lambda: sorted(shop.ran) == sorted([moved, promoted, *rest]), "all ran")


async def test_a_queue_is_paused_and_resumed(board: Board, redis_url: str) -> None:
    shop = Shop()
    async with Queue("orders", redis=redis_url) as orders, running(Worker("orders", shop.run, redis=redis_url)):
        await board.open_queue("orders")
        await board.choose("Pause")
        await board.press()
        assert await orders.is_paused()
        jobs = await orders.add_many([NewJob("order", {})] * 2)
        await board.open_queue("orders")
        assert (await board.counts()).get("paused", 0) == 2 * board.has_paused
        assert shop.ran == []
        await board.choose("Resume")
        await board.press()
        await until(lambda: shop.ran == [job.id for job in jobs], "both ran, in their order")


@one_version
async def test_what_the_page_adds_and_duplicates_is_run_by_us(board: Board, redis_url: str) -> None:
    shop = Shop()
    async with Queue("orders", redis=redis_url) as orders, running(Worker("orders", shop.run, redis=redis_url)):
        await board.open_queue("orders")
        await board.choose("Add job")
        await board.fill("order", '{"n": 1}', '{"priority": 7, "attempts": 2}')
        await board.press("Add")
        await until(lambda: _all(orders, completed=1), "it ran")
        (added,) = await orders.jobs("completed")
        assert (added.name, added.data) == ("order", {"n": 1})
        assert (added.opts.priority, added.opts.attempts) == (7, 2)
        await board.open_job("orders", added.id, "completed")
        await board.icon("files").click()
        await board.press("Duplicate")
        await until(lambda: _all(orders, completed=2), "its double ran")
        assert [job.data for job in await orders.jobs("completed")] == [{"n": 1}, {"n": 1}]


@one_version
async def test_limits_are_set_and_shown(board: Board, redis_url: str) -> None:
    async with Queue("orders", redis=redis_url) as orders:
        await orders.set_concurrency(7)
        await board.open_queue("orders")
        await board.choose("Set concurrency")
        box = board.page.get_by_label("Concurrency", exact=True)
        await expect(box).to_have_value("7")
        await box.fill("3")
        await board.press("Save")
        assert await orders.concurrency() == 3
        # A dialog that was closed closes the next one too, for a second; a fresh page has none.
        await board.open_queue("orders")
        await board.choose("Set rate limit")
        await board.page.get_by_label("Max jobs").fill("5")
        await board.page.get_by_label("Duration (ms)").fill("1000")
        await board.press("Save")
        limit = await orders.rate_limit()
        assert limit is not None
        assert (limit.max, limit.duration) == (5, 1000)


async def test_jobs_are_removed_cleaned_and_emptied(board: Board, redis_url: str) -> None:
    async with Queue("orders", redis=redis_url) as orders:
        await orders.add_many([NewJob("order", {"fail": "sold out"}), NewJob("order", {})])
        async with running(Worker("orders", Shop().run, redis=redis_url)):
            await until(lambda: _all(orders, completed=1, failed=1), "both have ended")
        await _age(orders, "completed")
        await orders.schedules.upsert("daily", "order", {}, cron="0 9 * * *")
        first, _, _ = await orders.add_many([NewJob("order", {})] * 3)
        await board.open_queue("orders", "waiting")
        await board.icon("trash-2", first.id).click()
        await board.press()
        assert await orders.get_job(first.id) is None
        await board.turn_to("orders", "completed")
        await board.page.get_by_role("button", name="Clean all").click()
        await board.press()
        assert await _all(orders, waiting=2, failed=1, delayed=1)
        await board.choose("Empty")
        await board.press()
        assert await _all(orders, failed=1, delayed=1)
        # It takes BullMQ's keys; the letter of the failed job is not among them.
        await board.choose("Pause")
        await board.press()
        await board.choose("Obliterate")
        await board.press()
        assert await _all(orders)
        assert await orders.schedules.list() == []
        assert await orders.dead_letters.count() == 1


async def test_a_flow_is_drawn_and_let_go(board: Board, redis_url: str) -> None:
    shop = Shop()
    screw = FlowJob("screw", "parts", {})
    tree = FlowJob("order", "orders", {}, children=[FlowJob("part", "parts", {}, children=[screw]) for _ in "ab"])
    async with FlowProducer(redis=redis_url) as flows, running(Worker("orders", shop.run, redis=redis_url)):
        flow = await flows.add(tree)
        await board.open_job("orders", flow.job.id)
        drawn = board.page.get_by_role("application")
        # One of the children has two parents, which BullMQ does not know.
        for name, count in (
            ("order, waiting-children", 1),
            ("part, waiting-children", 2),
            ("screw, waiting,", 1),
            ("Edge", 4),
        ):
            await expect(drawn.get_by_role("group", name=name)).to_have_count(count)
        async with running(Worker("parts", shop.run, redis=redis_url)):
            await flow.job.result(timeout=10_000)
        await board.open_job("orders", flow.job.id)
        await expect(drawn.get_by_role("group", name=", completed, queue")).to_have_count(4)
        other = await flows.add(tree)
        await board.open_job("orders", other.job.id)
        await board.icon("list-x").click()
        await board.press()
        await other.job.result(timeout=10_000)
        assert [await child.job.state() for child in other.children] == ["unknown", "unknown"]


async def test_schedules_are_shown_run_changed_and_removed(board: Board, redis_url: str) -> None:
    shop = Shop()
    async with Queue("orders", redis=redis_url) as orders, running(Worker("orders", shop.run, redis=redis_url)):
        await orders.schedules.upsert("daily", "report", {"n": 1}, cron="0 9 * * *", tz="Europe/Berlin")
        await board.open("/job-schedulers")
        row = board.page.get_by_role("row", name="daily")
        await expect(row).to_contain_text("0 9 * * *")
        await expect(row).to_contain_text("Europe/Berlin")
        await row.get_by_role("button", name="Run now").click()
        await board.press()
        await until(lambda: len(shop.ran) == 1, "the extra run")
        assert not shop.ran[0].startswith("repeat:")
        await row.get_by_role("button", name="Edit schedule").click()
        await board.page.get_by_label("Cron pattern").fill("30 10 * * *")
        await board.press("Save")
        changed = await orders.schedules.get("daily")
        assert changed is not None
        assert (changed.cron, changed.tz, changed.data) == ("30 10 * * *", "Europe/Berlin", {"n": 1})
        await row.get_by_role("button", name="Remove scheduler").click()
        await board.press()
        assert await orders.schedules.list() == []
        assert await _all(orders, completed=1)


async def _all(queue: Queue, **counts: int) -> bool:
    """Whether the queue has these jobs and no others."""
    found = await queue.counts()
    return {state: number for state, number in msgspec.structs.asdict(found).items() if number} == counts


async def _age(queue: Queue, state: Literal["completed", "failed"]) -> None:
    """Let what has ended seem to have ended long ago: bull-board cleans what is older than five seconds."""
    for job in await queue.jobs(state):
        await queue.link.call("HSET", f"bull:{queue.name}:{job.id}", "finishedOn", 1)
        await queue.link.call("ZADD", f"bull:{queue.name}:{state}", 1, job.id)
