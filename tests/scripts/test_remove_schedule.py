"""remove_schedule: nothing runs by it any more."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.remove_schedule import remove_schedule
from tests.support.keyspace import dump, events, snapshot
from tests.support.schedules import places, seed_schedule
from tests.support.seeding import seed


@pytest.mark.parametrize("place", ["delayed", "wait", "paused", "prioritized"])
async def test_the_pending_run_is_deleted_with_it(link: Link, keys: Keys, place: str) -> None:
    run = await seed_schedule(link, keys, 100, place=place)
    assert await remove_schedule(link, keys, id="s", now=7)
    assert set(await snapshot(link, keys)) <= {"events", "pc"}
    assert await events(link, keys) == [f"removed {run} prev={place}"]


@pytest.mark.parametrize("place", ["delayed", "wait", "paused", "prioritized"])
async def test_a_run_by_bullmq_4_is_deleted_too(link: Link, keys: Keys, place: str) -> None:
    """Its id has a checksum where others have the schedule; another schedule's of that time stays."""
    old, run, other = "tick:::UTC:0 9 * * *", "repeat:facade:100", "repeat:c0ffee:100"
    where = [other, run] if place in ("wait", "paused") else {other: 100, run: 100}
    await seed(link, keys, **{place: where}, jobs={run: {"rjk": old}, other: {"rjk": "tick::::500"}})  # type: ignore[arg-type]
    await link.call("ZADD", keys.repeat, 100, old)
    assert await remove_schedule(link, keys, id=old, now=7)
    assert await places(link, keys) == {place: [other]}
    assert await events(link, keys) == [f"removed {run} prev={place}"]


async def test_a_run_that_has_begun_stays(link: Link, keys: Keys) -> None:
    run = await seed_schedule(link, keys, 5, place="active")
    assert await remove_schedule(link, keys, id="s", now=7)
    assert await places(link, keys) == {"active": [run]}
    assert await events(link, keys) == []


async def test_sent_twice_or_without_a_schedule_it_does_nothing(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 100)
    await seed_schedule(link, keys, 100, id="other")
    assert await remove_schedule(link, keys, id="s", now=7)
    before = await dump(link)
    for id in ("s", "none", "other:100", ""):
        assert not await remove_schedule(link, keys, id=id, now=7)
    assert await dump(link) == before


async def test_a_schedule_without_a_hash_is_deleted_too(link: Link, keys: Keys) -> None:
    await link.call("ZADD", keys.repeat, 5, "s")
    assert await remove_schedule(link, keys, id="s", now=7)
    assert await dump(link) == {}
