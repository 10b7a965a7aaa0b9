"""wait_children: from the hands of a worker to those that wait for their children."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.scripting.rows import Refusal
from engine.scripts.wait_children import wait_children
from tests.scripts.test_add_flow import OTHER, node
from tests.support.keyspace import dump, snapshot
from tests.support.seeding import Held, claimed, seed


async def test_it_adds_children_and_waits_for_them(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"p": Held()}, wait=["w"], stalled=["p"])
    assert await wait_children(link, keys, claimed("p"), [node("a", "p"), node("b", "p", OTHER)], now=7) is None
    found = await snapshot(link, keys)
    assert found["waiting-children"] == {"p": 7}
    assert found["dependencies:p"] == ["bull:other:b", "bull:q:a"]
    assert found["wait"] == ["w", "a"]
    assert found["events"] == ["added a name=n", "waiting a", "waiting-children p prev=active"]
    assert "owner" not in found["job:p"]
    assert "atm" not in found["job:p"]
    assert not {"active", "lock:p", "stalled"} & found.keys()
    assert (await snapshot(link, OTHER))["wait"] == ["b"]


async def test_it_waits_for_children_that_are_there_already(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"p": Held()}, wait=["a"])
    await link.call("SADD", keys.helper("p", "dependencies"), keys.job("a"))
    assert await wait_children(link, keys, claimed("p"), now=7) is None
    assert (await snapshot(link, keys))["waiting-children"] == {"p": 7}


async def test_where_all_are_done_it_runs_again_before_all_others_and_a_second_time_is_refused(
    link: Link, keys: Keys
) -> None:
    await seed(link, keys, active={"p": Held()}, wait=["w"])
    await link.call("HSET", keys.helper("p", "processed"), keys.job("a"), "1")
    assert await wait_children(link, keys, claimed("p"), now=7) is None
    found = await snapshot(link, keys)
    assert (found["wait"], found["events"]) == (["p", "w"], ["waiting p prev=active"])

    await link.call("LREM", keys.wait, 0, "p")
    await seed(link, keys, active={"p": Held()})
    before = await dump(link)
    assert await wait_children(link, keys, claimed("p"), now=8) is Refusal.NO_PROGRESS
    assert await dump(link) == before
    await link.call("HSET", keys.helper("p", "processed"), keys.job("b"), "1")
    assert await wait_children(link, keys, claimed("p"), now=9) is None


async def test_children_that_are_done_already_do_not_let_it_wait(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"p": Held()}, completed={"c": 1})
    assert await wait_children(link, keys, claimed("p"), [node("c", "p")], now=7) is None
    found = await snapshot(link, keys)
    assert (found["wait"], found["processed:p"]) == (["p"], {"bull:q:c": "1"})


async def test_a_child_that_failed_and_may_not_refuses_it(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"p": Held()})
    await link.call("ZADD", keys.helper("p", "unsuccessful"), 1, keys.job("a"))
    before = await dump(link)
    assert await wait_children(link, keys, claimed("p"), [node("b", "p")], now=7) is Refusal.DOOMED
    assert await dump(link) == before


async def test_a_child_of_another_refuses_it(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"p": Held()}, wait=["a", "x"], jobs={"a": {"parentKey": keys.job("x")}})
    before = await dump(link)
    assert await wait_children(link, keys, claimed("p"), [node("a", "p")], now=7) is Refusal.OTHER_PARENT
    assert await dump(link) == before


async def test_sent_twice_or_by_a_stale_claim_it_adds_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"p": Held(), "s": Held("t9", 2)})
    await wait_children(link, keys, claimed("p"), [node("a", "p")], now=7)
    before = await dump(link)
    assert await wait_children(link, keys, claimed("p"), [node("a", "p")], now=8) is Refusal.LOST
    assert await wait_children(link, keys, claimed("s"), [node("b", "s")], now=8) is Refusal.LOST
    assert await wait_children(link, keys, claimed("gone"), [node("c", "gone")], now=8) is Refusal.MISSING
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("word", ["wait", "active", "prioritized", "pc", "waiting-children", "stalled", "marker",
                                  "events", "p:unsuccessful", "p:dependencies", "p:processed"])  # fmt: skip
async def test_a_structure_of_a_wrong_type_is_an_error_and_nothing_is_written(
    link: Link, keys: Keys, word: str
) -> None:
    await seed(link, keys, active={"p": Held()})
    await link.call("DEL", keys.jobs + word)
    await link.call("SET", keys.jobs + word, "foreign")
    before = await dump(link)
    with pytest.raises(ServerError):
        await wait_children(link, keys, claimed("p"), [node("a", "p")], now=7)
    assert await dump(link) == before


async def test_a_full_server_lets_it_wait(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"p": Held()})
    await link.call("SADD", keys.helper("p", "dependencies"), keys.job("a"))
    await link.call("CONFIG", "SET", "maxmemory", 1)
    try:
        assert await wait_children(link, keys, claimed("p"), now=7) is None
    finally:
        await link.call("CONFIG", "SET", "maxmemory", 0)
