"""schedules: what is stored of schedules, whoever stored it."""

from __future__ import annotations

import pytest

from engine.keys import Keys
from engine.link import Link
from engine.scripts.schedules import StoredSchedule, schedules
from tests.support.queues import dump
from tests.support.schedules import seed_schedule

FIELDS = {"name": "n", "every": "100", "offset": "0", "data": '{"a":1}', "ic": "3"}


async def test_schedules_are_shown_by_id_and_by_page(link: Link, keys: Keys) -> None:
    for id, due in (("late", 300), ("soon", 100), ("later", 200)):
        await seed_schedule(link, keys, due, id=id)
    before = await dump(link)
    found = await schedules(link, keys, ids=["soon", "none", "late"], now=7)
    assert found.now == 7
    assert found.schedules == [StoredSchedule("soon", 100, FIELDS), None, StoredSchedule("late", 300, FIELDS)]
    for page, ids in (
        ((0, 1), ["soon", "later"]),
        ((2, 9), ["late"]),
        ((3, 9), []),
        ((0, -1), ["soon", "later", "late"]),
    ):
        shown = (await schedules(link, keys, page=page, now=7)).schedules
        assert [one.id for one in shown if one is not None] == ids
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
async def test_what_is_half_there_or_foreign_is_none(link: Link, keys: Keys) -> None:
    await link.call("ZADD", keys.repeat, 5, "placed", 6, "foreign")
    await link.call("HSET", keys.job("repeat:hashed"), "name", "n")
    await link.call("SET", keys.job("repeat:foreign"), "x")
    found = await schedules(link, keys, ids=["placed", "hashed", "foreign"], now=7)
    assert found.schedules == [None, None, None]


async def test_a_count_begins_anew_with_each_upsert(link: Link, keys: Keys) -> None:
    assert StoredSchedule("s", 1, {"ic": "9", "before": "7"}).count == 2
    assert StoredSchedule("s", 1, {"ic": "9"}).count == 9
    assert StoredSchedule("s", 1, {"ic": "x"}).count == 1
    assert StoredSchedule("s", 1, {}).legacy
