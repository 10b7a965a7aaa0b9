"""limit_rate: and what a rate limit does to claims."""

from __future__ import annotations

import random
from functools import partial

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.limits import RateLimit
from engine.model.options import Keep
from engine.scripts.claim import ClaimReply, claim
from engine.scripts.get_rate_limit_ttl import get_rate_limit_ttl
from engine.scripts.limit_rate import limit_rate
from engine.scripts.turn import turn
from tests.support.keyspace import dump, snapshot
from tests.support.running import until
from tests.support.seeding import Held, claimed, seed

HOUR = 3_600_000


async def take(link: Link, keys: Keys, count: int = 9, *, own: str = "", now: int = 7, token: str = "t2") -> ClaimReply:
    return await claim(link, keys, token=token, lock_ms=HOUR, worker="w", count=count, worker_limit=own, now=now)


def ids(claims: ClaimReply) -> list[str]:
    return [job.id for job in claims.jobs]


async def test_it_is_written_as_bullmq_has_it_and_taken_away_whole(link: Link, keys: Keys) -> None:
    assert await limit_rate(link, keys, RateLimit(5, 1_000), now=7) is False
    assert (await snapshot(link, keys)) == {"meta": {"max": "5", "duration": "1000"}}
    assert await limit_rate(link, keys, RateLimit(5, 1_000, smooth=True), now=7) is True
    assert (await snapshot(link, keys))["meta"]["smooth"] == "1"
    await link.call("SET", keys.smoothed, 9)
    await limit_rate(link, keys, RateLimit(6, 1_000), now=7)
    assert (await snapshot(link, keys)) == {"meta": {"max": "6", "duration": "1000"}}
    await link.call("SET", keys.limiter, 3)
    await link.call("HSET", keys.meta, "hold", 99)
    assert await limit_rate(link, keys, None, now=7) is True
    assert await dump(link) == {}
    assert await limit_rate(link, keys, None, now=8) is False


async def test_a_batch_takes_no_more_than_what_the_window_has_left(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=list("abcdefg"), meta={"max": 5, "duration": HOUR})
    first, second, third = await take(link, keys, 3), await take(link, keys), await take(link, keys)
    assert (ids(first), ids(second), ids(third)) == (["a", "b", "c"], ["d", "e"], [])
    assert (first.more, first.limited_ms) == (True, 0)
    for claims in (second, third):
        assert claims.more is False
        assert HOUR - 5_000 < claims.limited_ms <= HOUR
    assert (await snapshot(link, keys))["limiter"] == "5"
    assert HOUR - 5_000 < await get_rate_limit_ttl(link, keys, now=7) <= HOUR


async def test_the_last_to_start_wakes_another_and_who_finds_it_closed_does_not(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=list("abc"), meta={"max": 2, "duration": HOUR})
    await take(link, keys)
    assert (await snapshot(link, keys))["marker"] == {"0": 0}
    await link.call("DEL", keys.marker)
    await take(link, keys)
    assert "marker" not in await snapshot(link, keys)


async def test_a_new_window_begins_with_the_first_start_after_the_old_one(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=list("abcd"), meta={"max": 2, "duration": HOUR})
    await take(link, keys)
    await link.call("PEXPIRE", keys.limiter, 1)
    await until(partial(_is_gone, link, keys.limiter), "the window is over")
    assert ids(await take(link, keys, 1)) == ["c"]
    assert (await snapshot(link, keys))["limiter"] == "1"
    assert await link.call("PTTL", keys.limiter) > HOUR - 5_000


