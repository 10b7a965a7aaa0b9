"""find_stuck_schedules: broken chains are found, soon and by one worker."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.find_stuck_schedules import StuckSchedule, find_stuck_schedules
from tests.support.keyspace import dump
from tests.support.schedules import seed_schedule
from tests.support.seeding import seed

LOOK = 100


async def look(link: Link, keys: Keys, now: int, **more: int) -> list[StuckSchedule]:
    await link.call("DEL", keys.jobs + "corral:schedules:looked")
    found, skip = await find_stuck_schedules(link, keys, interval_ms=LOOK, now=now, **more)
    assert skip == -1
    return found


@pytest.mark.parametrize("place", ["delayed", "wait", "paused", "prioritized"])
@pytest.mark.parametrize("due", [50, 1_050])
async def test_a_run_that_waits_is_on_its_way(link: Link, keys: Keys, place: str, due: int) -> None:
    await seed_schedule(link, keys, due, place=place)
    assert await look(link, keys, 1_000) == []


async def test_a_lost_run_is_added_again_before_its_time_only(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 1_000, place="")
    assert await look(link, keys, 799) == [], "there is time"
    assert await look(link, keys, 900) == [StuckSchedule("s", 1_000, True)]
    assert await look(link, keys, 1_001) == [StuckSchedule("s", 1_000, False)], "it may have run and be deleted"


@pytest.mark.usefixtures("damaged")
async def test_a_run_that_stands_nowhere_never_began(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 1_000, place="wait")
    await link.call("DEL", keys.wait)
    assert await look(link, keys, 1_001) == [StuckSchedule("s", 1_000, True)]


@pytest.mark.parametrize("ended", ["completed", "failed"])
async def test_a_run_that_ended_without_having_made_the_next_is_found(link: Link, keys: Keys, ended: str) -> None:
    await seed_schedule(link, keys, 1_000, place="")
    run = "repeat:s:1000"
    await seed(link, keys, **{ended: {run: 1_020}}, jobs={run: {"rjk": "s", "processedOn": 1_010}})  # type: ignore[arg-type]
    assert await look(link, keys, 1_050) == [], "whoever took it is given time"
    assert await look(link, keys, 1_111) == [StuckSchedule("s", 1_000, False)]


async def test_one_that_has_ended_and_a_repeatable_job_are_let_be(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 5, place="", fields={"ended": 1})
    await seed_schedule(link, keys, 5, place="", id="legacy")
    await link.call("HDEL", keys.job("repeat:legacy"), "ic")
    assert await look(link, keys, 1_000) == []


@pytest.mark.usefixtures("damaged")
async def test_a_foreign_key_holds_up_no_other(link: Link, keys: Keys) -> None:
    await link.call("ZADD", keys.repeat, 1, "foreign")
    await link.call("SET", keys.job("repeat:foreign"), "x")
    await seed_schedule(link, keys, 5, place="", id="taken")
    await link.call("SET", keys.job("repeat:taken:5"), "x")
    await seed_schedule(link, keys, 6, place="")
    assert await look(link, keys, 1_000) == [StuckSchedule("taken", 5, False), StuckSchedule("s", 6, False)]


async def test_of_many_workers_one_checks(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 5, place="")
    assert await look(link, keys, 1_000)
    before = await dump(link)
    for _ in range(3):
        assert await find_stuck_schedules(link, keys, interval_ms=LOOK, now=1_000) == ([], -1)
    assert await dump(link) == before
    await link.call("DEL", keys.jobs + "corral:schedules:looked")


async def test_a_check_goes_on_call_by_call(link: Link, keys: Keys) -> None:
    for n in range(7):
        await seed_schedule(link, keys, 10 + n, place="" if n % 2 else "delayed", id=f"s{n}")
    found, skip = [], 0
    while skip != -1:
        some, skip = await find_stuck_schedules(link, keys, interval_ms=LOOK, skip=skip, count=3, now=1_000)
        found += [one.id for one in some]
        for one in some:  # what is mended is due later
            await link.call("ZADD", keys.repeat, 5_000, one.id)
    assert found == ["s1", "s3", "s5"]
    await link.call("DEL", keys.jobs + "corral:schedules:looked")


async def test_the_interval_that_counts_is_ones_own(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 1_000, place="")
    assert [len(await _found(link, keys, ms, now=1_000 + ms // 2)) for ms in (600, 600, 200)] == [1, 0, 1]


async def _found(link: Link, keys: Keys, interval_ms: int, now: int) -> list[StuckSchedule]:
    return (await find_stuck_schedules(link, keys, interval_ms=interval_ms, now=now))[0]
