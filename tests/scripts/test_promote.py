"""promote: from the delayed set into the line."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.promote import promote
from tests.support.keyspace import census, dump, events, snapshot
from tests.support.seeding import Held, seed


async def test_only_due_jobs_are_enqueued_by_their_priority(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], delayed={"a": 7, "b": 6, "p": 5, "c": 8}, jobs={"p": {"priority": 2}})
    assert await promote(link, keys, now=7) == (3, 1)
    found = await snapshot(link, keys)
    assert (found["wait"], found["prioritized"]) == (["w", "b", "a"], {"p": 2 * 2**32 + 1})
    assert (found["delayed"], found["marker"]) == ({"c": 8 * 4096}, {"0": 0})
    assert found["events"] == ["waiting p prev=delayed", "waiting b prev=delayed", "waiting a prev=delayed"]
    assert [found[f"job:{id}"]["delay"] for id in "abpc"] == ["0", "0", "0", "8"]


async def test_nothing_due_changes_nothing(link: Link, keys: Keys) -> None:
    assert await promote(link, keys, now=7) == (0, None)
    await seed(link, keys, delayed={"a": 8})
    before = await dump(link)
    assert await promote(link, keys, now=7) == (0, 1)
    assert await dump(link) == before


async def test_a_call_promotes_250_and_the_next_the_rest(link: Link, keys: Keys) -> None:
    ids = [f"j{n:04}" for n in range(400)]
    await seed(link, keys, delayed=dict.fromkeys(ids, 5))
    assert await promote(link, keys, now=7) == (250, 0)
    assert await promote(link, keys, now=7) == (150, None)
    assert (await census(link, keys))["wait"] == ids


@pytest.mark.parametrize(("meta", "list_"), [({"paused": 1}, "paused"), ({"concurrency": 1}, "wait")])
async def test_a_queue_that_gives_nothing_promotes_and_wakes_nobody(
    link: Link, keys: Keys, meta: dict[str, int], list_: str
) -> None:
    await seed(link, keys, active={"x": Held()}, delayed={"a": 5}, meta=meta)
    assert await promote(link, keys, now=7) == (1, None)
    assert (await census(link, keys))[list_] == ["a"]
    assert "marker" not in await snapshot(link, keys)


@pytest.mark.usefixtures("damaged")
async def test_an_id_without_a_hash_does_not_get_one(link: Link, keys: Keys) -> None:
    await seed(link, keys, delayed={"a": 5, "b": 5})
    await link.call("DEL", keys.job("a"))
    assert await promote(link, keys, now=7) == (2, None)
    assert await link.call("EXISTS", keys.job("a")) == 0
    assert len(await events(link, keys)) == 2
