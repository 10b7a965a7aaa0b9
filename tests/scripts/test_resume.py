"""resume: everything that was put aside runs, in its old order."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.claim import claim
from engine.scripts.pause import pause
from engine.scripts.resume import resume
from tests.support.keyspace import census, dump, events, snapshot
from tests.support.seeding import Held, seed


async def test_a_pause_and_a_resume_keep_the_order(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"], prioritized={"p": 1})
    await pause(link, keys, now=7)
    assert await resume(link, keys, now=8) is True
    found = await snapshot(link, keys)
    assert (found["wait"], found["marker"], found["events"]) == (["a", "b"], {"0": 0}, ["paused", "resumed"])
    assert "paused" not in found
    assert "meta" not in found
    taken = (await claim(link, keys, token="t", lock_ms=9_000, worker="w", count=9, now=8)).jobs
    assert [job.id for job in taken] == ["a", "b", "p"]


async def test_sent_twice_it_does_nothing_more(link: Link, keys: Keys) -> None:
    await seed(link, keys, paused=["a"], meta={"paused": 1})
    assert await resume(link, keys, now=7) is True
    before = await dump(link)
    assert await resume(link, keys, now=8) is False
    assert await dump(link) == before


async def test_jobs_in_both_lists_all_run_the_paused_ones_first(link: Link, keys: Keys) -> None:
    paused, wait = [f"a{n:04}" for n in range(1_500)], [f"b{n:04}" for n in range(2_500)]
    await seed(link, keys, paused=paused, wait=wait, meta={"paused": 1, "version": "x"})
    assert await resume(link, keys, now=7) is True
    found = await census(link, keys)
    assert (found["wait"], found["paused"]) == (paused + wait, [])
    assert await events(link, keys) == ["resumed"]


async def test_a_list_that_was_left_aside_is_taken_in_without_an_event(link: Link, keys: Keys) -> None:
    await seed(link, keys, paused=["a"], wait=["b"])
    assert await resume(link, keys, now=7) is False
    assert (await census(link, keys))["wait"] == ["a", "b"]
    assert await link.call("ZSCORE", keys.marker, "0") == b"0"
    assert await events(link, keys) == []


@pytest.mark.parametrize(
    ("meta", "paused", "marker"),
    [({}, [], {"1": 90}), ({"concurrency": 1}, ["a"], {"1": 90}), ({}, ["a"], {"0": 0})],
)
async def test_a_resume_wakes_a_worker_or_marks_what_is_due(
    link: Link, keys: Keys, meta: dict[str, int], paused: list[str], marker: dict[str, int]
) -> None:
    await seed(link, keys, delayed={"d": 90}, active={"x": Held()}, paused=paused, meta=meta | {"paused": 1})
    await resume(link, keys, now=7)
    assert (await snapshot(link, keys))["marker"] == marker


async def test_a_queue_that_is_not_paused_gets_its_marker_back(link: Link, keys: Keys) -> None:
    """BullMQ 6 adds to `wait` in a pause, and a resume by BullMQ 5 wakes nobody for it."""
    await seed(link, keys, wait=["a"])
    assert await resume(link, keys, now=7) is False
    found = await snapshot(link, keys)
    assert (found["wait"], found["marker"], found.get("events")) == (["a"], {"0": 0}, None)


async def test_a_million_jobs_resume_in_a_moment(link: Link, keys: Keys) -> None:
    """One move, whatever the length: the list is the same object before and after."""
    await seed(link, keys, wait=[f"j{n}" for n in range(3_000)])
    await link.call("CONFIG", "RESETSTAT")
    await pause(link, keys, now=7)
    await resume(link, keys, now=8)
    stats = (await link.call("INFO", "commandstats")).decode()
    assert "cmdstat_rename:calls=2" in stats
    assert "cmdstat_lpush" not in stats
    assert "cmdstat_rpush" not in stats
