"""What every script that ends, removes or runs a job again does to the job that waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from engine.connection import Link
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed
from engine.scripting.rows import Refusal
from engine.scripts.clean import clean
from engine.scripts.drain import drain
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.obliterate import obliterate
from engine.scripts.pause import pause
from engine.scripts.remove import remove
from engine.scripts.reprocess import reprocess
from engine.scripts.turn import turn
from tests.faults.test_write_prefix import Breaking
from tests.support.keyspace import events, snapshot
from tests.support.seeding import Held, claimed, seed

UP = Keys("up")
"""The queue of the parents."""
PARENT = UP.job("p")


def child_of(parent: str = "p", flags: str = "", keys: Keys = UP) -> dict[str, str]:
    """What stands in a child's hash, as BullMQ writes it."""
    return {"parentKey": keys.job(parent), "parent": f'{{"id":"{parent}","queueKey":"{keys.jobs[:-1]}"{flags}}}'}


async def seed_flow(
    link: Link, keys: Keys, flags: str = "", *others: str, parent: dict[str, Any] | None = None
) -> None:
    """`p` of the queue `up` waits for `a`, which runs, and for others of its own queue."""
    jobs: dict[str, Any] = {"a": child_of(flags=flags), **{id: child_of() for id in others}}
    await seed(link, keys, active={"a": Held()}, wait=others, jobs=jobs)
    await seed(link, UP, waiting_children={"p": 3}, jobs={"p": parent or {}})
    await link.call("SADD", PARENT + ":dependencies", *(keys.job(id) for id in ("a", *others)))


async def ended(link: Link, keys: Keys, how: str, *, keep: Keep | None = None) -> Any:
    """`a` completes or fails, by one script or the other."""
    keep = keep or Keep()
    if how == "fail":
        return await fail(link, keys, [(claimed("a"), Failed("why"), keep, 1)], now=7)
    finished = [(claimed("a", opts=b'{"parent":{}}'), b'{"n":1}', keep)]
    if how == "finish":
        return await finish(link, keys, finished, now=7)
    return (await turn(link, keys, finished, token="t2", lock_ms=9_000, worker="w", count=0, now=7)).refused


@pytest.mark.parametrize("how", ["finish", "turn"])
async def test_the_last_child_releases_its_parent_and_leaves_its_value(link: Link, keys: Keys, how: str) -> None:
    await seed_flow(link, keys)
    assert await ended(link, keys, how) == {}
    found = await snapshot(link, UP)
    assert {name: value for name, value in found.items() if name != "job:p"} == {
        "wait": ["p"],
        "marker": {"0": 0},
        "processed:p": {"bull:q:a": '{"n":1}'},
        "events": ["waiting p prev=waiting-children"],
    }


async def test_the_parents_events_come_before_the_childs(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, waiting_children={"p": 1}, jobs={"a": child_of(keys=keys)})
    await link.call("SADD", keys.job("p") + ":dependencies", keys.job("a"))
    await ended(link, keys, "finish")
    assert await events(link, keys) == [
        "waiting p prev=waiting-children",
        'completed a returnvalue={"n":1} prev=active',
    ]


async def test_a_parent_waits_for_all_its_children(link: Link, keys: Keys) -> None:
    await seed_flow(link, keys, "", "b")
    await ended(link, keys, "finish")
    found = await snapshot(link, UP)
    assert (found["waiting-children"], found["dependencies:p"]) == ({"p": 3}, ["bull:q:b"])
    assert await events(link, UP) == []


@pytest.mark.parametrize(
    ("parent", "place", "told"),
    [
        ({"priority": 2}, {"prioritized": {"p": 2 * 2**32 + 1}}, "waiting p prev=waiting-children"),
        ({"delay": 50}, {"delayed": {"p": 57 * 4096}}, "delayed p delay=57"),
        ({"delay": 50, "priority": 2}, {"delayed": {"p": 57 * 4096}}, "delayed p delay=57"),
    ],
)
async def test_a_released_parent_goes_where_its_options_say(
    link: Link, keys: Keys, parent: dict[str, Any], place: dict[str, Any], told: str
) -> None:
    await seed_flow(link, keys, parent=parent)
    await ended(link, keys, "finish")
    found = await snapshot(link, UP)
    assert {name: found[name] for name in place} == place
    assert found["events"] == [told]
    assert "waiting-children" not in found


