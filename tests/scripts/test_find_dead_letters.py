"""find_dead_letters: dead letters by filter, found in pages."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.find_dead_letters import LetterQuery, find_dead_letters
from engine.scripts.replay import replay
from tests.support.dead_letters import Death, fail_jobs

DEATHS = {
    f"j{n}": Death(
        at=10 + n // 3,
        type=("sms", "email")[n % 2],
        error=("KeyError", "OSError", "ValueError")[n % 3],
        tenant=("", "t1", "t2", "t3")[n % 4],
        reason=f"number {n:02} 100%",
    )
    for n in range(24)
}
"""Three in each millisecond from 10 to 17."""


def wanted(sought: LetterQuery) -> list[str]:
    found = [
        id
        for id, death in DEATHS.items()
        if sought.type in ("", death.type)
        and sought.error in ("", death.error)
        and sought.tenant in ("", death.tenant)
        and sought.text in death.reason
        and (sought.since or 0) <= death.at < (sought.until or 99)
    ]
    return sorted(found, key=lambda id: (DEATHS[id].at, id))


SOUGHT = [
    LetterQuery(type=type, error=error, tenant=tenant, text=text, since=since, until=until)
    for type, error, tenant, text, (since, until) in itertools.product(
        ["", "sms", "none"], ["", "OSError"], ["", "t1"], ["", "er 1"], [(None, None), (11, None), (None, 15), (12, 14)]
    )
]


async def found_by(link: Link, keys: Keys, sought: LetterQuery, *, newest: bool, scan: int, most: int) -> list[str]:
    ids: list[str] = []
    cursor: Any = None
    while True:
        slice = await find_dead_letters(
            link, keys, sought, what="ids", newest=newest, cursor=cursor, scan=scan, most=most, now=50
        )
        assert slice.count == len(slice.ids) <= most
        ids += [id for id, _ in slice.ids]
        cursor = slice.cursor
        if cursor is None:
            return ids


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize(("scan", "most"), [(1, 1), (2, 5), (7, 2), (100, 100)])
async def test_every_filter_finds_what_it_names_in_order_whatever_the_slices(
    link: Link, keys: Keys, newest: bool, scan: int, most: int
) -> None:
    await fail_jobs(link, keys, DEATHS)
    for sought in SOUGHT:
        want = wanted(sought)
        assert await found_by(link, keys, sought, newest=newest, scan=scan, most=most) == (
            want[::-1] if newest else want
        ), sought


async def test_they_are_counted(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, DEATHS)
    for sought in SOUGHT:
        counted, cursor = 0, None
        while True:
            slice = await find_dead_letters(link, keys, sought, what="count", cursor=cursor, scan=5, most=5, now=50)
            counted, cursor = counted + slice.count, slice.cursor
            if cursor is None:
                break
        assert counted == len(wanted(sought)), sought


async def test_filters_together_are_counted_in_one_call(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, DEATHS)
    for sought in SOUGHT:
        if not sought.text:
            slice = await find_dead_letters(link, keys, sought, what="count", scan=1, most=1, now=50)
            assert (slice.count, slice.cursor) == (len(wanted(sought)), None), sought


async def test_values_that_look_like_others_end_are_kept_apart(link: Link, keys: Keys) -> None:
    deaths = {
        "a": Death(1, type="x:1:y", error="z", tenant="t"),
        "b": Death(2, type="x", error="y:1:z", tenant="t"),
        "c": Death(3, type="x", error="y", tenant="1:z"),
    }
    await fail_jobs(link, keys, deaths)
    for id, death in deaths.items():
        sought = LetterQuery(type=death.type, error=death.error, tenant=death.tenant)
        assert await found_by(link, keys, sought, newest=False, scan=9, most=9) == [id]


async def test_a_walk_goes_on_after_its_cursors_letter_is_deleted(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, DEATHS)
    left = set(DEATHS)
    cursor: Any = None
    for _ in range(100):
        slice = await find_dead_letters(link, keys, LetterQuery(), what="ids", cursor=cursor, scan=4, most=4, now=50)
        await replay(link, keys, [(id, at, None) for id, at in slice.ids], by="x", now=60)
        left -= {id for id, _ in slice.ids}
        cursor = slice.cursor
        if cursor is None:
            break
    assert left == set()


async def test_replayed_ones_are_found_apart(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, DEATHS)
    await replay(link, keys, [("j3", None, None), ("j4", None, None)], by="x", now=60)
    for sought, ids in (
        (LetterQuery(replayed=True), ["j3", "j4"]),
        (LetterQuery(replayed=True, type="sms"), ["j4"]),
        (LetterQuery(replayed=True, since=12), []),
    ):
        assert await found_by(link, keys, sought, newest=False, scan=9, most=9) == ids
    assert len(await found_by(link, keys, LetterQuery(), newest=False, scan=9, most=9)) == 22


async def test_records_come_whole(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(3, reason='„ä“ 🚀 \x1b[31m"\n')}, jobs={"a": {"data": b"\xff\x00"}})
    (id, record), *rest = (
        await find_dead_letters(link, keys, LetterQuery(), what="records", scan=9, most=9, now=50)
    ).records
    assert (id, rest) == ("a", [])
    assert record[b"data"] == b"\xff\x00"
    assert record[b"failedReason"].decode() == '„ä“ 🚀 \x1b[31m"\n'
