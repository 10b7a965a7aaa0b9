"""The invariant checker reports each kind of damage, and nothing on a sound queue."""

from __future__ import annotations

import pytest

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Counts
from tests.support.calls import seed_for_all
from tests.support.invariants import check_invariants, violations
from tests.support.seeding import Held, seed

DAMAGE: dict[str, tuple[str, list[Argument]]] = {
    "in two places": ("I1 'w1' is in wait and failed", ["ZADD", "bull:q:failed", 1, "w1"]),
    "twice in one": ("I1 'w1' is in wait and wait", ["RPUSH", "bull:q:wait", "w1"]),
    "no hash": ("I8 'gone' is in wait and has no hash", ["LPUSH", "bull:q:wait", "gone"]),
    "no place": ("I8 'w1' has a hash and is nowhere", ["LREM", "bull:q:wait", 0, "w1"]),
    "no hash but another type": ("I8 'odd' is not a hash", ["SET", "bull:q:odd", 1]),
    "locked while waiting": ("I8 'w1' is locked and is in wait", ["SET", "bull:q:w1:lock", "t", "PX", 60_000]),
    "locked for ever": ("I8 the lock of 'a' never ends", ["PERSIST", "bull:q:a:lock"]),
    "suspected while waiting": ("I8 'w1' is marked as stalled and is in wait", ["SADD", "bull:q:stalled", "w1"]),
    "logs of nobody": ("I8 'gone:logs' has no owner and no end", ["RPUSH", "bull:q:gone:logs", "x"]),
    "a window of nobody": ("I8 'de:x' names 'gone', which is gone", ["SET", "bull:q:de:x", "gone"]),
    "another finish time": ("I8 'c1' is in completed at 1 and its hash", ["HSET", "bull:q:c1", "finishedOn", 2]),
    "finished and waiting": ("I8 'w1' is in wait and has ended", ["HSET", "bull:q:w1", "finishedOn", 2]),
    "ranked without a rank": ("I8 'p' is in prioritized and has no priority", ["HSET", "bull:q:p", "priority", 0]),
    "never started": ("I8 'a' is active and was never started", ["HDEL", "bull:q:a", "ats"]),
    "too many attempts": (
        "I7 'c1' made 2 attempts of 1",
        ["HSET", "bull:q:c1", "atm", 2, "ats", 2, "opts", '{"attempts":1}'],
    ),
    "more attempts than starts": ("I7 'a' made 2 attempts in 1 starts", ["HSET", "bull:q:a", "atm", 2]),
}


async def test_a_sound_queue_passes(link: Link, keys: Keys) -> None:
    await seed_for_all(link, keys)
    await link.call("SET", keys.jobs + "de:x", "w1")
    await link.call("SET", keys.jobs + "de:y", "gone", "PX", 60_000)
    await link.call("RPUSH", keys.logs("w1"), "line")
    await link.call("HSET", keys.jobs + "corral:note", "private", 1)
    await seed(link, keys, waiting_children={"parent": 3}, wait=["repeat:daily:99"])
    await link.call("ZADD", keys.repeat, 99, "daily")
    await link.call("HSET", keys.jobs + "repeat:daily", "name", "n")
    await check_invariants(link, keys, acked=["w1", "c1"])


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("what", DAMAGE)
async def test_damage_is_told(link: Link, keys: Keys, what: str) -> None:
    told, command = DAMAGE[what]
    await seed_for_all(link, keys)
    assert await violations(link, keys) == []
    await link.call(*command)
    wrong = await violations(link, keys)
    assert any(line.startswith(told) for line in wrong), wrong


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (["added", "waiting", "active", "completed"], []),
        (["added", "waiting", "completed"], ["I14 'w': completed (prev=) cannot follow waiting: waiting completed"]),
        (["added", "waiting", "active", "completed", "completed"], ["I14 'w': completed"]),
        (["added", "waiting", "active"], ["I6 'w' is in completed and its last event is active"]),
        (["completed", "completed"], []),
    ],
)
async def test_events_that_are_no_way_through_the_states_are_told(
    link: Link, keys: Keys, told: list[str], expected: list[str]
) -> None:
    await seed(link, keys, completed={"w": 5})
    for event in told:
        await link.call("XADD", keys.events, "*", "event", event, "jobId", "w")
    wrong = await violations(link, keys)
    assert [line.startswith(start) for line, start in zip(wrong, expected, strict=True)] == [True] * len(expected)


async def test_what_is_said_from_outside_is_compared(link: Link, keys: Keys) -> None:
    await seed(
        link, keys, wait=["w"], active={"a": Held()}, completed={"c1": 1_000, "c2": 9_000}, jobs={"a": {"stc": 3}}
    )
    assert await violations(link, keys, counts=Counts(waiting=1, active=1, completed=2)) == []
    wrong = await violations(
        link, keys, counts=Counts(waiting=2, active=1, completed=2), acked=["w", "gone"], keep_completed=Keep(age=5_000),
        max_stalls=1,
    )  # fmt: skip
    assert [line.split()[0] for line in wrong] == ["I7", "I10", "I2", "I9"]