async def test_a_released_parent_is_in_front_of_those_that_wait_also_in_a_paused_queue(link: Link, keys: Keys) -> None:
    await seed_flow(link, keys)
    await seed(link, UP, paused=["x", "y"], meta={"paused": 1})
    await ended(link, keys, "finish")
    found = await snapshot(link, UP)
    assert (found["paused"], found.get("marker")) == (["p", "x", "y"], None)


POLICIES = [
    # flags, the parent's place, its open children, what it can read, its deferred failure
    ("", "waiting-children", ["bull:q:a", "bull:q:b"], {}, None),
    (',"idof":true', "waiting-children", ["bull:q:b"], {"failed:p": {"bull:q:a": "why"}}, None),
    (',"rdof":true', "waiting-children", ["bull:q:b"], {}, None),
    (',"cpof":true', "wait", ["bull:q:b"], {"failed:p": {"bull:q:a": "why"}}, None),
    (',"fpof":true', "wait", ["bull:q:b"], {"unsuccessful:p": {"bull:q:a": 7}}, "child bull:q:a failed"),
    # The first of these that is true counts, and a null is not.
    (',"fpof":null,"cpof":1,"idof":true', "waiting-children", ["bull:q:b"], {"failed:p": {"bull:q:a": "why"}}, None),
]


@pytest.mark.parametrize(("flags", "place", "open_children", "readable", "deferred"), POLICIES)
async def test_a_failed_child_does_to_its_parent_what_its_flags_say(
    link: Link, keys: Keys, flags: str, place: str, open_children: list[str], readable: Any, deferred: str | None
) -> None:
    await seed_flow(link, keys, flags, "b")
    assert await ended(link, keys, "fail") == {}
    found = await snapshot(link, UP)
    assert "p" in found[place]
    assert found["dependencies:p"] == open_children
    assert {
        name: found[name] for name in found if name.endswith(":p") and name not in ("job:p", "dependencies:p")
    } == readable
    assert found["job:p"].get("defa") == deferred


@pytest.mark.parametrize(("flags", "runs"), [("", False), (',"idof":true', True), (',"rdof":true', True)])
async def test_the_last_child_that_fails(link: Link, keys: Keys, flags: str, runs: bool) -> None:
    await seed_flow(link, keys, flags)
    await ended(link, keys, "fail")
    assert ("wait" in await snapshot(link, UP)) is runs


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("said", ["", "{", "[]", "null", "7", '"text"', '{"fpof":"yes"}', "x" * 10_000])
async def test_flags_of_any_producer_hurt_nobody(link: Link, keys: Keys, said: str) -> None:
    await seed_flow(link, keys)
    await link.call("HSET", keys.job("a"), "parent", said)
    assert await ended(link, keys, "fail") == {}
    assert (await snapshot(link, UP))["waiting-children"] == {"p": 3}


@pytest.mark.parametrize(("place", "deferred"), [("delayed", True), ("active", True), ("failed", False)])
async def test_a_parent_that_does_not_wait_for_children_is_doomed_too_unless_it_has_ended(
    link: Link, keys: Keys, place: str, deferred: bool
) -> None:
    await seed(link, keys, active={"a": Held()}, jobs={"a": child_of(flags=',"fpof":true')})
    match place:
        case "delayed":
            await seed(link, UP, delayed={"p": 900})
        case "active":
            await seed(link, UP, active={"p": Held()})
        case "failed":
            await seed(link, UP, failed={"p": 1})
    await link.call("SADD", PARENT + ":dependencies", keys.job("a"))
    await ended(link, keys, "fail")
    found = await snapshot(link, UP)
    assert ("defa" in found["job:p"]) is deferred
    if place == "delayed":
        assert (found["wait"], found["job:p"]["delay"], found["events"]) == (["p"], "0", ["waiting p prev=delayed"])
    else:
        assert "p" in found[place]


