"""Foreign keys in the place of a queue's own: an error that names the key and what to do, nothing half done, and all goes on
once the key is gone. That no script writes before it has looked is said of each in tests/scripts/."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine import FlowJob, FlowProducer, Job, Queue, Worker, errors
from engine.connection import Link
from engine.model.keys import Keys
from tests.support.running import running, until

pytestmark = [pytest.mark.asyncio(loop_factories=["uvloop"]), pytest.mark.usefixtures("damaged")]

STOPS = {
    "meta": "hash", "wait": "list", "active": "list", "prioritized": "zset", "delayed": "zset", "marker": "zset", "events": "stream",
    "completed": "zset", "stalled": "set", "pc": "counter",
}  # fmt: skip
"""Without these no job can be finished: the worker tells and tries again."""
HARMS = {
    "failed": "zset", "repeat": "zset", "corral:dead:open": "zset", "corral:dead:types": "zset",
    "corral:schedules:looked": "string", "corral:cancelling": "zset", "metrics:failed": "hash",
}  # fmt: skip
"""Without these some jobs cannot fail or be swept; the others go on."""
NONE_OF_OURS = ["unknown", "corral", "corral:mine", "de", "dn"]


@pytest.mark.parametrize("suffix", STOPS)
async def test_a_worker_names_a_foreign_key_and_resumes_later(redis_url: str, suffix: str) -> None:
    told: list[BaseException] = []
    async with Queue("q", redis=redis_url) as queue:
        job, key = await queue.add("n"), f"bull:q:{suffix}"
        async with running(Worker("q", _twice, redis=redis_url, drain_delay=20, stalled_interval=100)) as worker:
            worker.on("error", told.append)
            await job.result(timeout=20_000)
            await _set_aside(queue.link, key)
            await until(lambda: _named(told, key), f"{key} is named", timeout=20)
            await queue.link.call("DEL", key)
            await _put_back(queue.link, key)
            assert await (await queue.add("n", 2)).result(timeout=20_000) == 4
    problem = _named(told, key)
    assert problem is not None
    assert f"should be a {STOPS[suffix]}: another program wrote it; inspect it, then move it away" in str(problem)


async def test_a_worker_continues_if_a_key_harms_some_jobs(redis_url: str, link: Link, keys: Keys) -> None:
    told: list[BaseException] = []
    for suffix in (*HARMS, *NONE_OF_OURS):
        kind = "LPUSH" if HARMS.get(suffix) == "string" else "SET"
        await link.call(kind, keys.jobs + suffix, "foreign")
    async with Queue("q", redis=redis_url) as queue:
        options: dict[str, Any] = {
            "drain_delay": 20,
            "stalled_interval": 100,
            "lock_duration": 300,
            "metrics": 5,
            "dead_letter_alert": (1, print),
        }
        async with running(Worker("q", _twice, redis=redis_url, **options)) as worker:
            worker.on("error", told.append)
            bad, good = await queue.add("n", {"x": 1}), await queue.add("n", 2)
            assert await good.result(timeout=20_000) == 4
            await until(lambda: _delete_what_is_named(link, told, bad), "the bad job has failed too", timeout=20)
            await until(lambda: _named(told, keys.jobs + "repeat"), "a sweep has met the other", timeout=20)
    named = {error.key.removeprefix(keys.jobs) for error in told if isinstance(error, errors.WrongType)}
    assert len(told) == sum(isinstance(error, errors.WrongType) for error in told), told
    assert named >= {"repeat", "failed", "metrics:failed", "corral:dead:open", "corral:dead:types"}
    for suffix in NONE_OF_OURS:
        assert await link.call("GET", keys.jobs + suffix) == b"foreign"


async def test_producers_and_operators_are_told_the_key(redis_url: str, link: Link, keys: Keys) -> None:
    async with Queue("q", redis=redis_url) as queue:
        job = await queue.add("n")
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "wait": lambda: queue.add("n"),
            "delayed": lambda: queue.add("n", delay=5),
            "meta": queue.is_paused,
            "id": lambda: queue.add("n"),
            "completed": lambda: queue.clean("completed"),
            "failed": lambda: queue.jobs("failed"),
            "events": queue.pause,
            f"{job.id}:logs": lambda: job.log("x"),
            f"{job.id}:processed": job.children_values,
            "prioritized": lambda: FlowProducer(link=queue._shared.link).add(
                FlowJob("up", "q", children=[FlowJob("n", "q")])
            ),
            "corral:dead:letter:7:record": lambda: queue.dead_letters.get("7"),
        }
        for suffix, call in calls.items():
            key = keys.jobs + suffix
            await _set_aside(link, key)
            before = await link.call("DBSIZE")
            with pytest.raises(errors.WrongType) as told:
                await call()
            assert told.value.key == key
            assert await link.call("DBSIZE") == before
            await link.call("DEL", key)
            await _put_back(link, key)


async def _twice(job: Job[Any]) -> Any:
    return 2 if job.data == {} else job.data * 2


def _named(told: list[BaseException], key: str) -> errors.WrongType | None:
    return next((error for error in told if isinstance(error, errors.WrongType) and error.key == key), None)


async def _delete_what_is_named(link: Link, told: list[BaseException], bad: Job[Any]) -> bool:
    for error in told:
        if isinstance(error, errors.WrongType) and await link.call("TYPE", error.key) == error.holds.encode():
            await link.call("DEL", error.key)
    return bool(await link.call("HEXISTS", f"bull:q:{bad.id}", "failedReason"))


async def _set_aside(link: Link, key: str) -> None:
    await link.call_many([["RENAME", key, "aside:" + key], ["SET", key, "foreign"]])


async def _put_back(link: Link, key: str) -> None:
    await link.call_many([["RENAME", "aside:" + key, key]])
