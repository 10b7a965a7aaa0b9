"""One rule for every script that puts jobs in line: in a paused queue they go aside, behind what BullMQ 6 left in `wait`.

BullMQ 6 pauses without moving what waits, and adds to `wait` in a pause; a resume by BullMQ 5 deletes what is in `wait` then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed, Limited, NewRow, Retrying
from engine.scripting.loader import lua_folder
from engine.scripts.add import add
from engine.scripts.add_flow import add_flow
from engine.scripts.add_plain import add_plain
from engine.scripts.cancel import cancel
from engine.scripts.change_priority import change_priority
from engine.scripts.claim import claim
from engine.scripts.clean import clean
from engine.scripts.drain import drain
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.finish_adding import finish_adding
from engine.scripts.notify_parents import notify_parents
from engine.scripts.obliterate import obliterate
from engine.scripts.promote import promote
from engine.scripts.promote_one import promote_one
from engine.scripts.rate_limit import rate_limit
from engine.scripts.recover_stalled import recover_stalled
from engine.scripts.release import release
from engine.scripts.remove import remove
from engine.scripts.remove_deduplication import remove_deduplication
from engine.scripts.remove_flow import remove_flow
from engine.scripts.replay import replay
from engine.scripts.reprocess import reprocess
from engine.scripts.resume import resume
from engine.scripts.retry import retry
from engine.scripts.turn import turn
from engine.scripts.wait_children import wait_children
from tests.scripts.test_add_flow import node
from tests.support.dead_letters import Death, fail_jobs
from tests.support.keyspace import census, job
from tests.support.schedules import advance, begin, seed_schedule, upsert
from tests.support.seeding import Held, claimed, seed

Step = Callable[[Link, Keys], Awaitable[Any]]
OTHER = Keys("other")
"""A queue that is not paused, with the children of jobs in the one that is."""
DOOMING = '{"fpof":true}'


class Case(Struct, frozen=True):
    """What is there before, the call, and the ids that it puts at the front and at the back of the line."""

    before: Step
    call: Step
    front: tuple[str, ...] = ()
    back: tuple[str, ...] = ()


def there(**places: Any) -> Step:
    return lambda link, keys: seed(link, keys, **places)


def parent_of(child: str, of: Keys | None = None, flags: str = "{}", **places: Any) -> Step:
    """`p` waits for `child`, which is in one of the `places` of the queue `of`, or of the same one."""

    async def before(link: Link, keys: Keys) -> None:
        below = of or keys
        await seed(link, keys, waiting_children={"p": 1})
        await seed(link, below, **places, jobs={child: {"parentKey": keys.job("p"), "parent": flags}})
        await link.call("SADD", keys.job("p") + ":dependencies", below.job(child))

    return before


async def _dropped(link: Link, keys: Keys) -> None:
    await seed(link, keys, waiting_children={"p": 1})
    await link.call("SADD", keys.job("p") + ":dependencies", keys.job("gone"))


async def _replayable(link: Link, keys: Keys) -> None:
    await link.call("HDEL", keys.meta, "paused")
    await fail_jobs(link, keys, {"a": Death(3)})
    await link.call("HSET", keys.meta, "paused", 1)


async def _kept_for_later(link: Link, keys: Keys) -> None:
    await link.call("SET", keys.deduplication("d"), "someone")
    await link.call("HSET", keys.jobs + "dn:d", "name", "n", "data", "{}", "opts", "{}", "jid", "next")


async def _running_schedule(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 3, place="")
    await begin(link, keys, "repeat:s:3")


async def _asked_again(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    await link.call("HSET", keys.job("a") + ":processed", keys.job("c"), "1")


def _result(id: str) -> list[tuple[Any, bytes, Keep]]:
    return [(claimed(id), b"1", Keep())]


RUNS = there(active={"a": Held()})
ROW = NewRow("b", "n", b"{}", b"{}")

CASES: dict[str, Case] = {
    "add": Case(
        there(), lambda link, keys: add(link, keys, [ROW, NewRow("l", "n", b"{}", b"{}", lifo=True)], now=7), ("l",), ("b",)
    ),
    "add_plain": Case(
        there(), lambda link, keys: add_plain(link, keys, [NewRow("", "n", b"{}", b"{}")] * 2, now=7), back=("1", "2")
    ),
    "add_flow": Case(
        there(), lambda link, keys: add_flow(link, keys, [node("b"), node("l", lifo=True)], now=7), ("l",), ("b",)
    ),
    "advance_schedule": Case(_running_schedule, lambda link, keys: advance(link, keys, 3, 5), back=("repeat:s:5",)),
    "upsert_schedule": Case(there(), lambda link, keys: upsert(link, keys, None, 5, id="s"), back=("repeat:s:5",)),
    "cancel": Case(
        there(delayed={"d": 99}, jobs={"d": {"parentKey": "bull:up:p"}}),
        lambda link, keys: cancel(link, keys, id="d", reason="why", keep=Keep(), now=7), ("d",),
    ),
    "notify_parents": Case(_dropped, lambda link, keys: notify_parents(link, keys, interval_ms=9, patience_ms=1, now=7), ("p",)),
    "change_priority": Case(
        there(prioritized={"r": 2}), lambda link, keys: change_priority(link, keys, id="r", priority=0, now=7), back=("r",)
    ),
    "claim": Case(
        there(delayed={"d": 5}),
        lambda link, keys: claim(link, keys, token="t2", lock_ms=9_000, worker="w", count=9, now=7), back=("d",),
    ),
    "clean": Case(
        parent_of("f", failed={"f": 1}), lambda link, keys: clean(link, keys, state="failed", now=7), ("p",)
    ),
    "drain": Case(
        parent_of("d", OTHER, delayed={"d": 99}), lambda link, _: drain(link, OTHER, delayed=True, now=7), ("p",)
    ),
    "fail": Case(
        parent_of("a", flags=DOOMING, active={"a": Held()}),
        lambda link, keys: fail(link, keys, [(claimed("a"), Failed("why"), Keep(), 1)], now=7), ("p",),
    ),
    "finish": Case(
        parent_of("a", active={"a": Held()}), lambda link, keys: finish(link, keys, _result("a"), now=7), ("p",)
    ),
    "finish_adding": Case(RUNS, lambda link, keys: finish_adding(link, keys, _result("a")[0], [node("b")], now=7), back=("b",)),
    "rate_limit": Case(RUNS, lambda link, keys: rate_limit(link, keys, [(claimed("a"), Limited(50))], now=7), ("a",)),
    "obliterate": Case(
        parent_of("d", OTHER, delayed={"d": 99}), lambda link, _: _obliterated(link), ("p",)
    ),
    "promote": Case(there(delayed={"d": 5}), lambda link, keys: promote(link, keys, now=7), back=("d",)),
    "promote_one": Case(there(delayed={"d": 99}), lambda link, keys: promote_one(link, keys, id="d", now=7), back=("d",)),
    "release": Case(RUNS, lambda link, keys: release(link, keys, [claimed("a")], now=7), ("a",)),
    "remove": Case(parent_of("f", failed={"f": 1}), lambda link, keys: remove(link, keys, ["f"], now=7), ("p",)),
    "remove_deduplication": Case(
        _kept_for_later, lambda link, keys: remove_deduplication(link, keys, deduplication="d", now=7), back=("next",)
    ),
    "remove_flow": Case(parent_of("f", failed={"f": 1}), lambda link, keys: remove_flow(link, keys, id="f", now=7), ("p",)),
    "replay": Case(_replayable, lambda link, keys: replay(link, keys, [("a", 3, None)], by="x", now=7), back=("a",)),
    "reprocess": Case(
        there(failed={"f": 1}, completed={"c": 1}),
        lambda link, keys: reprocess(link, keys, [("f", True), ("c", False)], now=7), ("f",), ("c",),
    ),
    "retry": Case(RUNS, lambda link, keys: retry(link, keys, [(claimed("a"), Retrying(0, "why"), False)], now=7), back=("a",)),
    "recover_stalled": Case(
        there(active={"a": Held(lock_ms=None)}), lambda link, keys: recover_stalled(link, keys, interval_ms=9, max_stalls=1, now=7), ("a",)
    ),
    "turn": Case(
        parent_of("a", active={"a": Held()}, delayed={"d": 5}),
        lambda link, keys: turn(link, keys, _result("a"), token="t2", lock_ms=9_000, worker="w", count=9, now=7), ("p",), ("d",),
    ),
    "wait_children": Case(_asked_again, lambda link, keys: wait_children(link, keys, claimed("a"), now=7), ("a",)),
}  # fmt: skip


async def _obliterated(link: Link) -> None:
    await link.call("HSET", OTHER.meta, "paused", 1)
    await obliterate(link, OTHER, now=7)


def test_no_script_that_enqueues_jobs_is_missing_here() -> None:
    scripts = {path.stem for path in lua_folder().glob("*.lua") if "--@include enqueue" in path.read_text()}
    assert CASES.keys() == scripts


@pytest.mark.parametrize("verb", CASES)
@pytest.mark.parametrize("aside", [[], ["old"]])
async def test_it_puts_them_aside_and_behind_what_bullmq_6_left(
    link: Link, keys: Keys, verb: str, aside: Sequence[str]
) -> None:
    case = CASES[verb]
    await seed(link, keys, wait=["v1", "v2"], paused=aside, meta={"paused": 1})
    await case.before(link, keys)
    await case.call(link, keys)
    found = await census(link, keys)
    assert (found["paused"], found["wait"]) == ([*case.front, *aside, "v1", "v2", *case.back], [])
    assert await link.call("EXISTS", keys.marker) == 0


@pytest.mark.parametrize("id", ["a", "v0001", "v2499"])
@pytest.mark.parametrize("lifo", [False, True])
async def test_a_job_of_either_list_moves_and_stands_there_once(link: Link, keys: Keys, id: str, lifo: bool) -> None:
    """Both lists are long: not all that is in `wait` goes aside in one call."""
    line = ["a", *(f"p{n:04}" for n in range(1_500)), *(f"v{n:04}" for n in range(2_500))]
    await seed(link, keys, paused=line[:1_501], wait=line[1_501:], meta={"paused": 1})
    await change_priority(link, keys, id=id, priority=0, lifo=lifo, now=7)
    line.remove(id)
    line.insert(0 if lifo else len(line), id)
    await resume(link, keys, now=8)
    assert (await census(link, keys))["wait"] == line
    await change_priority(link, keys, id=id, priority=3, now=9)
    found = await census(link, keys)
    assert (id in found["wait"], found["prioritized"]) == (False, [id])
    assert (await job(link, keys, id))["priority"] == "3"
