"""advance_schedule: each run makes the next one, once; and what runs may begin while another is under way."""

from __future__ import annotations

import asyncio
import json

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.advance_schedule import Advanced, Chain, Start
from tests.support.keyspace import dump, events, job
from tests.support.schedules import advance, begin, places, seed_schedule
from tests.support.seeding import Held, seed

DONE = Advanced(Chain.ADVANCED, Start.RUN)
ELSEWHERE = Advanced(Chain.ELSEWHERE, Start.RUN)


async def test_the_next_run_has_the_templates_data_and_its_own_options(link: Link, keys: Keys) -> None:
    run = await seed_schedule(link, keys, 5, place="active")
    assert await advance(link, keys, 5, 105, 205, starts=run) == DONE
    assert await places(link, keys) == {"active": [run], "delayed": ["repeat:s:105"], "repeat": {"s": 105}}
    made = await job(link, keys, "repeat:s:105")
    assert json.loads(made.pop("opts"))["prevMillis"] == 105
    assert made == {"name": "n", "data": '{"a":1}', "timestamp": "7", "delay": "98", "priority": "0", "rjk": "s"}
    assert (await job(link, keys, "repeat:s"))["ic"] == "4"
    assert (await events(link, keys))[-2:] == ["added repeat:s:105 name=n", "delayed repeat:s:105 delay=105"]


async def test_a_job_that_is_due_already_waits(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 1, place="active")
    assert await advance(link, keys, 1, 3, priority=2) == DONE
    assert (await places(link, keys))["prioritized"] == ["repeat:s:3"]
    assert await link.call("ZSCORE", keys.marker, "0") == b"0"


async def test_sent_twice_late_or_by_many_it_makes_one_run(link: Link, keys: Keys) -> None:
    run = await seed_schedule(link, keys, 5, place="active")
    answers = await asyncio.gather(*(advance(link, keys, 5, 105, starts=run) for _ in range(20)))
    assert answers == [DONE] + [ELSEWHERE] * 19
    before = await dump(link)
    for due in (5, 104, 106, None):
        assert await advance(link, keys, due, 205, starts=run) == ELSEWHERE
    assert await advance(link, keys, 5, starts=run) == ELSEWHERE, "nor does it end by an old run"
    assert await advance(link, keys, 105, 205, id="none") == ELSEWHERE
    assert await dump(link) == before


async def test_without_a_time_the_schedule_has_ended(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 5, place="active")
    assert (await advance(link, keys, 5)).chain is Chain.ENDED
    assert (await job(link, keys, "repeat:s"))["ended"] == "1"
    assert (await places(link, keys))["repeat"] == {"s": 5}, "as BullMQ leaves it"


async def test_a_time_whose_job_has_run_is_passed_over(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 5, place="active")
    await seed(link, keys, completed={"repeat:s:105": 1})
    assert (await advance(link, keys, 5, 105)).chain is Chain.TAKEN
    assert await advance(link, keys, 5, 105, 205) == DONE
    assert (await places(link, keys))["repeat"] == {"s": 205}


@pytest.mark.parametrize("place", ["delayed", "wait", "prioritized"])
async def test_a_job_that_waits_at_that_time_is_the_next_run(link: Link, keys: Keys, place: str) -> None:
    await seed_schedule(link, keys, 105, place=place)
    await seed_schedule(link, keys, 5, place="active")
    assert await advance(link, keys, 5, 105) == DONE
    found = await places(link, keys)
    assert (found[place], found["repeat"]) == (["repeat:s:105"], {"s": 105})


async def test_a_hash_that_nothing_names_is_made_a_run_again(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 105, place="delayed", job={"data": "old"})
    await link.call("DEL", keys.delayed)
    assert await advance(link, keys, 105, 105, 205) == DONE
    assert await places(link, keys) == {"delayed": ["repeat:s:105"], "repeat": {"s": 105}}
    assert (await job(link, keys, "repeat:s:105"))["data"] == '{"a":1}'
    assert (await job(link, keys, "repeat:s"))["ic"] == "3", "the same run is not counted twice"


@pytest.mark.parametrize("lost", [["ic", "data"], ["data"]], ids="-".join)
@pytest.mark.parametrize("begins", [True, False])
async def test_without_data_of_its_own_a_schedule_hands_them_on(
    link: Link, keys: Keys, lost: list[str], begins: bool
) -> None:
    run = await seed_schedule(link, keys, 5, place="active")
    await link.call("HDEL", keys.job("repeat:s"), *lost)
    await link.call("HSET", keys.job(run), "data", "[5]")
    assert await advance(link, keys, 5, 105, **{"starts" if begins else "run": run}) == DONE  # type: ignore[arg-type]
    assert (await job(link, keys, "repeat:s:105"))["data"] == "[5]"
    assert ("ic" in await job(link, keys, "repeat:s")) is ("ic" not in lost)


