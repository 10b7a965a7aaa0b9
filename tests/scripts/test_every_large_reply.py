"""Reads of large jobs: a reply has little more than 1 MiB, and further calls bring the rest."""

from __future__ import annotations

import re

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.find_dead_letters import LetterQuery, find_dead_letters
from engine.scripts.get_jobs import get_jobs
from engine.scripts.get_results import get_results
from engine.scripts.list_jobs import list_jobs
from engine.scripts.write_dead_letters import write_dead_letters
from tests.support.seeding import seed

IDS = ["a", "b", "c", "d", "e"]
LARGE = "x" * 700_000


async def _calls(link: Link) -> int:
    """Calls of scripts since the statistics were reset; one that the server does not know yet counts as two."""
    stats = (await link.call("INFO", "commandstats")).decode()
    return sum(map(int, re.findall(r"cmdstat_eval(?:sha)?:calls=(\d+)", stats)))


async def test_jobs_are_read_in_replies_of_a_mebibyte(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=IDS, jobs={id: {"data": LARGE} for id in IDS})
    await get_jobs(link, keys, ["warm"])
    await link.call("CONFIG", "RESETSTAT")
    found = await get_jobs(link, keys, ["none", *IDS, "none"])
    assert [job and (job.id, len(job.data)) for job in found] == [None, *((id, len(LARGE)) for id in IDS), None]
    assert await _calls(link) == 3


@pytest.mark.parametrize("ascending", [True, False])
async def test_a_page_is_read_in_replies_of_a_mebibyte(link: Link, keys: Keys, ascending: bool) -> None:
    await seed(link, keys, wait=IDS, jobs={id: {"data": LARGE} for id in IDS})
    await list_jobs(link, keys, state="failed")
    await link.call("CONFIG", "RESETSTAT")
    found = await list_jobs(link, keys, state="waiting", start=1, end=3, ascending=ascending)
    assert [job.id for job in found] == (IDS[1:4] if ascending else IDS[3:0:-1])
    assert await _calls(link) == 2


async def test_results_are_read_in_replies_of_a_mebibyte(link: Link, keys: Keys) -> None:
    await seed(link, keys, completed=dict.fromkeys(IDS, 1), jobs={id: {"returnvalue": LARGE} for id in IDS})
    await get_results(link, keys, ["warm"])
    await link.call("CONFIG", "RESETSTAT")
    found = await get_results(link, keys, [*IDS, "none"])
    assert [(one.end, len(one.value)) for one in found] == [("completed", len(LARGE))] * 5 + [("missing", 4)]
    assert await _calls(link) == 3


async def test_letters_are_read_in_replies_of_a_mebibyte(link: Link, keys: Keys) -> None:
    await seed(link, keys, failed=dict.fromkeys(IDS, 3), jobs={id: {"data": LARGE} for id in IDS})
    assert await write_dead_letters(link, keys, [(id, "E", "") for id in IDS]) == 5
    found: list[str] = []
    pages, cursor = 0, None
    while pages == 0 or cursor is not None:
        page = await find_dead_letters(link, keys, LetterQuery(), what="records", cursor=cursor, scan=100, most=100)
        found += [id for id, _ in page.records]
        assert len(page.records) <= 2
        pages, cursor = pages + 1, page.cursor
    assert (found, pages) == (IDS, 3)