@pytest.mark.parametrize("how", ["finish", "turn"])
async def test_a_job_that_ran_while_a_child_failed_that_it_needs_is_not_completed(
    link: Link, keys: Keys, how: str
) -> None:
    await seed(link, keys, active={"a": Held()}, jobs={"a": {"defa": "child x failed"}})
    await link.call("ZADD", keys.helper("a", "unsuccessful"), 1, keys.job("x"))
    assert await ended(link, keys, how) == {0: Refusal.DOOMED}
    assert await ended(link, keys, "fail") == {}


@pytest.mark.parametrize("suspects", [[], ["b"]])
@pytest.mark.parametrize("how", ["finish", "turn"])
async def test_a_job_with_open_children_is_not_completed_and_others_are(
    link: Link, keys: Keys, how: str, suspects: list[str]
) -> None:
    """BullMQ's `add` with a parent writes nothing but the set. `stalled` is asked about in the same command."""
    await seed(link, keys, active={"a": Held(), "b": Held()}, stalled=suspects)
    await link.call("SADD", keys.helper("a", "dependencies"), keys.job("x"))
    rows = [(claimed(id), b"1", Keep()) for id in "ab"]
    if how == "finish":
        refused = await finish(link, keys, rows, now=7)
    else:
        refused = (await turn(link, keys, rows, token="t2", lock_ms=9_000, worker="w", count=0, now=7)).refused
    assert refused == {0: Refusal.PENDING}
    found = await snapshot(link, keys)
    assert (found["active"], list(found["completed"]), found.get("stalled", [])) == (["a"], ["b"], [])
    assert "lock:a" in found
    assert await ended(link, keys, "fail") == {}


@pytest.mark.parametrize("keep", [Keep(count=0), Keep(count=1)])
async def test_a_failed_child_that_is_not_kept_holds_up_nobody(link: Link, keys: Keys, keep: Keep) -> None:
    """One that goes at once; and one that goes when the next fails."""
    await seed_flow(link, keys)
    await ended(link, keys, "fail", keep=keep)
    assert ("wait" in await snapshot(link, UP)) is (keep.count == 0)
    await seed(link, keys, active={"z": Held()})
    await fail(link, keys, [(claimed("z"), Failed("why"), keep, 1)], now=8)
    found = await snapshot(link, UP)
    assert (found["wait"], found.get("dependencies:p")) == (["p"], None)


@pytest.mark.parametrize("how", ["finish", "turn", "fail"])
async def test_sent_twice_or_of_a_parent_that_is_gone_it_changes_nothing_there(
    link: Link, keys: Keys, how: str
) -> None:
    await seed_flow(link, keys, ',"cpof":true', "b")
    await ended(link, keys, how)
    before = await snapshot(link, UP)
    assert await ended(link, keys, how) == {0: Refusal.DONE}
    assert await snapshot(link, UP) == before

    await link.call("FLUSHALL")
    await seed_flow(link, keys, ',"cpof":true')
    await link.call("DEL", PARENT, PARENT + ":dependencies", UP.waiting_children)
    await ended(link, keys, how)
    assert await snapshot(link, UP) == {}


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("word", ["meta", "wait", "events", "marker", "waiting-children", "p", "p:dependencies",
                                  "p:processed", "p:failed"])  # fmt: skip
@pytest.mark.parametrize("how", ["finish", "turn", "fail"])
async def test_a_parents_queue_of_a_wrong_type_does_not_hold_up_a_child(
    link: Link, keys: Keys, how: str, word: str
) -> None:
    await seed_flow(link, keys, ',"idof":true')
    await link.call("DEL", UP.jobs + word)
    await link.call("SET", UP.jobs + word, "foreign")
    assert await ended(link, keys, how) == {}
    assert "a" in (await snapshot(link, keys))["failed" if how == "fail" else "completed"]


REMOVALS: list[tuple[str, Callable[[Link, Keys], Awaitable[Any]]]] = [
    ("remove", lambda link, keys: remove(link, keys, ["b"], now=7)),
    ("clean", lambda link, keys: clean(link, keys, state="waiting", now=7)),
    ("drain", lambda link, keys: drain(link, keys, now=7)),
]