async def test_a_counter_without_an_end_begins_anew_and_has_one(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"], meta={"max": 2, "duration": HOUR})
    await link.call("SET", keys.limiter, 99)
    assert ids(await take(link, keys)) == ["a"]
    assert await link.call("PTTL", keys.limiter) > HOUR - 5_000


async def test_starts_of_bullmq_and_its_hold_are_kept_to(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=list("abcd"), meta={"max": 5, "duration": 50})
    await link.call("SET", keys.limiter, 3, "PX", HOUR)
    assert ids(await take(link, keys)) == ["a", "b"]
    assert await link.call("PTTL", keys.limiter) > HOUR - 5_000, "the window is that of its first start"
    await link.call("SET", keys.limiter, 2**53 - 1, "PX", HOUR)
    assert ids(await take(link, keys)) == []


async def test_a_job_that_is_to_fail_without_running_is_no_start(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=list("abc"), meta={"max": 2, "duration": HOUR}, jobs={"a": {"defa": "stalled"}})
    assert ids(await take(link, keys)) == ["a", "b"]
    assert ids(await take(link, keys)) == ["c"]


async def test_a_turn_hands_in_results_and_keeps_to_the_limit(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=list("abc"), active={"x": Held()}, meta={"max": 2, "duration": HOUR})
    rows = [(claimed("x"), b"1", Keep())]
    turned = await turn(link, keys, rows, token="t2", lock_ms=9_000, worker="w", count=9, now=7)
    assert ([job.id for job in turned.jobs], turned.refused, turned.more) == (["a", "b"], {}, False)
    assert turned.limited_ms > HOUR - 5_000


async def test_a_worker_can_have_a_limit_of_its_own(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=list("abcd"))
    assert ids(await take(link, keys, own=f"1,{HOUR}")) == ["a"]
    closed = await take(link, keys, own=f"1,{HOUR}")
    assert (ids(closed), closed.limited_ms > HOUR - 5_000) == ([], True)
    assert (await snapshot(link, keys))["marker"] == {"0": 0}, "others have no limit"
    assert await get_rate_limit_ttl(link, keys, worker_limit="1,5", now=7) > HOUR - 5_000
    assert ids(await take(link, keys)) == ["b", "c", "d"]


async def test_the_queues_max_and_the_workers_duration_win(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=list("abcd"), meta={"max": 2, "duration": 50})
    assert ids(await take(link, keys, own=f"3,{HOUR}")) == ["a", "b"]
    assert await link.call("PTTL", keys.limiter) > HOUR - 5_000


@pytest.mark.parametrize("meta", [{"max": 0, "duration": 5}, {"max": "x", "duration": 5}, {"max": 1}, {"max": "nan"}])
async def test_what_is_no_limit_limits_nothing(link: Link, keys: Keys, meta: dict[str, str | int]) -> None:
    await seed(link, keys, wait=list("abc"), meta=meta)
    assert ids(await take(link, keys)) == ["a", "b", "c"]
    assert "limiter" not in await snapshot(link, keys)


async def test_a_shorter_window_ends_the_one_that_runs_but_no_hold(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"], meta={"max": 5, "duration": HOUR})
    await link.call("SET", keys.limiter, 5, "PX", HOUR)
    await limit_rate(link, keys, RateLimit(9, 50_000), now=7)
    assert await link.call("PTTL", keys.limiter) <= 50_000
    assert (await snapshot(link, keys))["marker"] == {"0": 0}
    await link.call("SET", keys.limiter, 2**53 - 1, "PX", HOUR)
    await limit_rate(link, keys, RateLimit(9, 50_000), now=7)
    assert await link.call("PTTL", keys.limiter) > HOUR - 5_000


@pytest.mark.parametrize(
    ("meta", "active", "woken"),
    [({}, [], True), ({"paused": 1}, [], False), ({"concurrency": 1}, ["x"], False)],
)
async def test_a_change_wakes_a_worker_that_could_claim(
    link: Link, keys: Keys, meta: dict[str, int], active: list[str], woken: bool
) -> None:
    await seed(link, keys, prioritized={"p": 1}, active={id: Held() for id in active}, meta=meta)
    await limit_rate(link, keys, RateLimit(9, 50), now=7)
    assert ("marker" in await snapshot(link, keys)) is woken


# --- smoothed ---------------------------------------------------------------------------------------------------------


async def test_smoothed_starts_are_evenly_spread(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=list("abcdef"))
    await limit_rate(link, keys, RateLimit(10, 1_000_000, smooth=True), now=0)
    found = {
        now: await take(link, keys, now=now) for now in (0, 1, 99_999, 100_000, 150_000, 350_000, 449_999, 450_000)
    }
    assert {now: "".join(ids(claims)) for now, claims in found.items()} == {
        0: "a", 1: "", 99_999: "", 100_000: "b", 150_000: "", 350_000: "c", 449_999: "", 450_000: "d",
    }  # fmt: skip
    assert (found[0].limited_ms, found[1].limited_ms, found[99_999].limited_ms) == (100_000, 99_999, 1)
    assert found[450_000].more is False
    assert (await snapshot(link, keys))["limiter"] == "4", "BullMQ's workers see them in the window"
    assert await get_rate_limit_ttl(link, keys, now=450_001) == 99_999


async def test_one_in_twenty_may_come_at_once(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=[f"j{n}" for n in range(50)])
    await limit_rate(link, keys, RateLimit(100, 95_000, smooth=True), now=0)
    assert len(ids(await take(link, keys, 50, now=0))) == 6
    assert len(ids(await take(link, keys, 50, now=999))) == 0
    assert len(ids(await take(link, keys, 50, now=1_000))) == 1
    assert len(ids(await take(link, keys, 50, now=90_000))) == 6


@pytest.mark.parametrize("maximum", [1, 2, 7, 19, 20, 21, 60, 333])
@pytest.mark.timeout(60)
async def test_no_window_has_more_than_max_and_little_is_left_unused(link: Link, keys: Keys, maximum: int) -> None:
    seed_of_chance = random.randrange(2**32)
    print(f"seed {seed_of_chance}")
    chance = random.Random(seed_of_chance)
    span = 1_000 * maximum + chance.randrange(1_000_000)
    total = 4 * maximum + 3
    await seed(link, keys, wait=[f"j{n}" for n in range(total)])
    await limit_rate(link, keys, RateLimit(maximum, span, smooth=True), now=0)
    starts: list[int] = []
    now = eager_since = 5_000_000_000
    while len(starts) < total:
        # The fixed window beside it ends by the server's clock, which is not that of this test.
        await link.call("DEL", keys.limiter)
        claims = await take(link, keys, chance.randrange(1, maximum + 2), now=now, token=f"t{len(starts)}")
        assert len(claims.jobs) <= 1 + maximum // 20
        starts += [now] * len(claims.jobs)
        now += claims.limited_ms if chance.random() < 0.8 else chance.randrange(span // maximum)
    for first, next_but_max in zip(starts, starts[maximum:], strict=False):
        assert next_but_max - first >= span
    assert starts[-1] - eager_since <= 1.1 * span * total / maximum + span


async def test_a_smoothed_limit_that_is_raised_does_not_wait_for_the_old_one(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=list("abc"))
    await limit_rate(link, keys, RateLimit(1, HOUR, smooth=True), now=0)
    await take(link, keys, now=0)
    await limit_rate(link, keys, RateLimit(10, 1_000, smooth=True), now=1)
    assert ids(await take(link, keys, now=1)) == ["b"]
    assert (await take(link, keys, now=1)).limited_ms == 100


async def _is_gone(link: Link, key: str) -> bool:
    return not await link.call("EXISTS", key)
