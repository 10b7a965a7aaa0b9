"""Dead letters: list, group, replay and purge jobs that failed for good."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine import AtLeast, DeadLetter, DeadLetterAlert, Job, NewJob, Queue, Worker, processor
from engine.errors import DeadLetterNotFound, InvalidOption, JobFailed, WrongState
from engine.model.clock import monotonic
from tests.support.running import running, until
from tests.tour.test_command_line import Corral


class Shop:
    """Processors that fail until they are mended, and how often each job was run."""

    def __init__(self) -> None:
        self.is_mended = False
        self.runs: list[tuple[str, Any]] = []

    async def send(self, job: Job[Any]) -> str:
        self.runs.append((job.name, job.data))
        if not self.is_mended:
            raise ConnectionError(f"no route to {job.data['to']}")
        return "sent"

    async def bill(self, job: Job[Any]) -> str:
        self.runs.append((job.name, job.data))
        if not self.is_mended:
            raise KeyError("amount")
        return "billed"

    def worker(self, redis_url: str, **options: Any) -> Worker:
        processors = [processor("send")(self.send), processor("bill")(self.bill)]
        return Worker("q", *processors, redis=redis_url, concurrency=20, **options)


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def fail(*jobs: Job[Any]) -> None:
    """Wait until these jobs have failed for good."""
    for job in jobs:
        with pytest.raises(JobFailed):
            await job.result(timeout=10_000)


async def fail_some(queue: Queue, count: int = 6) -> list[Job[Any]]:
    """As many mails of two tenants, and one bill without a tenant, have failed."""
    mails = [NewJob("send", {"to": f"m{n}", "subAccountId": f"t{n % 2}"}) for n in range(count)]
    jobs = await queue.add_many([*mails, NewJob("bill", {"to": "office"})])
    await fail(*jobs)
    return jobs


async def test_a_dead_letter_outlives_its_job(redis_url: str, shop: Shop) -> None:
    async with Queue("q", redis=redis_url) as queue, running(shop.worker(redis_url, name="w1")):
        job = await queue.add("send", {"to": "ann", "subAccountId": "t1"}, attempts=2, remove_on_fail=True)
        letter = await until(lambda: queue.dead_letters.get(job.id), "there is a letter")
        assert await queue.get_job(job.id) is None

        assert (letter.name, letter.data, letter.tenant) == ("send", {"to": "ann", "subAccountId": "t1"}, "t1")
        assert (letter.error, letter.failed_reason) == ("ConnectionError", "no route to ann")
        assert (letter.attempts_made, letter.opts.attempts, letter.failures) == (2, 2, 1)
        assert [trace.rstrip().splitlines()[-1] for trace in letter.stacktrace] == [
            "ConnectionError: no route to ann"
        ] * 2
        assert (letter.queue_name, letter.processed_by, letter.replayed_on) == ("q", "w1", None)
        assert letter.timestamp <= letter.processed_on <= letter.finished_on


async def test_dead_letters_are_listed_counted_and_grouped(redis_url: str, shop: Shop) -> None:
    async with Queue("q", redis=redis_url) as queue, running(shop.worker(redis_url)):
        began = datetime.now(UTC) - timedelta(hours=1)
        jobs = await fail_some(queue)
        dead = queue.dead_letters

        assert await dead.count() == 7
        assert await dead.count(type="send") == 6
        assert await dead.count(error="ConnectionError", tenant="t1") == 3
        assert await dead.count(text="no route to m3") == 1
        assert await dead.at_least(text="no route", limit=2) == AtLeast(count=2, complete=False)
        assert await dead.at_least(text="no route") == AtLeast(count=6, complete=True)
        assert await dead.count(since=began) == 7
        assert await dead.count(until=began) == 0

        assert await dead.groups("type") == {"send": 6, "bill": 1}
        assert await dead.groups("error") == {"ConnectionError": 6, "KeyError": 1}
        assert await dead.groups("tenant") == {"t0": 3, "t1": 3}
        assert sum((await dead.groups("day")).values()) == 7

        found: list[DeadLetter] = []
        cursor: str | None = None
        while True:
            page = await dead.list(type="send", limit=4, cursor=cursor, oldest_first=True)
            assert len(page) <= 4
            found += page
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(letter.id for letter in found) == sorted(job.id for job in jobs[:6])


async def test_a_replay_puts_jobs_back_in_line_once(redis_url: str, shop: Shop) -> None:
    async with Queue("q", redis=redis_url) as queue, running(shop.worker(redis_url)):
        jobs = await fail_some(queue)
        shop.is_mended = True
        shop.runs.clear()
        dead = queue.dead_letters

        plan = await dead.replay(type="send", dry_run=True)
        assert (plan.count, len(plan.sample)) == (6, 6)
        assert await dead.count() == 7

        # Two operators at the same time: between them each job is run once.
        reports = await asyncio.gather(dead.replay(type="send"), dead.replay(type="send"))
        assert sum(report.count for report in reports) == 6
        assert [await job.result(timeout=10_000) for job in jobs[:6]] == ["sent"] * 6
        assert len(shop.runs) == 6

        assert [letter.id for letter in await dead.list()] == [jobs[6].id]
        assert await dead.count(replayed=True) == 6
        letter = await dead.get(jobs[0].id)
        assert letter is not None
        assert letter.replayed_on is not None
        with pytest.raises(WrongState, match="replayed before"):
            await dead.replay(jobs[0].id)
        with pytest.raises(DeadLetterNotFound):
            await dead.replay("no-such-job")


async def test_a_job_may_be_replayed_with_other_data(redis_url: str, shop: Shop) -> None:
    async with Queue("q", redis=redis_url) as queue, running(shop.worker(redis_url)):
        jobs = await fail_some(queue, 3)
        shop.is_mended = True
        shop.runs.clear()
        await queue.dead_letters.replay(jobs[3].id, data={"amount": 3})
        assert await jobs[3].result(timeout=10_000) == "billed"
        await queue.dead_letters.replay(type="send", data=lambda letter: {**letter.data, "to": letter.data["to"] + "!"})
        for job in jobs[:3]:
            await job.result(timeout=10_000)
        assert shop.runs[0] == ("bill", {"amount": 3})
        assert sorted(data["to"] for _, data in shop.runs[1:]) == ["m0!", "m1!", "m2!"]


async def test_a_job_is_replayed_once_in_a_call(redis_url: str, shop: Shop) -> None:
    async with Queue("q", redis=redis_url) as queue, running(shop.worker(redis_url)):
        jobs = await fail_some(queue, 3)
        report = await queue.dead_letters.replay(everything=True, rate=100)
        assert report.count == 4
        await until(lambda: _failures(queue, jobs, 2), "all have failed twice")
        assert len(shop.runs) == 8
        assert await queue.dead_letters.count() == 4


async def test_a_replay_may_be_slow_on_purpose(redis_url: str, shop: Shop) -> None:
    async with Queue("q", redis=redis_url) as queue:
        async with running(shop.worker(redis_url)):
            await fail_some(queue)
        began = monotonic()
        assert (await queue.dead_letters.replay(everything=True, rate=20)).count == 7
        assert monotonic() - began >= 6 / 20 * 0.9


async def test_an_interrupted_replay_can_be_continued(redis_url: str, shop: Shop) -> None:
    async with Queue("q", redis=redis_url) as queue, running(shop.worker(redis_url)):
        jobs = await fail_some(queue, 20)
        shop.is_mended = True
        shop.runs.clear()
        replay = asyncio.create_task(queue.dead_letters.replay(everything=True, rate=40))
        await until(lambda: len(shop.runs) > 4, "some are replayed")
        replay.cancel()
        with suppress(asyncio.CancelledError):
            await replay
        left = await queue.dead_letters.count()
        assert 0 < left < 21
        assert (await queue.dead_letters.replay(everything=True)).count <= left
        for job in jobs:
            await job.result(timeout=10_000)
        assert len(shop.runs) == 21


async def test_letters_are_purged_and_kept_in_bounds(redis_url: str, shop: Shop) -> None:
    worker = shop.worker(redis_url, dead_letters={"count": 5, "age": timedelta(days=30)})
    async with Queue("q", redis=redis_url) as queue, running(worker):
        jobs = await fail_some(queue, 9)
        assert await queue.dead_letters.count() == 5
        assert await queue.dead_letters.purge(error="KeyError") <= 1
        assert await queue.dead_letters.purge("no-such-job") == 0
        await queue.dead_letters.purge(everything=True)
        assert await queue.dead_letters.count() == 0
        assert (await queue.counts()).failed == len(jobs)


async def test_adopt_writes_missing_dead_letters(redis_url: str, shop: Shop) -> None:
    async with Queue("q", redis=redis_url) as queue, running(shop.worker(redis_url, dead_letters=False)):
        await fail_some(queue)
        assert await queue.dead_letters.count() == 0
        assert await queue.dead_letters.adopt() == 7
        assert await queue.dead_letters.adopt() == 0
        assert await queue.dead_letters.groups("error") == {"ConnectionError": 6, "KeyError": 1}
        assert await queue.dead_letters.groups("tenant") == {"t0": 3, "t1": 3}


async def test_someone_is_told_once_when_there_are_too_many(redis_url: str, shop: Shop) -> None:
    told: list[DeadLetterAlert] = []
    both = {"stalled_interval": 100, "dead_letter_alert": (3, told.append)}
    first, second = shop.worker(redis_url, **both), shop.worker(redis_url, **both)
    async with Queue("q", redis=redis_url) as queue, running(first), running(second):
        await fail_some(queue)
        await until(lambda: told, "someone is told")
        await queue.dead_letters.purge(everything=True)
        await until(lambda: _alerts(queue, 0), "the watch has seen that they are gone")
        await fail_some(queue)
        await until(lambda: len(told) == 2, "someone is told again")
    assert [(alert.queue, alert.threshold) for alert in told] == [("q", 3)] * 2
    assert all(alert.count > 3 for alert in told)


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_the_command_line_does_the_same(redis_url: str, shop: Shop) -> None:
    corral = Corral(redis_url)
    async with Queue("q", redis=redis_url) as queue, running(shop.worker(redis_url)):
        jobs = await fail_some(queue)
        found = await corral.json("dead-letters", "q", "list", "--tenant", "t1", "--limit", "2")
        assert [letter["error"] for letter in found] == ["ConnectionError"] * 2
        assert (await corral.json("dead-letters", "q", "list", jobs[6].id))["failedReason"] == "'amount'"
        assert await corral.json("dead-letters", "q", "groups", "--by", "type") == {"send": 6, "bill": 1}
        assert await corral("dead-letters", "q", "list", "--text", "m3", "--since", "2026-01-01") == 0
        assert corral.out.splitlines()[1].endswith("no route to m3")

        shop.is_mended = True
        assert await corral("dead-letters", "q", "replay", "--error", "ConnectionError", "--dry-run") == 0
        assert corral.out == "q: 6 jobs would be replayed\n"
        assert await corral("dead-letters", "q", "replay", "--error", "ConnectionError", "--rate", "1000") == 0
        assert corral.out == "q: 6 jobs replayed\n"
        assert await jobs[0].result(timeout=10_000) == "sent"
        assert await corral("dead-letters", "q", "purge", "--all") == 0
        assert corral.out == "q: 1 dead letter deleted\n"
        assert await corral("dead-letters", "q", "adopt") == 0
        assert corral.out == "q: 1 dead letter written\n"

        code, words = await corral.fails("dead-letters", "q", "purge")
        assert code == 2
        assert "--all" in words
        assert "everything" not in words
        code, words = await corral.fails("dead-letters", "q", "replay", "404")
        assert (code, "has no dead letter" in words) == (1, True)
        code, words = await corral.fails("dead-letters", "q", "list", "--since", "noon")
        assert (code, "'noon' is not a date" in words) == (2, True)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"typ": "sms"}, "typ: not a filter of dead letters"),
    ({"type": ""}, "type: '' is empty"),
    ({"since": datetime(2026, 1, 1)}, "since: .* no time zone"),
    ({"since": 5, "until": 5}, "until: not after since="),
    ({"until": "yesterday"}, "until: 'yesterday' is not a whole number"),
    ({"replayed": 1}, "replayed: 1 is neither"),
    ({"text": 7}, "text: 7 is empty or not text"),
]


@pytest.mark.parametrize(("filter", "words"), BAD)
async def test_a_filter_that_cannot_be_is_refused_by_all(redis_url: str, filter: dict[str, Any], words: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        dead = queue.dead_letters
        for ask in (dead.list, dead.count, dead.replay, dead.purge):
            with pytest.raises(InvalidOption, match=words):
                await ask(**filter)


async def test_what_would_change_all_by_a_slip_is_refused(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        dead = queue.dead_letters
        for slip, words in (
            (dead.replay(), "everything=True"),
            (dead.purge(), "everything=True"),
            (dead.replay(type="sms", data={}), "give a function"),
            (dead.replay(type="sms", rate=0), "rate: 0"),
            (dead.replay("1", type="sms"), "either an id or a filter"),
            (dead.replay(replayed=True), "replayed once"),
            (dead.list(limit=0), "limit: 0"),
            (dead.at_least(text="x", limit=0), "limit: 0"),
            (dead.list(cursor="x"), "cursor: 'x'"),
            (dead.groups("hour"), "by: 'hour'"),  # type: ignore[arg-type]
            (dead.get(""), "job_id: ''"),
        ):
            with pytest.raises(InvalidOption, match=words):
                await slip
    for options in (
        {"dead_letters": -1},
        {"dead_letters": "many"},
        {"dead_letter_alert": 5},
        {"dead_letter_alert": (-1, print)},
    ):
        with pytest.raises(InvalidOption, match="dead_letter"):
            Shop().worker(redis_url, **options)


async def _failures(queue: Queue, jobs: list[Job[Any]], count: int) -> bool:
    letters = [await queue.dead_letters.get(job.id) for job in jobs]
    return all(letter is not None and not letter.replayed_on and letter.failures == count for letter in letters)


async def _alerts(queue: Queue, count: int) -> bool:
    return int(await queue.link.call("HLEN", queue.keys.jobs + "corral:dead:alerts")) == count
