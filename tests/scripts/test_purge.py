"""purge: dead letters go, jobs stay."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.scripts.purge import purge
from engine.scripts.replay import replay
from tests.support.dead_letters import ALL, Death, fail_jobs, stored_dead_letters
from tests.support.keyspace import dump


async def test_a_purged_letter_leaves_nothing_and_its_job_stays(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(1, tenant="t"), "b": Death(2)}, keep=ALL)
    await replay(link, keys, [("b", None, None)], by="x", now=3)
    before = await dump(link)
    assert await purge(link, keys, [("a", 1), ("b", None), ("gone", None)], now=5) == 2
    assert await stored_dead_letters(link, keys) == {}
    kept = {name: value for name, value in before.items() if ":corral:" not in name}
    assert await dump(link) == kept
    assert await purge(link, keys, [("a", 1), ("b", None)], now=6) == 0
    assert await dump(link) == kept


async def test_a_letter_of_a_later_failure_is_not_purged(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(4)})
    assert await purge(link, keys, [("a", 3)], now=5) == 0
    assert (await stored_dead_letters(link, keys))["open"] == {"a": 4}


@pytest.mark.usefixtures("damaged")
async def test_an_index_of_a_wrong_type_writes_nothing(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(1)})
    await link.call("SET", keys.jobs + "corral:dead:types", "foreign")
    before = await dump(link)
    with pytest.raises(ServerError):
        await purge(link, keys, [("a", 1)], now=5)
    assert await dump(link) == before
