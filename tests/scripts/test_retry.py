"""retry: from the hands of a worker back into the line at once."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import Retrying
from engine.scripting.rows import Refusal
from engine.scripts.retry import retry
from tests.support.keyspace import census, dump, snapshot
from tests.support.seeding import Held, claimed, seed


async def test_a_retried_job_is_last_and_has_used_an_attempt(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, stalled=["a"], jobs={"a": {"opts": '{"attempts":2}'}})
    assert await retry(link, keys, [(claimed("a"), Retrying(0, "boom", b'["x"]'), False)], now=7) == {}
    found = await snapshot(link, keys)
    assert found["job:a"] == {
        "name": "n", "data": "{}", "opts": '{"attempts":2}', "timestamp": "0", "delay": "0", "priority": "0",
        "processedOn": "1", "ats": "1", "pb": "w", "failedReason": "boom", "stacktrace": '["x"]', "atm": "1",
    }  # fmt: skip
    assert {name: value for name, value in found.items() if not name.startswith("job:")} == {
        "wait": ["w", "a"],
        "marker": {"0": 0},
        "events": ["waiting a prev=active"],
    }


async def test_lifo_goes_to_the_front_and_priorities_to_the_end_of_theirs(link: Link, keys: Keys) -> None:
    held = {id: Held() for id in ("a", "b", "p")}
    await seed(link, keys, wait=["w"], prioritized={"q": 2, "z": 3}, active=held, jobs={"p": {"priority": 2}})
    rows = [
        (claimed("a"), Retrying(0, "x"), True),
        (claimed("b"), Retrying(0, "x"), False),
        (claimed("p"), Retrying(0, "x"), True),
    ]
    await retry(link, keys, rows, now=7)
    found = await census(link, keys)
    assert (found["wait"], found["prioritized"]) == (["a", "w", "b"], ["q", "p", "z"])


async def test_sent_again_the_claim_is_lost(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    await retry(link, keys, [(claimed("a"), Retrying(0, "x"), False)], now=7)
    before = await dump(link)
    assert await retry(link, keys, [(claimed("a"), Retrying(0, "x"), False)], now=7) == {0: Refusal.LOST}
    assert await dump(link) == before


@pytest.mark.parametrize(
    ("meta", "list_", "woken"),
    [({"paused": 1}, "paused", False), ({"concurrency": 1}, "wait", True), ({"concurrency": 2}, "wait", True)],
)
async def test_a_worker_is_woken_if_it_may_claim(
    link: Link, keys: Keys, meta: dict[str, int], list_: str, woken: bool
) -> None:
    await seed(link, keys, active={"a": Held()}, meta=meta)
    await retry(link, keys, [(claimed("a"), Retrying(0, "x"), False)], now=7)
    found = await snapshot(link, keys)
    assert found[list_] == ["a"]
    assert ("marker" in found) is woken


async def test_nobody_is_woken_while_more_are_active_than_may_be(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held(), "c": Held()}, meta={"concurrency": 1})
    await retry(link, keys, [(claimed("a"), Retrying(0, "x"), False)], now=7)
    assert "marker" not in await snapshot(link, keys)


async def test_a_thousand_jobs_in_one_call_keep_their_order(link: Link, keys: Keys) -> None:
    ids = [f"j{n}" for n in range(1_000)]
    await seed(link, keys, active={id: Held() for id in ids})
    assert await retry(link, keys, [(claimed(id), Retrying(0, "ä🚀"), False) for id in ids], now=7) == {}
    assert (await census(link, keys))["wait"] == ids
