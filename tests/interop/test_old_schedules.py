"""Schedules as BullMQ made them over the years: any of them goes on under a worker of ours, with its jobs' data and options.

BullMQ 4 keeps no record of what it calls a repeatable job, and finds it by a key of its own; 5.30 keeps neither data nor options
in a scheduler's record, and no limit; 5.63 adds some of them while it works. In the meantime the runs hand them on.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from engine import Job, Queue, Worker
from engine.cli.migrate.check import check
from engine.connection import RedisSettings
from engine.errors import WrongState
from engine.model.clock import to_ms
from tests.interop.side import PATIENCE, NodeSide, need
from tests.interop.standing import StandingNodeSide
from tests.interop.stream import stored, told
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

NodeOf = Callable[[str], Awaitable[NodeSide]]

FOUR, EARLY, FIVE, SIX = "4.18.3", "5.30.1", "5.63.0", "6.2.0"
DATA = {"value": [1, None]}
OPTIONS = {"attempts": 4, "removeOnComplete": 50}
OFTEN = {"every": 100}
DAILY = {"pattern": "0 9 * * *", "tz": "UTC"}


@pytest.fixture
async def node_of(redis_url: str) -> AsyncIterator[NodeOf]:
    """A Node process on that version of BullMQ, with a Queue `q`."""
    async with AsyncExitStack() as stack:
        sides: dict[str, NodeSide] = {}

        async def side(version: str) -> NodeSide:
            if version not in sides:
                need(version)
                sides[version] = await stack.enter_async_context(StandingNodeSide(version, redis_url))
                await sides[version].make("Queue", "q", "q")
            return sides[version]

        yield side


async def make(maker: str, node_of: NodeOf, queue: Queue, **times: Any) -> None:
    """`maker`: "us", or versions of BullMQ, each of which says the same after the one before, and how."""
    how, _, versions = maker.partition(" ")
    for version in versions.split():
        node = await node_of(version)
        if how == "add":
            await node.call("q", "add", "run", DATA, {**OPTIONS, "repeat": times})
        else:
            await node.call("q", "upsertJobScheduler", "s", times, {"name": "run", "data": DATA, "opts": OPTIONS})
    if maker == "us":
        await queue.schedules.upsert("s", "run", DATA, attempts=4, remove_on_complete=50, **times)


async def two_runs(hand: str, node_of: NodeOf, queue: Queue, redis_url: str) -> None:
    """A worker of ours, or of that version, completes two jobs."""
    before = (await queue.counts()).completed
    if hand == "us":
        async with running(Worker("q", work, redis=redis_url)):
            await until(lambda: completed(queue, before + 2), "two runs of ours", timeout=PATIENCE)
        return
    node = await node_of(hand)
    name = f"worker {len(node.told)}"
    await node.make("Worker", name, "q")
    await node.heard(name, "completed", 2)
    await node.call(name, "close")
    assert node.told.of(name, "error") == []


async def work(job: Job[Any]) -> None: ...


async def completed(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed >= count


async def runs_of(queue: Queue) -> list[tuple[int, dict[str, str]]]:
    """All runs that there are, by the times at which they were due."""
    # Active: as an early BullMQ closes its worker, it may leave one there.
    jobs = [job for state in ("completed", "active", "waiting", "delayed") for job in await queue.jobs(state)]
    return sorted([(due_of(job.id), await stored(queue, job.id)) for job in jobs], key=lambda run: run[0])


def due_of(run: str) -> int:
    return int(run.rpartition(":")[2])


def number_of(run: dict[str, str]) -> int:
    return int(json.loads(run["opts"])["repeat"]["count"])


def options_of(run: dict[str, str]) -> dict[str, Any]:
    options = json.loads(run["opts"])
    return {name: options.get(name) for name in OPTIONS}


ORDERS = [
    (maker, hands)
    for maker, others in {
        f"add {FOUR}": [FOUR, EARLY, FIVE],
        f"add {FOUR} {FIVE}": [FOUR, EARLY, FIVE],
        f"add {FIVE}": [EARLY, FIVE],
        f"upsert {EARLY}": [EARLY, FIVE],
        f"upsert {FIVE}": [EARLY, FIVE, SIX],
        f"upsert {SIX}": [FIVE, SIX],
        "us": [FIVE, SIX],
    }.items()
    for other in others
    for hands in (("us", other, "us"), (other, "us", other))
]


@pytest.mark.parametrize(("maker", "hands"), ORDERS, ids=lambda said: said if isinstance(said, str) else "-".join(said))
async def test_further_runs_come_with_the_same_data_and_options(
    redis_url: str, node_of: NodeOf, maker: str, hands: tuple[str, ...]
) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await make(maker, node_of, queue, **OFTEN)
        for hand in hands:
            await two_runs(hand, node_of, queue, redis_url)
        runs = await runs_of(queue)
        assert len(runs) >= 7, "six of them, and the next"
        assert {run["name"] for _, run in runs} == {"run"}
        assert [json.loads(run["data"]) for _, run in runs] == [DATA] * len(runs)
        assert [options_of(run) for _, run in runs] == [OPTIONS] * len(runs)
        numbers = [number_of(run) for _, run in runs]
        if maker == f"add {FOUR} {FIVE}" and numbers[1] == 1:
            del numbers[0]  # added again after the time of its first run, which BullMQ then leaves there
        assert numbers == list(range(1, len(numbers) + 1))
        assert len({due for due, _ in runs}) == len(runs)
        counts = await queue.counts()
        assert counts.delayed + counts.waiting == 1


@pytest.mark.parametrize("maker", [f"upsert {EARLY}", f"add {FIVE}"])
async def test_bullmq_6_and_we_hand_on_what_only_runs_have(redis_url: str, node_of: NodeOf, maker: str) -> None:
    """But BullMQ 6 takes data from the record alone, where these have none."""
    async with Queue("q", redis=redis_url) as queue:
        await make(maker, node_of, queue, **OFTEN)
        for hand in ("us", SIX, "us"):
            await two_runs(hand, node_of, queue, redis_url)
        runs = [run for _, run in await runs_of(queue)]
        assert [options_of(run) for run in runs] == [OPTIONS] * len(runs)
        assert [number_of(run) for run in runs] == list(range(1, len(runs) + 1))
        assert [json.loads(run["data"]) for run in runs] == [DATA] * 3 + [{}] * (len(runs) - 3)


OLD = [f"add {FOUR}", f"add {FOUR} {FIVE}", f"add {FIVE}", f"upsert {EARLY}"]
"""Makers whose runs have what the schedule's record has not."""


