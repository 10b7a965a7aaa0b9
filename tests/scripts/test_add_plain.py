"""add_plain: the fast form of add writes what add writes, for jobs that need nothing special."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from engine.connection import Link
from engine.errors import PayloadTooLarge
from engine.model.keys import Keys
from engine.model.options import Deduplication
from engine.model.records import NewRow
from engine.scripting.rows import Added
from engine.scripts.add import add
from engine.scripts.add_plain import add_plain, is_plain
from tests.support.keyspace import dump, snapshot
from tests.support.seeding import Held, seed

ROW = NewRow("", "n", b"{}", b"{}")
QUEUES: dict[str, list[dict[str, Any]]] = {
    "wait": [{}, {"wait": ["w1", "w2"]}],
    "paused": [{}, {"meta": {"paused": 1}}, {"meta": {"paused": 1}, "paused": ["p1"]}],
    "active": [{}, {"active": {"x": Held()}, "meta": {"concurrency": 1}}, {"active": {"x": Held()}, "meta": {"concurrency": 2}}],
    "parents": [{}, {"waiting_children": {"12": 1, "3": 2, "7-a": 3}}],
    "events": [{}, {"meta": {"events": "results"}}, {"meta": {"events": "none"}}, {"meta": {"opts.maxLenEvents": 0}}],
}  # fmt: skip
"""What may be there before: one choice of each."""


async def test_the_data_is_that_of_add_in_every_queue(link: Link) -> None:
    rows = [NewRow("", f"n{n}", f"[{n}]".encode(), f'{{"attempts":{n}}}'.encode()) for n in range(3)]
    for number, parts in enumerate(itertools.product(*QUEUES.values())):
        left, right = Keys("q", f"plain{number}"), Keys("q", f"full{number}")
        for keys in (left, right):
            await seed(link, keys, **_merged(parts))
        for sent in (rows[:1], rows[1:], rows):
            assert await add_plain(link, left, sent, now=7) == await add(link, right, sent, now=7)
        assert await _written(link, left) == await _written(link, right), parts


def _merged(parts: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    for part in parts:
        meta |= part.get("meta", {})
    merged: dict[str, Any] = {name: value for part in parts for name, value in part.items()}
    return {**merged, "meta": meta}


async def _written(link: Link, keys: Keys) -> tuple[dict[str, Any], Any]:
    """The queue's keys, and its events without their ids, which are times."""
    space = await dump(link, keys.jobs)
    space.pop(keys.events, None)
    entries = await link.call("XRANGE", keys.events, "-", "+")
    return {name.removeprefix(keys.jobs): value for name, value in space.items()}, [fields for _, fields in entries]


async def test_the_first_jobs_of_a_queue(link: Link, keys: Keys) -> None:
    rows = [NewRow("", "mail", b'{"to":"x"}', b'{"attempts":3}'), ROW]
    assert await add_plain(link, keys, rows, now=7) == Added(["1", "2"], frozenset())
    times = {"timestamp": "7", "delay": "0", "priority": "0"}
    assert await snapshot(link, keys) == {
        "id": "2",
        "wait": ["1", "2"],
        "marker": {"0": 0},
        "events": ["added 1 name=mail", "waiting 1", "added 2 name=n", "waiting 2"],
        "job:1": {"name": "mail", "data": '{"to":"x"}', "opts": '{"attempts":3}', **times},
        "job:2": {"name": "n", "data": "{}", "opts": "{}", **times},
    }


async def test_without_now_it_is_the_servers_time(link: Link, keys: Keys) -> None:
    for _ in range(20):
        before = await link.call("TIME")
        (id,) = (await add_plain(link, keys, [ROW])).ids
        after = await link.call("TIME")
        stamp = int(await link.call("HGET", keys.job(id), "timestamp"))
        first, last = (int(seconds) * 1000 + int(micros) // 1000 for seconds, micros in (before, after))
        assert first <= stamp <= last


async def test_data_over_the_cap_refuses_all(link: Link, keys: Keys) -> None:
    with pytest.raises(PayloadTooLarge, match="11 bytes are over the queue's limit of 10"):
        await add_plain(link, keys, [ROW, NewRow("", "n", b"x" * 11, b"{}")], cap=10, now=7)
    assert await dump(link) == {}


@pytest.mark.parametrize("rows", [1, 7, 100])
async def test_the_stream_is_trimmed(link: Link, keys: Keys, rows: int) -> None:
    await seed(link, keys, meta={"opts.maxLenEvents": 100})
    for _ in range(1_000 // rows):
        await add_plain(link, keys, [ROW] * rows, now=7)
    # Whole nodes of a hundred entries are removed, and not by each call.
    assert 100 <= await link.call("XLEN", keys.events) <= 100 + 100 + 2 * max(rows, 50)


def test_a_job_with_anything_special_is_not_plain() -> None:
    special: list[dict[str, Any]] = [
        {"id": "a"}, {"delay": 1}, {"priority": 1}, {"lifo": True}, {"timestamp": 0}, {"deduplication": Deduplication("d")},
        {"name": "n" * 1_025},
    ]  # fmt: skip
    assert is_plain(ROW)
    for fields in special:
        assert not is_plain(NewRow(**{"id": "", "name": "n", "data": b"{}", "opts": b"{}", **fields})), fields
