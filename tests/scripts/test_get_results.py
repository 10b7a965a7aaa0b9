"""get_results: results and failure reasons of jobs."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.get_results import EndOfJob, get_results
from tests.support.keyspace import dump
from tests.support.seeding import Held, seed


async def test_each_end_has_its_answer(link: Link, keys: Keys) -> None:
    await seed(
        link, keys, wait=["w"], delayed={"d": 9}, active={"a": Held()}, completed={"ok": 1, "void": 2},
        failed={"no": 1}, jobs={"ok": {"returnvalue": '{"n":[]}'}, "no": {"failedReason": "boom ä"}},
    )  # fmt: skip
    await link.call("HDEL", keys.job("void"), "returnvalue")
    before = await dump(link)
    assert await get_results(link, keys, ["ok", "void", "no", "a", "w", "d", "gone"]) == [
        EndOfJob("completed", b'{"n":[]}'),
        EndOfJob("completed", b"null"),
        EndOfJob("failed", reason="boom ä"),
        EndOfJob("pending"),
        EndOfJob("pending"),
        EndOfJob("pending"),
        EndOfJob("missing"),
    ]
    assert await dump(link) == before
    await link.call("HSET", keys.job("void"), "returnvalue", "1")
