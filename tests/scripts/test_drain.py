"""drain: the line emptied, but for what schedules depend on."""

from __future__ import annotations

import re

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import NewRow, NodeRow
from engine.scripts.add_flow import add_flow
from engine.scripts.drain import drain
from tests.support.keyspace import census, dump
from tests.support.seeding import Held, seed


async def test_all_that_wait_go_and_nothing_else(link: Link, keys: Keys) -> None:
    await seed(
        link, keys, wait=["a", "b"], paused=["c"], prioritized={"p": 1}, delayed={"d": 9}, active={"x": Held()},
        completed={"ok": 1}, jobs={"a": {"deid": "one"}},
    )  # fmt: skip
    await link.call("SET", keys.jobs + "de:one", "a")
    await link.call("RPUSH", keys.logs("b"), "row")
    assert await drain(link, keys, now=7) == 4
    assert {name: ids for name, ids in (await census(link, keys)).items() if ids} == {
        "delayed": ["d"], "active": ["x"], "completed": ["ok"],
    }  # fmt: skip
    assert set(await dump(link)) == {
        keys.delayed, keys.active, keys.completed, keys.job("d"), keys.job("x"), keys.lock("x"),
        keys.job("ok"), keys.pc,
    }  # fmt: skip
    before = await dump(link)
    assert await drain(link, keys, now=8) == 0
    assert await dump(link) == before
    assert await drain(link, keys, delayed=True, now=9) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 1_000])
@pytest.mark.parametrize("place", ["wait", "paused", "prioritized", "delayed"])
async def test_pending_runs_of_schedules_stay_wherever_they_stand(
    link: Link, keys: Keys, place: str, count: int
) -> None:
    kept = [f"repeat:s{n}:1795485221080" for n in range(4)]
    past = "repeat:s1:5"
    ids = [kept[0], "a", kept[1], "b", "c", past, kept[2], "d", kept[3]]
    where = dict.fromkeys(ids, 1) if place in ("prioritized", "delayed") else ids
    await seed(link, keys, **{place: where}, jobs={id: {"rjk": id.split(":")[1]} for id in [*kept, past]})  # type: ignore[arg-type]
    for n in range(4):
        await link.call("ZADD", keys.repeat, 1795485221080, f"s{n}")
    assert await drain(link, keys, delayed=True, count=count, now=7) == 5
    assert (await census(link, keys))[place] == kept


async def test_more_than_one_call_takes(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=[f"w{n}" for n in range(600)], prioritized={f"p{n}": 1 for n in range(500)})
    assert await drain(link, keys, now=7) == 1_100
    assert set(await dump(link)) == {keys.pc}


async def test_parents_count_as_jobs_of_a_call(link: Link, keys: Keys) -> None:
    for tree in "abcd":
        ids = [f"{tree}{n}" for n in range(10)]
        parents = ["", *map(keys.job, ids)]
        rows = [NewRow(id, "n", b"{}", b"{}") for id in ids]
        last = rows[-1]
        nodes = [
            NodeRow(keys.jobs, row, parent, waits=row is not last) for row, parent in zip(rows, parents, strict=False)
        ]
        assert await add_flow(link, keys, nodes) == ids
    await link.call("CONFIG", "RESETSTAT")
    assert await drain(link, keys, count=5, now=7) == 40
    stats = (await link.call("INFO", "commandstats")).decode()
    assert sum(map(int, re.findall(r"cmdstat_eval(?:sha)?:calls=(\d+)", stats))) >= 6, "a line of parents fills a call"
    assert not await link.call("EXISTS", keys.wait, keys.waiting_children)
    assert await link.call("KEYS", keys.jobs + "[a-d][0-9]*") == []
