"""progress: how far a job is, stored and told."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.rows import Refusal
from engine.scripts.progress import progress
from tests.support.keyspace import dump, events, job
from tests.support.seeding import Held, claimed, seed

MIB = 2**20


async def test_progress_is_stored_with_an_event(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held("t2", fence=3)})
    rows = [("a", claimed("a"), b"50"), ("b", claimed("b", "t2", 3), b'{"of":7}'), ("a", claimed("a"), b"60")]
    assert await progress(link, keys, rows, now=7) == {}
    assert ((await job(link, keys, "a"))["progress"], (await job(link, keys, "b"))["progress"]) == ("60", '{"of":7}')
    assert await events(link, keys) == ["progress a data=50", 'progress b data={"of":7}', "progress a data=60"]


async def test_a_producer_may_set_it_without_a_claim(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"], active={"b": Held()})
    assert await progress(link, keys, [("a", None, b"1"), ("b", None, b"2")], now=7) == {}
    assert (await job(link, keys, "b"))["progress"] == "2"


async def test_a_claim_that_lost_the_job_writes_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held("t2", fence=2)}, wait=["b"], completed={"c": 5})
    before = await dump(link)
    rows = [(id, claimed(id, token), b"50") for id, token in (("a", "t1"), ("b", "t1"), ("c", "done"), ("gone", "t1"))]
    lost, missing, done = Refusal.LOST, Refusal.MISSING, Refusal.DONE
    assert await progress(link, keys, rows, now=7) == {0: lost, 1: lost, 2: done, 3: missing}
    assert await dump(link) == before


async def test_the_refused_row_holds_up_no_other(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    assert await progress(link, keys, [("gone", None, b"1"), ("a", claimed("a"), b"2")], now=7) == {0: Refusal.MISSING}
    assert await events(link, keys) == ["progress a data=2"]


async def test_large_values_are_trimmed_by_bytes_not_before_8_mib(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    size = MIB // 2
    small = ("XADD", keys.events, "*", "event", "active", "jobId", "s")
    for n in range(60):
        assert await progress(link, keys, [("a", claimed("a"), str(n).encode().ljust(size, b"0"))], now=7) == {}
        await link.call(*small)
        kept = [fields[-1] for _, fields in await link.call("XRANGE", keys.events, "-", "+")]
        large = [value for value in kept if len(value) == size]
        # In order, with what stood between them, and none is gone that has less than 8 MiB behind it.
        assert len(large) >= min(n + 1, 8 * MIB // size)
        assert large == [str(m).encode().ljust(size, b"0") for m in range(n + 1 - len(large), n + 1)]
        assert kept[kept.index(large[0]) :] == [value for one in large for value in (one, b"s")]
        assert await link.call("MEMORY", "USAGE", keys.events, "SAMPLES", 0) < 24 * MIB
    assert (await job(link, keys, "a"))["progress"].startswith("59")


async def test_small_values_are_trimmed_by_number_only(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    for _ in range(30):
        await progress(link, keys, [("a", claimed("a"), b"0" * 4096)] * 100, now=7)
    assert await link.call("XLEN", keys.events) == 3_000
    assert await link.call("HMGET", keys.meta, "large", "large_since") == [None, None]


async def test_foreign_fields_in_meta_stop_no_event(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, meta={"large": "x", "large_since": "y"})
    for _ in range(3):
        assert await progress(link, keys, [("a", claimed("a"), b"0" * 5_000)], now=7) == {}
    assert len(await events(link, keys)) == 3
    assert await link.call("HGET", keys.meta, "large") == b"10000"