@pytest.mark.parametrize("maker", OLD)
async def test_their_limits_and_ends_are_heeded(redis_url: str, node_of: NodeOf, maker: str) -> None:
    """They are in the runs too, or in the key."""
    async with Queue("q", redis=redis_url) as queue:
        await make(maker, node_of, queue, **OFTEN, limit=3)
        await work_to_the_end(queue, redis_url)
        assert {number_of(run) for _, run in await runs_of(queue)} == {1, 2, 3}
        await queue.link.call("FLUSHALL")
        end = int(time.time() * 1000) + 450
        await make(maker, node_of, queue, **OFTEN, endDate=end)
        await work_to_the_end(queue, redis_url)
        assert max(due for due, _ in await runs_of(queue)) <= end


async def work_to_the_end(queue: Queue, redis_url: str) -> None:
    async with running(Worker("q", work, redis=redis_url)):
        await until(lambda: is_over(queue), "the last run has ended", timeout=PATIENCE)


async def is_over(queue: Queue) -> bool:
    counts = await queue.counts()
    return counts.completed > 0 and counts.delayed + counts.waiting + counts.active == 0


async def test_a_pattern_under_a_key_of_bullmq_4_goes_on(redis_url: str, node_of: NodeOf) -> None:
    """Its time zone and its words beside the times are in the run; added again at start-up it stays one chain."""
    repeat = {"pattern": "* * * * * *", "tz": "Europe/Berlin"}
    async with Queue("q", redis=redis_url) as queue:
        await make(f"add {FOUR} {FIVE}", node_of, queue, **repeat)
        (key,) = await queue.link.call("ZRANGE", queue.keys.repeat, 0, -1)
        assert key == b"run:::Europe/Berlin:* * * * * *"
        await two_runs("us", node_of, queue, redis_url)
        (pending,) = await queue.jobs("delayed")
        assert (await stored(queue, pending.id))["rjk"] == key.decode()
        assert pending.id.startswith("repeat:"), "and a checksum, as before"
        assert len({job.id.rpartition(":")[0] for job in [pending, *await queue.jobs("completed")]}) == 1
        await make(f"add {FIVE}", node_of, queue, **repeat)
        assert (await queue.counts()).delayed == 1
        await two_runs(FIVE, node_of, queue, redis_url)
        assert (await queue.counts()).delayed == 1