async def test_a_repeatable_job_of_bullmq_4_needs_no_record(link: Link, keys: Keys) -> None:
    """The name is in its run, whose id has a checksum that the next one's has too."""
    old, run = "tick:::UTC:0 9 * * *", "repeat:facade:5"
    await link.call("ZADD", keys.repeat, 5, old)
    await seed(link, keys, active={run: Held()}, jobs={run: {"rjk": old, "name": "tick", "data": "[5]"}})
    before = await dump(link)
    assert await advance(link, keys, 5, 105, id=old) == ELSEWHERE, "nobody says what it runs"
    assert (await advance(link, keys, 5, id=old, starts=run)).chain is Chain.ENDED
    assert await dump(link) == before, "and no record is made of its end"
    assert await advance(link, keys, 5, 105, id=old, starts=run, runs="repeat:facade:") == DONE
    assert await places(link, keys) == {"active": [run], "delayed": ["repeat:facade:105"], "repeat": {old: 105}}
    made = await job(link, keys, "repeat:facade:105")
    assert (made["name"], made["data"], made["rjk"]) == ("tick", "[5]", old)
    assert await advance(link, keys, 5, 105, id=old, starts=run, runs="repeat:facade:") == ELSEWHERE
    assert await link.call("EXISTS", keys.job(f"repeat:{old}")) == 0


async def test_a_schedule_that_goes_on_has_not_ended(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 5, place="active", fields={"ended": 1})
    assert await advance(link, keys, 5, 105) == DONE
    assert "ended" not in await job(link, keys, "repeat:s")


async def overlapping(link: Link, keys: Keys, policy: str) -> tuple[str, str]:
    """The run of 5 is under way, that of 105 is about to begin."""
    first = await seed_schedule(link, keys, 5, place="active", fields={"overlap": policy})
    assert await advance(link, keys, 5, 105, starts=first) == DONE
    second = "repeat:s:105"
    await link.call("ZREM", keys.delayed, second)
    await begin(link, keys, second)
    return first, second


async def end(link: Link, keys: Keys, run: str) -> None:
    await link.call("LREM", keys.active, 0, run)
    await link.call("DEL", keys.job(run), keys.lock(run))


async def test_with_skip_a_run_may_not_begin_while_one_is_under_way(link: Link, keys: Keys) -> None:
    first, second = await overlapping(link, keys, "skip")
    assert await advance(link, keys, 105, 205, starts=second) == Advanced(Chain.ADVANCED, Start.SKIP)
    assert (await advance(link, keys, None, starts=first)).start is Start.RUN, "a further attempt of the one that is"
    await end(link, keys, first)
    assert (await advance(link, keys, None, starts=second)).start is Start.RUN
    assert (await job(link, keys, "repeat:s"))["running"] == second


async def test_with_queue_one_waits_and_no_more(link: Link, keys: Keys) -> None:
    first, second = await overlapping(link, keys, "queue")
    assert await advance(link, keys, 105, 205, starts=second) == Advanced(Chain.ADVANCED, Start.WAIT)
    third = "repeat:s:205"
    await link.call("ZREM", keys.delayed, third)
    await begin(link, keys, third)
    assert await advance(link, keys, 205, 305, starts=third) == Advanced(Chain.ADVANCED, Start.SKIP)
    before = await dump(link)
    assert (await advance(link, keys, None, starts=second)).start is Start.WAIT, "asked again"
    assert await dump(link) == before
    await end(link, keys, first)
    assert (await advance(link, keys, None, starts=third)).start is Start.SKIP, "the one that waited goes first"
    assert (await advance(link, keys, None, starts=second)).start is Start.RUN
    found = await job(link, keys, "repeat:s")
    assert (found["running"], found.get("queued")) == (second, None)


async def test_a_run_that_waits_for_its_next_attempt_is_under_way(link: Link, keys: Keys) -> None:
    first, second = await overlapping(link, keys, "skip")
    await link.call("LREM", keys.active, 0, first)
    await link.call("DEL", keys.lock(first))
    await seed(link, keys, delayed={first: 500})
    assert (await advance(link, keys, 105, 205, starts=second)).start is Start.SKIP


async def test_a_run_that_has_failed_is_not(link: Link, keys: Keys) -> None:
    first, second = await overlapping(link, keys, "skip")
    await end(link, keys, first)
    await seed(link, keys, failed={first: 6})
    assert (await advance(link, keys, 105, 205, starts=second)).start is Start.RUN
