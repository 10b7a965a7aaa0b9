"""pause: nothing is claimed, and what waits is put aside without being overwritten."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import NewRow
from engine.scripts.add import add
from engine.scripts.claim import claim
from engine.scripts.pause import pause
from tests.support.keyspace import census, dump, events, snapshot
from tests.support.seeding import Held, seed


async def test_waiting_jobs_are_put_aside_in_their_order(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"], prioritized={"p": 1}, active={"x": Held()})
    await link.call("ZADD", keys.marker, 0, "0")
    assert await pause(link, keys, now=7) is True
    found = await snapshot(link, keys)
    assert (found["paused"], found["meta"], found["events"]) == (["a", "b"], {"paused": "1"}, ["paused"])
    assert found["active"] == ["x"]
    assert "wait" not in found
    assert "marker" not in found
    assert (await claim(link, keys, token="t", lock_ms=9_000, worker="w", count=9, now=8)).jobs == []


async def test_sent_twice_it_does_nothing_more(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"])
    await pause(link, keys, now=7)
    before = await dump(link)
    assert await pause(link, keys, now=8) is False
    assert await dump(link) == before


@pytest.mark.parametrize(("aside", "waiting"), [(10, 2_500), (1_500, 2_500), (2_500, 10)])
async def test_jobs_that_others_put_in_wait_meanwhile_go_behind_the_paused_ones(
    link: Link, keys: Keys, aside: int, waiting: int
) -> None:
    first, later = [f"a{n:04}" for n in range(aside)], [f"b{n:04}" for n in range(waiting)]
    await seed(link, keys, paused=first, wait=later, meta={"paused": 1})
    assert await pause(link, keys, now=7) is False
    found = await census(link, keys)
    assert (found["paused"], found["wait"]) == (first + later, [])
    assert await events(link, keys) == []


async def test_new_jobs_join_those_put_aside(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"])
    await pause(link, keys, now=7)
    await add(link, keys, [NewRow("b", "n", b"{}", b"{}")], now=8)
    assert (await census(link, keys))["paused"] == ["a", "b"]
    assert await link.call("EXISTS", keys.marker) == 0
