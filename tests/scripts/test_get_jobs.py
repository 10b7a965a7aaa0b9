"""get_jobs: stored jobs with their states."""

from __future__ import annotations

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.model.records import Snapshot
from engine.scripts.get_jobs import get_jobs
from tests.support.keyspace import dump
from tests.support.seeding import Held, seed


async def test_a_job_is_shown_with_all_its_fields(link: Link, keys: Keys) -> None:
    fields: dict[str, Argument] = {
        "name": "mail", "data": '{"x":[]}', "opts": '{"attempts":3}', "timestamp": 5, "delay": 6, "priority": 7,
        "atm": 1, "ats": 2, "stc": 1, "progress": "50", "failedReason": "why", "stacktrace": '["s"]',
        "processedOn": 8, "pb": "w9", "parentKey": "bull:p:1", "deid": "d1", "rjk": "daily",
    }  # fmt: skip
    await seed(link, keys, active={"a": Held()}, jobs={"a": fields})
    before = await dump(link)
    assert await get_jobs(link, keys, ["a"]) == [
        Snapshot(
            id="a", name="mail", data=b'{"x":[]}', opts=b'{"attempts":3}', timestamp=5, delay=6, priority=7,
            attempts_made=1, attempts_started=2, stalls=1, progress=b"50", return_value=b"", failed_reason="why",
            stacktrace=b'["s"]', processed_on=8, finished_on=None, processed_by="w9", parent_key="bull:p:1",
            deduplication_id="d1", scheduler_id="daily", state="active",
        )
    ]  # fmt: skip
    assert await dump(link) == before


async def test_jobs_come_in_the_order_of_the_ids_and_none_stands_for_no_job(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], completed={"c": 9}, meta={"version": "x"})
    first, *none, last = await get_jobs(link, keys, ["c", "gone", "meta", "wait", "w"])
    assert none == [None, None, None]
    assert first is not None
    assert last is not None
    assert (first.id, first.state, first.return_value, first.finished_on) == ("c", "completed", b"1", 9)
    assert (last.id, last.state, last.attempts_made) == ("w", "waiting", 0)


async def test_a_foreign_job_with_wild_fields_is_still_shown(link: Link, keys: Keys) -> None:
    await seed(
        link, keys, wait=["ä🚀"], jobs={"ä🚀": {"name": b"\xff", "data": b"\x00{", "delay": "soon", "timestamp": "1e3"}}
    )
    [shown] = await get_jobs(link, keys, ["ä🚀"])
    assert shown is not None
    assert (shown.id, shown.name, shown.data, shown.delay, shown.timestamp) == ("ä🚀", "�", b"\x00{", 0, 0)