@pytest.mark.parametrize("maker", [*OLD, f"upsert {EARLY} {FIVE}"])
async def test_operators_of_ours_know_them(redis_url: str, node_of: NodeOf, maker: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await make(maker, node_of, queue, **DAILY)
        (schedule,) = await queue.schedules.list()
        assert (schedule.name, schedule.data, schedule.cron, schedule.tz) == ("run", DATA, *DAILY.values())
        assert (schedule.options.attempts, schedule.options.job_id, schedule.options.delay) == (4, None, 0)
        (run,) = await queue.jobs("delayed")
        assert schedule.next_run is not None
        assert due_of(run.id) == to_ms(schedule.next_run)

        for refused in (queue.remove(run.id), queue.cancel(run.id)):
            with pytest.raises(WrongState):
                await refused
        await queue.drain(delayed=True)
        assert await queue.clean("delayed") == []
        assert [job.id for job in await queue.jobs("delayed")] == [run.id]

        added = await queue.schedules.run_now(schedule.id)
        made = await stored(queue, added.id)
        assert (json.loads(made["data"]), options_of(made)) == (DATA, OPTIONS)
        assert "repeat" not in json.loads(made["opts"])
        await queue.remove(added.id)

        assert await queue.schedules.remove(schedule.id)
        counts = await queue.counts()
        assert counts.delayed + counts.waiting == 0
        assert await queue.schedules.list() == []


@pytest.mark.parametrize("maker", OLD)
async def test_a_run_that_is_done_again_makes_no_further_one(redis_url: str, node_of: NodeOf, maker: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await make(maker, node_of, queue, **DAILY)
        (first,) = await queue.jobs("delayed")
        async with running(Worker("q", work, redis=redis_url)):
            await queue.promote(first.id)
            await until(lambda: completed(queue, 1), "it has run", timeout=PATIENCE)
            await queue.retry(first.id)
            await until(lambda: done_twice(queue, first.id), "it has run again", timeout=PATIENCE)
        (second,) = await queue.jobs("delayed")
        assert options_of(await stored(queue, second.id)) == OPTIONS
        assert (second.data, number_of(await stored(queue, second.id))) == (DATA, 2)
        assert due_of(second.id) == due_of(first.id) + 86_400_000


async def done_twice(queue: Queue, id: str) -> bool:
    return sum(one["event"] == "completed" and one["jobId"] == id for one in await told(queue)) == 2


@pytest.mark.parametrize("version", [FIVE, SIX])
async def test_a_run_that_a_drain_of_node_cut_off_is_made_again(redis_url: str, node_of: NodeOf, version: str) -> None:
    """BullMQ cuts `wait` by its length: the run's entry goes, and that of a job which is deleted may stay."""
    async with Queue("q", redis=redis_url) as queue:
        node = await node_of(version)
        await node.call("q", "add", "first", DATA)
        await make(f"upsert {EARLY}", node_of, queue, **OFTEN)
        await two_runs(FIVE, node_of, queue, redis_url)
        (run,) = await queue.jobs("delayed")
        await node.call("q", "add", "second", DATA)
        await queue.promote(run.id)
        await node.call("q", "add", "third", DATA)
        await node.call("q", "drain")
        assert run.id not in [job.id for job in await queue.jobs("waiting")]
        done = (await queue.counts()).completed
        async with running(Worker("q", work, redis=redis_url, stalled_interval=100)):
            await until(lambda: completed(queue, done + 2), "the schedule goes on", timeout=PATIENCE)
        runs = [made for _, made in await runs_of(queue) if made["name"] == "run"]
        assert [(json.loads(made["data"]), options_of(made)) for made in runs] == [(DATA, OPTIONS)] * len(runs)


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(
    ("maker", "code"),
    [
        (f"add {FOUR}", "schedule-legacy"),
        (f"add {FOUR} {FIVE}", "schedule-legacy"),
        (f"add {FIVE}", "schedule-legacy"),
        (f"upsert {EARLY}", "schedule-in-runs"),
        (f"upsert {FIVE}", None),
    ],
)
async def test_the_check_says_how_they_are_kept(redis_url: str, node_of: NodeOf, maker: str, code: str | None) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await make(maker, node_of, queue, **DAILY)
        (report,) = (await check(RedisSettings.parse(redis_url), "bull")).queues
        found = [one for one in report.findings if not one.examples[0].id.startswith("0:")]  # what wakes BullMQ 4
        assert [one.code for one in found] == [code] * (code is not None)
        if code == "schedule-in-runs":
            await queue.promote((await queue.jobs("delayed"))[0].id)
            node = await node_of(FIVE)
            await node.make("Worker", "worker", "q")
            await node.heard("worker", "completed")
            (report,) = (await check(RedisSettings.parse(redis_url), "bull")).queues
            assert [(one.code, one.examples[0].detail) for one in report.findings] == [(code, "options")]
