"""update_data: other data for a stored job."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import JobNotFound, LockLost, PayloadTooLarge
from engine.model.keys import Keys
from engine.scripts.update_data import update_data
from tests.support.keyspace import dump, job
from tests.support.seeding import Held, claimed, seed


async def test_data_is_replaced_by_a_producer_and_by_the_claim_that_holds_the_job(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"], active={"b": Held()})
    await update_data(link, keys, id="a", data=b'{"n":1}')
    await update_data(link, keys, id="b", data=b'{"n":[]}', claim=claimed("b"))
    assert ((await job(link, keys, "a"))["data"], (await job(link, keys, "b"))["data"]) == ('{"n":1}', '{"n":[]}')


@pytest.mark.parametrize("id", ["gone", "meta", "wait", "a:lock"])
async def test_what_is_no_job_is_not_found_and_not_touched(link: Link, keys: Keys, id: str) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, meta={"paused": 1})
    before = await dump(link)
    with pytest.raises(JobNotFound):
        await update_data(link, keys, id=id, data=b"1")
    assert await dump(link) == before


async def test_a_claim_that_lost_the_job_writes_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held("t2", fence=2)}, failed={"f": 3})
    before = await dump(link)
    for id, token in (("a", "t1"), ("f", "done")):
        with pytest.raises(LockLost):
            await update_data(link, keys, id=id, data=b"1", claim=claimed(id, token))
    assert await dump(link) == before


async def test_data_over_the_cap_is_refused_by_the_script(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"])
    await update_data(link, keys, id="a", data=b"123", cap=3)
    with pytest.raises(PayloadTooLarge, match="4 bytes"):
        await update_data(link, keys, id="a", data=b"1234", cap=3)
    assert (await job(link, keys, "a"))["data"] == "123"
