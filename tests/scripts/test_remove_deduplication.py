"""remove_deduplication: an id of deduplication that is owned becomes free."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.scripts.remove_deduplication import remove_deduplication
from tests.support.keyspace import dump, snapshot
from tests.support.seeding import Held, seed


async def test_it_is_free_and_sent_again_it_was(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"], jobs={"a": {"deid": "d"}})
    await link.call("SET", keys.deduplication("d"), "a")
    assert await remove_deduplication(link, keys, deduplication="d", now=7)
    before = await dump(link)
    assert keys.deduplication("d") not in before
    assert not await remove_deduplication(link, keys, deduplication="d", now=8)
    assert await dump(link) == before


async def test_what_was_kept_becomes_a_job_that_owns_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, jobs={"a": {"deid": "d"}})
    await link.call("SET", keys.deduplication("d"), "a")
    await link.call("HSET", keys.jobs + "dn:d", "name", "n", "data", "1", "opts", '{"priority":2}', "jid", "b")
    assert await remove_deduplication(link, keys, deduplication="d", now=7)
    found = await snapshot(link, keys)
    assert found["prioritized"] == {"b": 2 * 2**32 + 1}
    assert {name for name in found if name[:3] in ("de:", "dn:")} == set()
    assert (found["events"], found["marker"]) == (["added b name=n", "waiting b"], {"0": 0})


async def test_a_job_can_free_only_what_is_its_own(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"])
    await link.call("SET", keys.deduplication("d"), "a")
    before = await dump(link)
    assert not await remove_deduplication(link, keys, deduplication="d", owner="b", now=7)
    assert await dump(link) == before
    assert await remove_deduplication(link, keys, deduplication="d", owner="a", now=7)


@pytest.mark.usefixtures("damaged")
async def test_a_foreign_key_is_an_error_and_stays(link: Link, keys: Keys) -> None:
    await link.call("LPUSH", keys.deduplication("d"), "foreign")
    before = await dump(link)
    with pytest.raises(ServerError):
        await remove_deduplication(link, keys, deduplication="d", now=7)
    assert await dump(link) == before
