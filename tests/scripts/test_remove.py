"""remove: jobs deleted wherever they are, unless a worker holds them."""

from __future__ import annotations

from typing import Any

import pytest

from engine.connection import Link
from engine.errors import JobLocked, JobNotFound, WrongState
from engine.model.keys import Keys
from engine.scripts.remove import NotRemoved, remove
from tests.support.keyspace import census, dump, events, snapshot
from tests.support.seeding import Held, seed

PLACES: dict[str, dict[str, Any]] = {
    "wait": {"wait": ["x", "a", "y"]},
    "paused": {"paused": ["x", "a", "y"]},
    "active": {"active": {"x": Held(), "a": Held(lock_ms=None), "y": Held()}, "stalled": ["a"]},
    "prioritized": {"prioritized": {"x": 1, "a": 1}},
    "delayed": {"delayed": {"x": 7, "a": 8}},
    "waiting-children": {"waiting_children": {"x": 1, "a": 2}},
    "completed": {"completed": {"x": 1, "a": 2}},
    "failed": {"failed": {"x": 1, "a": 2}},
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_job_is_deleted_with_its_keys(link: Link, keys: Keys, place: str) -> None:
    await seed(link, keys, **PLACES[place], jobs={"a": {"deid": "d", "parentKey": "bull:q:x"}})
    without = {name: value for name, value in (await dump(link)).items() if name not in (keys.job("a"), keys.stalled)}
    await link.call("RPUSH", keys.logs("a"), "row")
    await link.call("SET", keys.jobs + "de:d", "a")
    await link.call("SADD", keys.job("x") + ":dependencies", keys.job("a"), "bull:q:other")
    assert await remove(link, keys, ["a"], now=7) == {}
    assert await events(link, keys) == [f"removed a prev={place}"]
    assert "a" not in (await census(link, keys))[place]
    left = await dump(link)
    assert left.pop(keys.job("x") + ":dependencies") == ["bull:q:other"]
    del left[keys.events]
    assert left.keys() == without.keys()
    before = await dump(link)
    assert await remove(link, keys, ["a"], now=8) == {"a": NotRemoved.MISSING}, "sent twice"
    assert await dump(link) == before


async def test_a_job_that_a_worker_holds_stays(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, wait=["b"])
    before = await snapshot(link, keys)
    assert await remove(link, keys, ["a", "b"], now=7) == {"a": NotRemoved.LOCKED}
    after = await snapshot(link, keys)
    assert (after.pop("events"), before.pop("wait"), before.pop("job:b") != {}) == (
        ["removed b prev=wait"],
        ["b"],
        True,
    )
    assert after == before


async def test_the_pending_run_of_a_schedule_stays(link: Link, keys: Keys) -> None:
    pending, old = "repeat:daily:1795485221080", "repeat:daily:1795485191080"
    await seed(link, keys, delayed={pending: 9}, wait=[old], jobs={pending: {"rjk": "daily"}, old: {"rjk": "daily"}})
    await link.call("ZADD", keys.repeat, 1795485221080, "daily")
    assert await remove(link, keys, [pending, old], now=7) == {pending: NotRemoved.SCHEDULED}
    assert (await census(link, keys))["delayed"] == [pending]


async def test_a_deduplication_that_another_job_owns_stays(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"], jobs={"a": {"deid": "d"}})
    await link.call("SET", keys.jobs + "de:d", "b")
    assert await remove(link, keys, ["a"], now=7) == {}
    assert await link.call("GET", keys.jobs + "de:d") == b"b"


@pytest.mark.parametrize("id", ["gone", "wait", "meta", "events", "id", "a:lock", "corral:x", ""])
async def test_what_is_no_job_is_missing_and_not_touched(link: Link, keys: Keys, id: str) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, meta={"paused": 1})
    await link.call("SET", keys.jobs + "corral:x", "1")
    await link.call("SET", keys.id, "3")
    before = await dump(link)
    assert await remove(link, keys, [id], now=7) == {id: NotRemoved.MISSING}
    assert await dump(link) == before


async def test_an_id_without_a_hash_and_a_hash_without_a_place_are_cleared_away(link: Link, keys: Keys) -> None:
    await seed(link, keys, jobs={"orphan": {}})
    await link.call("LPUSH", keys.wait, "ghost")
    assert await remove(link, keys, ["orphan", "ghost"], now=7) == {}
    assert await events(link, keys) == ["removed orphan prev=unknown", "removed ghost prev=wait"]


def test_each_refusal_has_its_exception() -> None:
    assert isinstance(NotRemoved.LOCKED.error("a"), JobLocked)
    assert isinstance(NotRemoved.MISSING.error("a", "q"), JobNotFound)
    assert isinstance(NotRemoved.SCHEDULED.error("a"), WrongState)
