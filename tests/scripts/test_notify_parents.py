"""notify_parents: parents whose children ended without notifying them are released or fail."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed
from engine.scripts.add_flow import add_flow
from engine.scripts.claim import claim
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.get_state import get_state
from engine.scripts.notify_parents import notify_parents
from tests.scripts.test_add_flow import DIAMOND, OTHER, node
from tests.support.invariants import check_invariants
from tests.support.keyspace import dump, snapshot
from tests.support.seeding import seed

PATIENCE = 1_000


async def look(link: Link, keys: Keys, now: int) -> list[str]:
    await link.call("DEL", keys.jobs + "corral:parents:looked")
    return await notify_parents(link, keys, interval_ms=60_000, patience_ms=PATIENCE, now=now)


async def ended(link: Link, keys: Keys, flags: str = "{}", reason: str = "") -> None:
    """The diamond, whose shared job was run by a program that tells the parent in `parentKey` and no other."""
    await add_flow(link, keys, DIAMOND, now=7)
    assert await look(link, keys, 8) == []
    [job] = (await claim(link, keys, token="t", lock_ms=9_000, worker="w", count=1, now=8)).jobs
    await link.call("HSET", keys.job("shared"), "parent", flags)
    await link.call("HDEL", keys.job("shared"), "also")
    if reason:
        assert not await fail(link, keys, [(job, Failed(reason, b"[]"), Keep(), 1)], now=8)
    else:
        assert not await finish(link, keys, [(job, b"5", Keep())], now=8)


async def test_a_result_reaches_parents_not_yet_notified(link: Link, keys: Keys) -> None:
    await ended(link, keys)
    assert sorted(await look(link, keys, 9)) == ["b", "top"]
    found = await snapshot(link, keys)
    assert (found["wait"], found["dependencies:top"]) == (["b", "a"], ["bull:q:a", "bull:q:b"])
    assert found["processed:b"] == found["processed:top"] == {"bull:q:shared": "5"}
    assert await look(link, keys, 9) == []


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [('{"fpof":true}', ["b", "top"]), ('{"idof":true}', ["b", "top"]), ("{}", []), ("no JSON", [])],
)
async def test_a_failure_does_what_the_child_says(link: Link, keys: Keys, flags: str, wanted: list[str]) -> None:
    await ended(link, keys, flags, "boom")
    assert sorted(await look(link, keys, 9)) == wanted
    found = await snapshot(link, keys)
    if "idof" in flags:
        assert found["failed:b"] == {"bull:q:shared": "boom"}
    assert ("defa" in found["job:b"]) == ("fpof" in flags)
    await check_invariants(link, keys)


async def test_a_child_that_is_not_there_is_given_time(link: Link, keys: Keys) -> None:
    await add_flow(link, keys, [node("top", waits=True), node("a", "top", OTHER)], now=7)
    await link.call("DEL", OTHER.job("a"), OTHER.wait)
    assert await look(link, keys, 7 + PATIENCE - 1) == []
    assert await look(link, keys, 7 + PATIENCE) == ["top"]
    assert await get_state(link, keys, ["top"]) == ["waiting"]


async def test_a_parent_without_open_children_is_released(link: Link, keys: Keys) -> None:
    await seed(link, keys, waiting_children={"p": 7})
    assert await look(link, keys, 7 + PATIENCE - 1) == []
    assert await look(link, keys, 7 + PATIENCE) == ["p"]
    assert (await snapshot(link, keys))["wait"] == ["p"]


async def test_one_check_is_enough_for_all_workers(link: Link, keys: Keys) -> None:
    await seed(link, keys, waiting_children={"p": 7})
    assert await look(link, keys, 9) == []
    before = await dump(link)
    assert await notify_parents(link, keys, interval_ms=60_000, patience_ms=0, now=10) == []
    assert await dump(link) == before
    # Whose interval is shorter does not wait for that of the other.
    assert await notify_parents(link, keys, interval_ms=1, patience_ms=0, now=10) == ["p"]
