"""get_state: the states of jobs."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.get_state import get_state
from tests.support.keyspace import dump
from tests.support.seeding import Held, seed


async def test_every_place_has_its_word(link: Link, keys: Keys) -> None:
    await seed(
        link, keys, wait=["w"], paused=["v"], prioritized={"p": 2}, delayed={"d": 9}, waiting_children={"c": 1},
        active={"a": Held(), "dead": Held(lock_ms=None)}, completed={"ok": 1}, failed={"no": 1},
    )  # fmt: skip
    before = await dump(link)
    words = {
        "w": "waiting", "v": "waiting", "p": "prioritized", "d": "delayed", "c": "waiting-children", "a": "active",
        "dead": "active", "ok": "completed", "no": "failed", "gone": "unknown",
    }  # fmt: skip
    assert await get_state(link, keys, list(words)) == list(words.values())
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
async def test_a_hash_that_nothing_names_is_in_no_state(link: Link, keys: Keys) -> None:
    await seed(link, keys, jobs={"orphan": {}})
    assert await get_state(link, keys, ["orphan"]) == ["unknown"]
