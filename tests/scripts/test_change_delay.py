"""change_delay: a delayed job is due at another time."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import JobNotFound, WrongState
from engine.model.keys import Keys
from engine.scripts.change_delay import change_delay
from tests.support.keyspace import dump, snapshot
from tests.support.seeding import seed


async def test_the_new_delay_counts_from_now_and_keeps_the_order_of_adding(link: Link, keys: Keys) -> None:
    await seed(link, keys, delayed={"a": 500, "b": 107, "c": 900})
    await change_delay(link, keys, id="a", delay_ms=100, now=7)
    found = await snapshot(link, keys)
    assert found["delayed"] == {"b": 107 * 4096, "a": 107 * 4096 + 1, "c": 900 * 4096}
    assert (found["job:a"]["delay"], found["events"], found["marker"]) == ("100", ["delayed a delay=107"], {"1": 107})


async def test_times_of_today_keep_every_digit(link: Link, keys: Keys) -> None:
    await seed(link, keys, delayed={"a": 500})
    await change_delay(link, keys, id="a", delay_ms=60_000, now=1_795_485_221_072)
    found = await snapshot(link, keys)
    assert (found["delayed"], found["marker"]) == ({"a": 7_354_307_711_270_912}, {"1": 1_795_485_281_072})
    assert found["events"] == ["delayed a delay=1795485281072"]


async def test_a_job_that_is_not_delayed_is_left_alone(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"], delayed={"d": 9})
    before = await dump(link)
    with pytest.raises(WrongState):
        await change_delay(link, keys, id="a", delay_ms=1, now=7)
    with pytest.raises(JobNotFound):
        await change_delay(link, keys, id="gone", delay_ms=1, now=7)
    assert await dump(link) == before
