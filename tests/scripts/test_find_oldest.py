"""find_oldest: candidates for the job that has waited longest."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.find_oldest import MAX_READ, WaitingJob, find_oldest
from tests.support.keyspace import dump
from tests.support.seeding import seed


async def test_it_shows_those_next_to_run_and_the_first_of_each_priority(link: Link, keys: Keys) -> None:
    await seed(
        link,
        keys,
        wait=["w"],
        paused=["p"],
        prioritized={"one": 1, "same": 1, "nine": 9},
        delayed={"later": 99},
        jobs={"w": {"timestamp": 3, "processedOn": 5, "opts": '{"delay":1}'}},
        meta={"paused": 1},
    )
    before = await dump(link)
    now, jobs = await find_oldest(link, keys, now=7)
    assert (now, [job.id for job in jobs]) == (7, ["p", "w", "one", "nine"])
    assert jobs[1] == WaitingJob("w", "n", 3, 5, b'{"delay":1}')
    assert await dump(link) == before


async def test_it_reads_no_more_than_its_limit(link: Link, keys: Keys) -> None:
    await seed(
        link,
        keys,
        wait=[f"w{n}" for n in range(300)],
        prioritized={f"p{n}": n + 1 for n in range(300)},
    )
    _, jobs = await find_oldest(link, keys, now=7)
    assert len(jobs) == 2 * MAX_READ
    assert {"w0", f"w{MAX_READ - 1}", "p0", f"p{MAX_READ - 1}"} <= {job.id for job in jobs}


@pytest.mark.usefixtures("damaged")
async def test_a_foreign_key_hides_no_other_job(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"])
    await link.call("DEL", keys.job("a"))
    await link.call("LPUSH", keys.job("a"), "foreign")
    assert [job.id for job in (await find_oldest(link, keys, now=7))[1]] == ["b"]
