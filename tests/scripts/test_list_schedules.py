"""list_schedules: stored schedules, by Corral or BullMQ."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.list_schedules import StoredSchedule, list_schedules
from tests.support.keyspace import dump
from tests.support.schedules import seed_schedule
from tests.support.seeding import seed

FIELDS = {"name": "n", "every": "100", "offset": "0", "data": '{"a":1}', "ic": "3"}
OF_RUN = ("{}", "{}")
"""Data and options of the run, which has both where the hash has no options."""


async def test_schedules_are_shown_by_id_and_by_page(link: Link, keys: Keys) -> None:
    for id, due in (("late", 300), ("soon", 100), ("later", 200)):
        await seed_schedule(link, keys, due, id=id)
    before = await dump(link)
    found = await list_schedules(link, keys, ids=["soon", "none", "late"], now=7)
    assert found.now == 7
    soon, late = StoredSchedule("soon", 100, FIELDS, *OF_RUN), StoredSchedule("late", 300, FIELDS, *OF_RUN)
    assert found.schedules == [soon, None, late]
    assert (soon.data, soon.options) == ('{"a":1}', b"{}"), "its own data come first"
    for page, ids in (
        ((0, 1), ["soon", "later"]),
        ((2, 9), ["late"]),
        ((3, 9), []),
        ((0, -1), ["soon", "later", "late"]),
    ):
        shown = (await list_schedules(link, keys, page=page, now=7)).schedules
        assert [one.id for one in shown if one is not None] == ids
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
async def test_a_schedule_of_which_half_is_there_or_none(link: Link, keys: Keys) -> None:
    await link.call("ZADD", keys.repeat, 5, "placed", 6, "foreign")
    await link.call("HSET", keys.job("repeat:hashed"), "name", "n")
    await link.call("SET", keys.job("repeat:foreign"), "x")
    found = await list_schedules(link, keys, ids=["placed", "hashed", "foreign"], now=7)
    assert found.schedules == [StoredSchedule("placed", 5, {}), None, None]


async def test_what_a_schedule_lacks_its_next_run_has(link: Link, keys: Keys) -> None:
    """The run is found by the schedule's id, or, as BullMQ 4 names it, by its time and the schedule that it names."""
    of_run = {"data": "[1]", "opts": '{"attempts":4}'}
    await seed_schedule(link, keys, 100, id="early", job=of_run)
    await link.call("HDEL", keys.job("repeat:early"), "ic", "data")
    await seed_schedule(link, keys, 200, id="full", fields={"opts": '{"attempts":2}'}, job=of_run)
    old = "tick:::UTC:0 9 * * *"
    await link.call("ZADD", keys.repeat, 300, old)
    runs = {f"repeat:{sum}:300": 300 for sum in ("c0ffee", "facade")}
    await seed(link, keys, delayed=runs, jobs={"repeat:facade:300": {"rjk": old, **of_run}})
    before = await dump(link)
    found = (await list_schedules(link, keys, page=(0, -1), now=7)).schedules
    assert [(one.id, one.data, one.options) for one in found if one is not None] == [
        ("early", "[1]", b'{"attempts":4}'),
        ("full", '{"a":1}', b'{"attempts":2}'),
        (old, "[1]", b'{"attempts":4}'),
    ]
    assert found[2] is not None
    assert found[2].fields == {"name": "tick", "tz": "UTC", "pattern": "0 9 * * *"}
    for run, id in (("repeat:facade:300", old), ("repeat:early:100", "early")):
        (its,) = (await list_schedules(link, keys, run=run, now=7)).schedules
        assert its is not None
        assert its.id == id
    assert (await list_schedules(link, keys, run="repeat:c0ffee:300", now=7)).schedules == [None]
    assert await dump(link) == before


async def test_runs_of_many_schedules_are_found_at_one_time(link: Link, keys: Keys) -> None:
    olds = {f"tick:{n}::UTC:0 0 * * *": f"repeat:{n:032x}:86400000" for n in range(100)}
    jobs = {run: {"rjk": old, "data": f'"{old}"'} for old, run in olds.items()}
    await seed(link, keys, delayed=dict.fromkeys(olds.values(), 86_400_000), jobs=jobs)
    await link.call("ZADD", keys.repeat, *[part for old in olds for part in (86_400_000, old)])
    found = (await list_schedules(link, keys, page=(0, -1), now=7)).schedules
    assert {one.id: one.data for one in found if one is not None} == {old: f'"{old}"' for old in olds}


async def test_a_count_begins_anew_with_each_upsert(link: Link, keys: Keys) -> None:
    assert StoredSchedule("s", 1, {"ic": "9", "before": "7"}).count == 2
    assert StoredSchedule("s", 1, {"ic": "9"}).count == 9
    assert StoredSchedule("s", 1, {"ic": "x"}).count == 1
