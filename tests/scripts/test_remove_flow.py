"""remove_flow: a job and all below it, or none of them."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.scripts.add_flow import add_flow
from engine.scripts.claim import claim
from engine.scripts.finish import finish
from engine.scripts.remove_flow import NotRemovedFlow, remove_flow
from tests.scripts.test_add_flow import DIAMOND, OTHER, node
from tests.support.keyspace import dump, snapshot
from tests.support.seeding import seed

TREE = [
    node("top", waits=True),
    node("a", "top", waits=True),
    node("b", "a", OTHER),
    node("c", "a", priority=2),
    node("d", "top", delay=50),
]


async def left(link: Link) -> set[str]:
    """The keys that are no bookkeeping of a queue."""
    return {key for key in await dump(link) if key.rpartition(":")[2] not in ("id", "meta", "events", "marker", "pc")}


async def test_all_of_it_goes_wherever_it_is_and_each_job_says_so(link: Link, keys: Keys) -> None:
    await add_flow(link, keys, TREE, now=7)
    [done] = (await claim(link, OTHER, token="t", lock_ms=9_000, worker="w", count=1, now=8)).jobs
    await finish(link, OTHER, [(done, b"1", Keep())], now=9)
    assert await remove_flow(link, keys, id="top", now=10) is None
    assert await left(link) == set()
    said = (await snapshot(link, keys))["events"]
    assert sorted(line for line in said if line.startswith("removed")) == [
        "removed a prev=waiting-children",
        "removed c prev=prioritized",
        "removed d prev=delayed",
        "removed top prev=waiting-children",
    ]
    assert (await snapshot(link, OTHER))["events"][-1] == "removed b prev=completed"
    assert await remove_flow(link, keys, id="top", now=11) is NotRemovedFlow.MISSING


async def test_a_locked_job_anywhere_below_keeps_them_all(link: Link, keys: Keys) -> None:
    await add_flow(link, keys, TREE, now=7)
    await claim(link, OTHER, token="t", lock_ms=9_000, worker="w", count=1, now=8)
    before = await dump(link)
    assert await remove_flow(link, keys, id="top", now=9) is NotRemovedFlow.LOCKED
    assert await dump(link) == before


async def test_a_part_of_a_flow_goes_and_its_parent_waits_for_the_others(link: Link, keys: Keys) -> None:
    await add_flow(link, keys, TREE, now=7)
    assert await remove_flow(link, keys, id="a", now=8) is None
    found = await snapshot(link, keys)
    assert (found["waiting-children"], found["dependencies:top"]) == ({"top": 7}, ["bull:q:d"])
    assert await remove_flow(link, keys, id="d", now=9) is None
    assert (await snapshot(link, keys))["wait"] == ["top"]


@pytest.mark.parametrize("shape", ["wide", "deep"])
async def test_a_large_flow_takes_several_calls_and_leaves_nothing(link: Link, keys: Keys, shape: str) -> None:
    if shape == "wide":
        tree = [node("top", waits=True), *(node(f"c{n}", "top") for n in range(600))]
    else:
        tree = [
            node("top", waits=True),
            *(node(f"c{n}", f"c{n - 1}" if n else "top", waits=n < 599) for n in range(600)),
        ]
    await add_flow(link, keys, tree, now=7)
    assert await remove_flow(link, keys, id="top", now=8) is None
    assert await left(link) == set()


async def test_a_child_that_another_took_over_stays(link: Link, keys: Keys) -> None:
    await seed(link, keys, waiting_children={"p": 1, "q": 1}, wait=["c"], jobs={"c": {"parentKey": keys.job("q")}})
    await link.call("HSET", keys.helper("p", "processed"), keys.job("c"), "1")
    await link.call("SADD", keys.helper("q", "dependencies"), keys.job("c"))
    assert await remove_flow(link, keys, id="p", now=7) is None
    found = await snapshot(link, keys)
    assert (found["wait"], found["waiting-children"]) == (["c"], {"q": 1})


async def test_a_job_of_several_parents_goes_with_the_last_of_them(link: Link, keys: Keys) -> None:
    await add_flow(link, keys, DIAMOND, now=7)
    assert await remove_flow(link, keys, id="a", now=8) is None
    found = await snapshot(link, keys)
    assert (found["wait"], found["dependencies:b"]) == (["shared"], ["bull:q:shared"])
    assert "job:a" not in found
    assert await remove_flow(link, keys, id="top", now=9) is None
    assert await left(link) == set()


async def test_in_parts_too_a_shared_job_goes_before_all_its_parents(link: Link, keys: Keys) -> None:
    await add_flow(link, keys, DIAMOND, now=7)
    assert await remove_flow(link, keys, id="top", count=1, now=8) is None
    assert await left(link) == set()
    said = (await snapshot(link, keys))["events"]
    removed = [line.split()[1] for line in said if line.startswith("removed")]
    assert (removed[0], removed[-1]) == ("shared", "top")
    assert not [line for line in said if line.startswith("waiting ") and "prev=waiting-children" in line]
