"""turn: finish and claim in one call."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Claimed
from engine.scripting.rows import Refusal
from engine.scripts.claim import claim
from engine.scripts.finish import finish
from engine.scripts.turn import TurnReply, turn
from tests.support.calls import seed_for_all
from tests.support.keyspace import census, dump, events, snapshot
from tests.support.seeding import Held, claimed, seed

ALL = Keep()


async def take_turn(link: Link, keys: Keys, finished: list[Claimed], *, count: int = 10, now: int = 7) -> TurnReply:
    rows = [(job, b"1", ALL) for job in finished]
    return await turn(link, keys, rows, token="t2", lock_ms=9_000, worker="w", count=count, now=now)


async def test_it_does_what_finish_and_claim_do_one_after_the_other(link: Link, keys: Keys) -> None:
    jobs = [claimed("a"), claimed("b", "stale"), claimed("r")]
    apart = Keys("apart")
    await seed_for_all(link, keys)
    await seed_for_all(link, apart)
    turned = await take_turn(link, keys, jobs)
    refused = await finish(link, apart, [(job, b"1", ALL) for job in jobs], now=7)
    claims = await claim(link, apart, token="t2", lock_ms=9_000, worker="w", count=10, now=7)
    assert (turned.refused, turned.jobs, turned.next_due, turned.more) == (
        refused,
        claims.jobs,
        claims.next_due,
        claims.more,
    )
    assert turned.refused == {1: Refusal.LOST}
    assert await snapshot(link, keys) == await snapshot(link, apart)


async def test_sent_again_it_finishes_nothing_twice_and_claims_what_is_left(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w", "x"], active={"a": Held()})
    first = await take_turn(link, keys, [claimed("a")], count=1)
    again = await take_turn(link, keys, [claimed("a")], count=1)
    assert ([job.id for job in first.jobs], [job.id for job in again.jobs]) == (["w"], ["x"])
    assert again.refused == {0: Refusal.DONE}
    assert [line.split()[0] for line in await events(link, keys)].count("completed") == 1


async def test_the_last_job_drains_the_queue_and_a_delayed_one_is_not_forgotten(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    await take_turn(link, keys, [claimed("a")])
    assert (await events(link, keys))[-1] == "drained"
    await seed(link, keys, active={"b": Held()}, delayed={"d": 12})
    turned = await take_turn(link, keys, [claimed("b")])
    assert (turned.next_due, (await events(link, keys))[-1]) == (5, "completed b returnvalue=1 prev=active")


async def test_nothing_to_hand_in_and_nothing_to_take_changes_nothing(link: Link, keys: Keys) -> None:
    before = await dump(link)
    assert await take_turn(link, keys, []) == TurnReply({}, [], None, False, empty=True)
    assert await dump(link) == before


@pytest.mark.parametrize(
    ("waiting", "meta", "count", "empty"),
    [
        (["w"], {}, 2, True),
        (["w"], {}, 1, True),
        (["w", "x"], {}, 1, False),
        (["w"], {}, 0, False),
        (["w", "x"], {"concurrency": 2}, 2, False),
        (["w"], {"concurrency": 1}, 2, False),
        ([], {"concurrency": 1}, 2, False),
        ([], {"paused": 1}, 2, False),
        (["w", "x"], {"max": 1, "duration": 1_000}, 2, False),
    ],
)
async def test_empty_is_reported_only_if_it_was_checked(
    link: Link, keys: Keys, waiting: list[str], meta: dict[str, Argument], count: int, empty: bool
) -> None:
    await seed(link, keys, wait=waiting, active={"a": Held()}, delayed={"d": 99}, meta=meta)
    assert (await take_turn(link, keys, [], count=count)).empty is empty


async def test_a_slot_left_under_a_global_concurrency_is_taken_at_once(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w", "x"], active={"a": Held(), "b": Held()}, meta={"concurrency": 2})
    turned = await take_turn(link, keys, [claimed("a")])
    assert [job.id for job in turned.jobs] == ["w"]
    assert "marker" not in await snapshot(link, keys)


async def test_a_worker_that_takes_no_more_wakes_another_for_the_slot(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, meta={"concurrency": 1})
    await take_turn(link, keys, [claimed("a")], count=0)
    assert (await snapshot(link, keys))["marker"] == {"0": 0}


async def test_a_paused_queue_takes_results_and_gives_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, paused=["x"], active={"a": Held()}, meta={"paused": 1})
    turned = await take_turn(link, keys, [claimed("a")])
    assert (turned.jobs, turned.more) == ([], False)
    assert (await census(link, keys))["completed"] == ["a"]


async def test_a_thousand_out_and_a_thousand_in(link: Link, keys: Keys) -> None:
    out, wanted = [f"o{n}" for n in range(1_000)], [f"i{n}" for n in range(1_000)]
    await seed(link, keys, active={id: Held() for id in out}, wait=wanted)
    turned = await take_turn(link, keys, [claimed(id) for id in out], count=1_000)
    assert [job.id for job in turned.jobs] == wanted
    found = await census(link, keys)
    assert (found["active"], sorted(found["completed"])) == (wanted, sorted(out))


STATES: dict[str, list[Any]] = {
    "wait": [[], ["w"], ["w", "x"], ["a"]],
    "prioritized": [{}, {}, {"p": 3}],
    "delayed": [{}, {"d": 99}, {"d": 5}],
    "active": [{"a": Held()}, {"a": Held(), "b": Held("t9")}, {"a": Held(lock_ms=None)}, {"a": Held("t9")}, {"a": Held(fence=2)}],
    "completed": [{}, {"c1": 1, "c2": 2}],
    "stalled": [[], [], ["a"], ["other"]],
    "meta": [{}, {}, {"opts.maxLenEvents": 0}, {"events": "results"}, {"events": "none"}, {"paused": 1}, {"concurrency": 1},
             {"max": 5, "duration": 1_000}],
    "jobs": [{}, {}, {"w": {"ats": 1, "atm": 1}}, {"w": {"progress": "5"}}, {"w": {"defa": "why"}}, {"a": {"defa": "why"}},
             {"a": {"parentKey": "bull:other:1"}}, {"w": {"data": "x" * 5_000}}],
}  # fmt: skip
"""What may be there before a turn: one choice of each. Most mean that the plain form of the script does not apply."""


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("number", range(12))
async def test_the_plain_form_does_what_the_full_form_does(link: Link, number: int) -> None:
    chance = random.Random(number)
    for turn_number in range(25):
        state = {name: chance.choice(choices) for name, choices in STATES.items()}
        state["jobs"] = {id: fields for id, fields in state["jobs"].items() if id in (*state["wait"], *state["active"])}
        count, keep = (
            chance.choice([0, 1, 1, 3]),
            chance.choice([ALL, ALL, Keep(count=0), Keep(count=1), Keep(age=1_000)]),
        )
        rows = chance.choice([[], [(claimed("a"), chance.choice([b"1", b"x" * 5_000]), keep)]])
        found = []
        # A second row, of a job that does not exist, is refused, and makes the call one for the full form.
        for more in ([], [(claimed("none"), b"1", keep)]):
            keys = Keys("q", f"turn{turn_number}-{len(more)}")
            await seed(link, keys, **state)
            given = [*rows, *more, *more]
            turned = await turn(link, keys, given, token="t2", lock_ms=9_000, worker="w", count=count, now=7)
            refused = {row: code for row, code in turned.refused.items() if row < len(rows)}
            found.append((msgspec.structs.replace(turned, refused=refused), await snapshot(link, keys)))
        assert found[0] == found[1], (state, count, keep, rows)


async def test_a_lone_job_waits_for_children_added_meanwhile(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    await link.call("SADD", f"{keys.job('a')}:dependencies", "bull:other:1")
    before = await dump(link)
    assert (await take_turn(link, keys, [claimed("a")])).refused == {0: Refusal.PENDING}
    assert await dump(link) == before
