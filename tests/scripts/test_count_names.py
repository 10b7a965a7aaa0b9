"""count_names: jobs of each name in a page of one state."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.count_names import count_names
from tests.support.keyspace import dump
from tests.support.seeding import seed


async def test_it_counts_a_page_of_any_state_in_the_order_in_which_jobs_run(link: Link, keys: Keys) -> None:
    named = {"w1": "sms", "p1": "sms", "p2": "email", "d1": "email", "f1": "export"}
    await seed(
        link,
        keys,
        wait=["w1", "w2"],
        paused=["p1", "p2"],
        delayed={"d1": 5},
        failed={"f1": 1},
        jobs={id: {"name": name} for id, name in named.items()},
        meta={"paused": 1},
    )
    before = await dump(link)
    assert await count_names(link, keys, state="waiting", start=0, count=3) == (3, {"sms": 2, "email": 1})
    assert await count_names(link, keys, state="waiting", start=3, count=3) == (1, {"n": 1})
    assert await count_names(link, keys, state="delayed", start=0, count=3) == (1, {"email": 1})
    assert await count_names(link, keys, state="failed", start=0, count=3) == (1, {"export": 1})
    assert await count_names(link, keys, state="completed", start=0, count=3) == (0, {})
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
async def test_an_id_without_a_job_and_a_foreign_key_count_under_no_name(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b", "c"])
    await link.call("DEL", keys.job("a"), keys.job("b"))
    await link.call("SET", keys.job("b"), "foreign")
    assert await count_names(link, keys, state="waiting", start=0, count=9) == (3, {"": 2, "n": 1})
