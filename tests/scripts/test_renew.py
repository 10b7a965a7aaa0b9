"""renew: a lock runs on."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.rows import Refusal
from engine.scripts.renew import renew
from tests.support.keyspace import dump, snapshot
from tests.support.seeding import Held, claimed, seed


async def test_a_renewed_lock_runs_from_now_and_the_suspicion_ends(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held("t9"), "c": Held("t1")}, stalled=["a", "b"])
    assert await renew(
        link, keys, [claimed("a"), claimed("b"), claimed("c"), claimed("gone")], lock_ms=500_000, now=7
    ) == {
        1: Refusal.LOST,
        3: Refusal.MISSING,
    }
    assert [400_000 < await link.call("PTTL", keys.lock(id)) <= 500_000 for id in "abc"] == [True, False, True]
    assert (await snapshot(link, keys))["stalled"] == ["b"]


async def test_an_expired_lock_is_set_again_if_the_job_is_free(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(lock_ms=None)}, wait=["b"], jobs={"b": {"ats": 1, "owner": "t1"}})
    assert await renew(link, keys, [claimed("a"), claimed("b")], lock_ms=9_000, now=7) == {1: Refusal.LOST}
    found = await snapshot(link, keys)
    assert (found["lock:a"], found.get("lock:b")) == ("t1", None)
    assert 0 < await link.call("PTTL", keys.lock("a")) <= 9_000


async def test_it_writes_nothing_but_the_lock(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    before = await dump(link)
    await renew(link, keys, [claimed("a")], lock_ms=9_000, now=7)
    await renew(link, keys, [claimed("a")], lock_ms=9_000, now=8)
    assert await dump(link) == before


async def test_a_finished_job_is_not_locked_again(link: Link, keys: Keys) -> None:
    await seed(link, keys, completed={"a": 5}, jobs={"a": {"owner": "t1"}})
    before = await dump(link)
    assert await renew(link, keys, [claimed("a")], lock_ms=9_000, now=7) == {0: Refusal.DONE}
    assert await dump(link) == before
