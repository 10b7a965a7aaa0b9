"""log: rows appended to a job's log."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.rows import Refusal
from engine.scripts.log import log
from tests.support.keyspace import dump, snapshot
from tests.support.seeding import Held, claimed, seed


async def test_rows_are_appended_and_counted(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, wait=["b"])
    claim = claimed("a")
    assert await log(link, keys, [("a", claim, "one", None), ("b", None, "x", None), ("a", claim, "two", None)]) == [
        1,
        1,
        2,
    ]
    assert await link.call("LRANGE", keys.logs("a"), 0, -1) == [b"one", b"two"]
    assert "events" not in await snapshot(link, keys)


async def test_only_the_newest_are_kept(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"])
    assert await log(link, keys, [("a", None, str(n), 2) for n in range(4)]) == [1, 2, 2, 2]
    assert await link.call("LRANGE", keys.logs("a"), 0, -1) == [b"2", b"3"]
    assert await log(link, keys, [("a", None, "none is kept", 0)]) == [0]
    assert await link.call("LRANGE", keys.logs("a"), 0, -1) == [b"2", b"3"]


async def test_refused_rows_write_nothing_and_hold_up_no_other(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held("t2", fence=2)}, wait=["b"])
    before = await dump(link)
    rows = [("a", claimed("a"), "late", None), ("gone", None, "x", None), ("meta", None, "x", None)]
    assert await log(link, keys, rows) == [Refusal.LOST, Refusal.MISSING, Refusal.MISSING]
    assert await dump(link) == before
    assert await log(link, keys, [("gone", None, "x", None), ("b", None, "y", None)]) == [Refusal.MISSING, 1]
