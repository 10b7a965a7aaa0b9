"""recover_claim: the jobs of a claim whose reply was lost."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.claim import claim
from engine.scripts.recover_claim import recover_claim
from tests.support.keyspace import census, dump
from tests.support.seeding import Held, seed


@pytest.mark.parametrize("count", [1, 2, 1_000])
async def test_it_gives_what_the_claim_gave(link: Link, keys: Keys, count: int) -> None:
    await seed(
        link,
        keys,
        wait=["x1", "x2", "a", "b", "c"],
        prioritized={"p": 3},
        jobs={"a": {"data": "\x00ä", "stc": 2, "ats": 2}},
    )
    await claim(link, keys, token="t0", lock_ms=9_000, worker="w", count=2, now=6)
    given = (await claim(link, keys, token="t1", lock_ms=9_000, worker="w", count=9, now=7)).jobs
    await link.call("LPUSH", keys.active, "gone")
    before = await dump(link)
    assert await recover_claim(link, keys, token="t1", lock_ms=9_000, count=count, now=8) == given
    assert await recover_claim(link, keys, token="t1", lock_ms=9_000, count=count, now=9) == given
    assert await dump(link) == before
    await link.call("LREM", keys.active, 0, "gone")


async def test_it_prolongs_locks_and_sets_those_that_ended(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(lock_ms=5_000), "b": Held(lock_ms=None), "c": Held("t9")})
    assert [job.id for job in await recover_claim(link, keys, token="t1", lock_ms=500_000, now=7)] == ["a", "b"]
    assert [400_000 < await link.call("PTTL", keys.lock(id)) <= 500_000 for id in "abc"] == [True, True, False]
    assert await link.call("GET", keys.lock("b")) == b"t1"


async def test_a_job_that_was_taken_over_is_not_given(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held("t2", 2), "node": Held("t1", 2)}, wait=["b"], jobs={"b": {"owner": "t1"}})
    # BullMQ sets the lock and does not know the owner.
    await link.call("SET", keys.lock("node"), "node:1", "PX", 9_000)
    before = await dump(link)
    assert await recover_claim(link, keys, token="t1", lock_ms=9_000, now=7) == []
    assert await dump(link) == before
    assert (await census(link, keys))["wait"] == ["b"]


async def test_nothing_was_taken(link: Link, keys: Keys) -> None:
    assert await recover_claim(link, keys, token="t1", lock_ms=9_000, now=7) == []
    assert await dump(link) == {}