@pytest.mark.parametrize(("verb", "call"), REMOVALS)
async def test_a_parent_elsewhere_waits_no_longer_for_a_child_that_was_taken_away(
    link: Link, keys: Keys, verb: str, call: Callable[[Link, Keys], Awaitable[Any]]
) -> None:
    await seed(link, keys, wait=["b"], jobs={"b": child_of()})
    await seed(link, UP, waiting_children={"p": 1}, wait=["w"])
    await link.call("SADD", PARENT + ":dependencies", keys.job("b"))
    await call(link, keys)
    found = await snapshot(link, UP)
    assert (found["wait"], found["events"]) == (["p", "w"], ["waiting p prev=waiting-children"]), verb


async def test_a_drained_queue_keeps_no_parent_that_waited_for_what_went(link: Link, keys: Keys) -> None:
    jobs = {"c": child_of("b", keys=keys), "b": child_of("p", keys=keys), "d": child_of("q", keys=keys)}
    await seed(link, keys, wait=["c", "d"], waiting_children={"b": 1, "p": 1, "q": 1}, active={"a": Held()}, jobs=jobs)
    await link.call("SADD", keys.job("b") + ":dependencies", keys.job("c"))
    await link.call("SADD", keys.job("p") + ":dependencies", keys.job("b"))
    await link.call("SADD", keys.job("q") + ":dependencies", keys.job("d"), keys.job("a"))
    assert await drain(link, keys, now=7) == 4
    found = await snapshot(link, keys)
    assert found["waiting-children"] == {"q": 1}
    assert found["dependencies:q"] == ["bull:q:a"]
    assert "wait" not in found


async def test_an_obliterated_queue_leaves_nothing_and_releases_parents_elsewhere(link: Link, keys: Keys) -> None:
    jobs = {"c": child_of("b", keys=keys), "d": child_of()}
    await seed(link, keys, wait=["c", "d"], waiting_children={"b": 1}, jobs=jobs)
    await seed(link, UP, waiting_children={"p": 1})
    await link.call("SADD", keys.job("b") + ":dependencies", keys.job("c"))
    await link.call("SADD", PARENT + ":dependencies", keys.job("d"))
    await pause(link, keys, now=7)
    await obliterate(link, keys, now=7)
    assert await snapshot(link, keys) == {}
    assert (await snapshot(link, UP))["wait"] == ["p"]


@pytest.mark.parametrize("ignored", [False, True])
async def test_a_parent_waits_again_for_a_child_that_is_run_again(link: Link, keys: Keys, ignored: bool) -> None:
    flags = ',"idof":true' if ignored else ',"fpof":true'
    await seed_flow(link, keys, flags, "b")
    await ended(link, keys, "fail")
    await reprocess(link, keys, [("a", False)], now=8)
    found = await snapshot(link, UP)
    assert found["dependencies:p"] == ["bull:q:a", "bull:q:b"]
    assert not {"failed:p", "unsuccessful:p"} & found.keys()

    await link.call("FLUSHALL")
    await seed_flow(link, keys, flags, "b")
    await ended(link, keys, "finish")
    await reprocess(link, keys, [("a", False)], now=8)
    found = await snapshot(link, UP)
    assert (found["dependencies:p"], found.get("processed:p")) == (["bull:q:a", "bull:q:b"], None)


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(("how", "flags"), [("finish", ""), ("fail", ',"fpof":true'), ("fail", ',"idof":true')])
async def test_wherever_it_breaks_off_the_child_can_end_again_and_the_parent_runs(
    link: Link, keys: Keys, how: str, flags: str
) -> None:
    for at in range(1, 50):
        await link.call("FLUSHALL")
        await seed_flow(link, keys, flags)
        with suppress(ServerError):  # the one that it raises itself
            await ended(Breaking(link, at), keys, how)
        broke_off = "a" in (await snapshot(link, keys)).get("active", [])
        if broke_off:
            # As after a sweep and another claim.
            await link.call("SET", keys.lock("a"), "t1", "PX", 60_000)
            await ended(link, keys, how)
        found = await snapshot(link, UP)
        # At worst it stands there twice, as ids may after a script that broke off.
        assert set(found.get("wait", ())) == {"p"}, f"broken off before write {at}"
        assert "waiting-children" not in found
        if not broke_off:
            break
    assert at > 5
