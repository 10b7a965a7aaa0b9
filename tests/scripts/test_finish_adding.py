"""finish_adding: the result of a job and the jobs that it gathered, in one step."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.scripting.rows import Refusal
from engine.scripts.finish_adding import finish_adding
from tests.scripts.test_add_flow import OTHER, node
from tests.support.keyspace import dump, snapshot
from tests.support.seeding import Held, claimed, seed

DONE = (claimed("a"), b'{"ok":true}', Keep())


async def test_the_job_is_completed_and_the_others_wait(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, stalled=["a"])
    nodes = [node("top", waits=True), node("below", "top", OTHER), node("")]
    assert await finish_adding(link, keys, DONE, nodes, now=7) is None
    found = await snapshot(link, keys)
    assert (found["completed"], found["waiting-children"], found["wait"]) == ({"a": 7}, {"top": 7}, ["2"])
    assert found["events"] == [
        "added top name=n",
        "waiting-children top",
        "added 2 name=n",
        "waiting 2",
        'completed a returnvalue={"ok":true} prev=active',
    ]
    assert (found["job:a"]["returnvalue"], found["job:a"]["atm"]) == ('{"ok":true}', "1")
    assert (await snapshot(link, OTHER))["wait"] == ["below"]


async def test_its_own_parent_is_notified(link: Link, keys: Keys) -> None:
    jobs = {"a": {"parentKey": keys.job("p")}}
    await seed(link, keys, active={"a": Held()}, waiting_children={"p": 1}, jobs=jobs)
    await link.call("SADD", keys.helper("p", "dependencies"), keys.job("a"))
    await finish_adding(link, keys, DONE, [node("b")], now=7)
    found = await snapshot(link, keys)
    assert (found["wait"], found["processed:p"]) == (["p", "b"], {"bull:q:a": '{"ok":true}'})


async def test_sent_twice_or_by_a_stale_claim_it_adds_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "s": Held("t9", 2)})
    await finish_adding(link, keys, DONE, [node("")], now=7)
    before = await dump(link)
    assert await finish_adding(link, keys, DONE, [node("")], now=8) is Refusal.DONE
    assert await finish_adding(link, keys, (claimed("s"), b"1", Keep()), [node("")], now=8) is Refusal.LOST
    assert await finish_adding(link, keys, (claimed("gone"), b"1", Keep()), [node("")], now=8) is Refusal.MISSING
    assert await dump(link) == before


@pytest.mark.parametrize("why", ["doomed", "anothers"])
async def test_where_it_cannot_be_neither_is_written(link: Link, keys: Keys, why: str) -> None:
    fields = {"defa": "child x failed"} if why == "doomed" else {}
    await seed(
        link,
        keys,
        active={"a": Held()},
        wait=["c", "x"],
        jobs={"a": fields, "c": {"parentKey": keys.job("x")}},
    )
    if why == "doomed":
        await link.call("ZADD", keys.helper("a", "unsuccessful"), 1, keys.job("x"))
    before = await dump(link)
    refusal = await finish_adding(link, keys, DONE, [node("top", waits=True), node("c", "top")], now=7)
    assert refusal is (Refusal.DOOMED if why == "doomed" else Refusal.OTHER_PARENT)
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("keys_of", ["q", "other"])
@pytest.mark.parametrize("word", ["wait", "prioritized", "pc", "delayed", "marker", "events", "id", "meta"])
async def test_a_structure_of_a_wrong_type_is_an_error_and_nothing_is_written(
    link: Link, keys: Keys, keys_of: str, word: str
) -> None:
    await seed(link, keys, active={"a": Held()})
    await link.call("DEL", Keys(keys_of).jobs + word)
    await link.call("SET", Keys(keys_of).jobs + word, "foreign")
    before = await dump(link)
    with pytest.raises(ServerError):
        await finish_adding(link, keys, DONE, [node("b"), node("c", keys=OTHER)], now=7)
    assert await dump(link) == before
