"""promote_one: a delayed job runs before it is due."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import JobNotFound, WrongState
from engine.model.keys import Keys
from engine.scripts.promote_one import promote_one
from tests.support.keyspace import census, dump, events, job
from tests.support.seeding import seed


@pytest.mark.parametrize(("priority", "place"), [(0, "wait"), (3, "prioritized")])
async def test_a_promoted_job_waits_by_its_priority(link: Link, keys: Keys, priority: int, place: str) -> None:
    await seed(link, keys, delayed={"a": 500, "b": 600}, jobs={"a": {"priority": priority}})
    await promote_one(link, keys, id="a", now=7)
    found = await census(link, keys)
    assert (found[place], found["delayed"], (await job(link, keys, "a"))["delay"]) == (["a"], ["b"], "0")
    assert await events(link, keys) == ["waiting a prev=delayed"]
    assert await link.call("ZSCORE", keys.marker, "0") == b"0"


async def test_in_a_paused_queue_it_waits_with_the_others(link: Link, keys: Keys) -> None:
    await seed(link, keys, delayed={"a": 500}, paused=["p"], meta={"paused": 1})
    await promote_one(link, keys, id="a", now=7)
    assert (await census(link, keys))["paused"] == ["p", "a"]
    assert await link.call("EXISTS", keys.marker) == 0


async def test_sent_twice_or_for_another_job_it_writes_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, delayed={"a": 500})
    await promote_one(link, keys, id="a", now=7)
    before = await dump(link)
    with pytest.raises(WrongState):
        await promote_one(link, keys, id="a", now=8)
    for id in ("gone", "delayed", "marker"):
        with pytest.raises(JobNotFound):
            await promote_one(link, keys, id=id, now=8)
    assert await dump(link) == before
