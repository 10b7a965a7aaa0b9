"""list_jobs: the jobs of one state, in their order."""

from __future__ import annotations

from typing import Any

import pytest

from engine.connection import Link
from engine.errors import InvalidOption
from engine.model.keys import Keys
from engine.scripts.claim import claim
from engine.scripts.list_jobs import list_jobs
from tests.support.keyspace import dump
from tests.support.seeding import Held, seed


async def ids(link: Link, keys: Keys, **asked: Any) -> list[str]:
    return [job.id for job in await list_jobs(link, keys, **asked)]


PLACES: dict[str, dict[str, Any]] = {
    "waiting": {"wait": ["a", "b", "c"]},
    "paused": {"paused": ["a", "b", "c"]},
    "active": {"active": {"a": Held(), "b": Held(), "c": Held()}},
    "prioritized": {"prioritized": {"a": 1, "b": 1, "c": 2}},
    "delayed": {"delayed": {"a": 7, "b": 7, "c": 8}},
    "waiting-children": {"waiting_children": {"a": 1, "b": 2, "c": 3}},
    "completed": {"completed": {"a": 1, "b": 2, "c": 3}},
    "failed": {"failed": {"a": 1, "b": 2, "c": 3}},
}


@pytest.mark.parametrize("state", PLACES)
async def test_a_page_runs_from_the_next_or_oldest_or_back(link: Link, keys: Keys, state: str) -> None:
    await seed(link, keys, **PLACES[state])
    before = await dump(link)
    assert await ids(link, keys, state=state) == ["a", "b", "c"]
    assert await ids(link, keys, state=state, ascending=False) == ["c", "b", "a"]
    assert await ids(link, keys, state=state, start=1, end=1) == ["b"]
    assert await ids(link, keys, state=state, start=0, end=1) == ["a", "b"]
    assert await ids(link, keys, state=state, start=0, end=0, ascending=False) == ["c"]
    assert await ids(link, keys, state=state, start=1, end=9) == ["b", "c"]
    assert await ids(link, keys, state=state, start=3) == []
    assert await ids(link, keys, state=state, start=2, end=1) == []
    [first, *_] = await list_jobs(link, keys, state=state)
    assert first.state == ("waiting" if state == "paused" else state)
    assert await dump(link) == before


async def test_waiting_jobs_of_both_lists_are_one_page(link: Link, keys: Keys) -> None:
    await seed(link, keys, paused=["a", "b"], wait=["c", "d"])
    assert await ids(link, keys, state="waiting") == ["a", "b", "c", "d"]
    assert await ids(link, keys, state="waiting", start=1, end=2) == ["b", "c"]
    assert await ids(link, keys, state="waiting", start=3) == ["d"]
    assert await ids(link, keys, state="waiting", start=1, end=2, ascending=False) == ["c", "b"]
    assert await ids(link, keys, state="waiting", start=2, ascending=False) == ["b", "a"]


async def test_the_first_of_a_page_is_the_first_to_run(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"], prioritized={"p": 2, "q": 1})
    shown = await ids(link, keys, state="waiting") + await ids(link, keys, state="prioritized")
    taken = await claim(link, keys, token="t", lock_ms=9_000, worker="w", count=9, now=7)
    assert [job.id for job in taken.jobs] == shown


async def test_a_page_has_a_thousand_jobs_at_most(link: Link, keys: Keys) -> None:
    await seed(link, keys, completed={f"j{n:04}": n for n in range(1_200)})
    assert await ids(link, keys, state="completed") == [f"j{n:04}" for n in range(1_000)]
    assert len(await ids(link, keys, state="completed", start=1_000, end=5_000)) == 200


@pytest.mark.usefixtures("damaged")
async def test_an_id_without_a_hash_is_shown_by_its_id(link: Link, keys: Keys) -> None:
    await link.call("LPUSH", keys.wait, "ghost")
    [ghost] = await list_jobs(link, keys, state="waiting")
    assert (ghost.id, ghost.name, ghost.state) == ("ghost", "", "waiting")


async def test_an_unknown_state_is_an_error(link: Link, keys: Keys) -> None:
    with pytest.raises(InvalidOption, match="'done' is no state"):
        await list_jobs(link, keys, state="done")
    with pytest.raises(InvalidOption, match="start"):
        await list_jobs(link, keys, state="failed", start=-1)
