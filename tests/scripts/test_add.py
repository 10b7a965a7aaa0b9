"""add: new jobs into the line or the delayed set."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import PayloadTooLarge
from engine.model.keys import Keys
from engine.model.records import NewRow
from engine.scripting.rows import Added
from engine.scripts.add import add
from engine.scripts.claim import claim
from tests.support.keyspace import census, dump, events, job, snapshot
from tests.support.seeding import Held, seed


def row(id: str = "", **fields: object) -> NewRow:
    return NewRow(**{"id": id, "name": "n", "data": b"{}", "opts": b"{}", **fields})  # type: ignore[arg-type]


async def test_a_job_is_last_and_as_bullmq_would_write_it(link: Link, keys: Keys) -> None:
    added = await add(link, keys, [NewRow("", "mail", b'{"to":"x"}', b'{"attempts":3}')], now=7)
    assert added == Added(["1"], frozenset())
    assert await snapshot(link, keys) == {
        "id": "1",
        "wait": ["1"],
        "marker": {"0": 0},
        "events": ["added 1 name=mail", "waiting 1"],
        "job:1": {
            "name": "mail", "data": '{"to":"x"}', "opts": '{"attempts":3}',
            "timestamp": "7", "delay": "0", "priority": "0",
        },
    }  # fmt: skip


async def test_every_kind_of_job_in_one_call(link: Link, keys: Keys) -> None:
    rows = [
        row("a"),
        row(delay=50),
        row("p", priority=3),
        row("l", lifo=True),
        row("b", timestamp=4),
        row("d", timestamp=4, delay=9),
    ]
    assert (await add(link, keys, rows, now=7)).ids == ["a", "2", "p", "l", "b", "d"]
    found = await snapshot(link, keys)
    assert found["wait"] == ["l", "a", "b"]
    assert found["prioritized"] == {"p": 3 * 2**32 + 1}
    assert found["delayed"] == {"d": 13 * 4096, "2": 57 * 4096}
    assert found["marker"] == {"0": 0, "1": 13}
    assert (found["id"], found["pc"]) == ("6", "1")
    assert found["job:d"] == {"name": "n", "data": "{}", "opts": "{}", "timestamp": "4", "delay": "9", "priority": "0"}
    assert found["job:p"]["priority"] == "3"
    assert [line for line in found["events"] if line.startswith("delayed")] == [
        "delayed 2 delay=57",
        "delayed d delay=13",
    ]


async def test_an_existing_id_is_reported_and_its_job_unchanged(link: Link, keys: Keys) -> None:
    await seed(link, keys, completed={"a": 1})
    before = await job(link, keys, "a")
    added = await add(link, keys, [row("b"), row("a", data=b"9"), row("b", data=b"9")], now=7)
    assert added == Added(["b", "a", "b"], frozenset({1, 2}))
    assert await job(link, keys, "a") == before
    assert (await job(link, keys, "b"))["data"] == "{}"
    assert (await census(link, keys))["wait"] == ["b"]
    assert await events(link, keys) == ["added b name=n", "waiting b", "duplicated a", "duplicated b"]


async def test_a_new_counter_passes_over_the_parents_that_bullmq_left_behind(link: Link, keys: Keys) -> None:
    """Its obliterate deletes the counter, and not the jobs that wait for children."""
    await seed(link, keys, waiting_children={"12": 1, "3": 2, "7-a": 3})
    assert (await add(link, keys, [row(), row("mine"), row()], now=7)).ids == ["13", "mine", "15"]
    assert (await add(link, keys, [row()], now=7)).ids == ["16"]


async def test_sent_twice_a_job_with_an_id_of_its_own_is_there_once(link: Link, keys: Keys) -> None:
    first = await add(link, keys, [row("a"), row("d", delay=5), row("p", priority=1)], now=7)
    before = {name: value for name, value in (await dump(link)).items() if name not in (keys.events, keys.id)}
    again = await add(link, keys, [row("a"), row("d", delay=5), row("p", priority=1)], now=8)
    assert again == Added(first.ids, frozenset({0, 1, 2}))
    assert {name: value for name, value in (await dump(link)).items() if name not in (keys.events, keys.id)} == before


async def test_a_thousand_jobs_keep_their_order(link: Link, keys: Keys) -> None:
    added = await add(link, keys, [row(priority=n % 2) for n in range(1_000)], now=7)
    found = await census(link, keys)
    assert found["wait"] == added.ids[::2]
    assert found["prioritized"] == added.ids[1::2]


async def test_the_last_of_several_lifo_jobs_is_the_first_to_run(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"])
    await add(link, keys, [row("x", lifo=True), row("y", lifo=True)], now=7)
    assert (await census(link, keys))["wait"] == ["y", "x", "a"]


async def test_a_priority_outranks_lifo(link: Link, keys: Keys) -> None:
    await add(link, keys, [row("p", priority=2, lifo=True)], now=7)
    assert (await census(link, keys))["prioritized"] == ["p"]


async def test_priorities_run_the_lowest_number_first_and_equal_ones_in_order(link: Link, keys: Keys) -> None:
    rows = [
        row("b1", priority=2),
        row("a1", priority=1),
        row("b2", priority=2),
        row("top", priority=2**21 - 1),
        row("a2", priority=1),
    ]
    await add(link, keys, rows[:3], now=7)
    await add(link, keys, rows[3:], now=7)
    claims = await claim(link, keys, token="t", lock_ms=9, worker="w", count=9, now=7)
    assert [job.id for job in claims.jobs] == ["a1", "a2", "b1", "b2", "top"]


@pytest.mark.parametrize("slices", [1, 5])
async def test_five_thousand_jobs_due_in_one_ms_keep_their_order_as_far_as_scores_go(
    link: Link, keys: Keys, slices: int
) -> None:
    ids = [f"j{n:04}" for n in range(5_000)]
    step = 1_000 // slices
    for first in range(0, 5_000, step):
        await add(link, keys, [row(id, delay=50) for id in ids[first : first + step]], now=7)
    found = (await snapshot(link, keys))["delayed"]
    assert [found[id] for id in ids] == [57 * 4096 + min(n, 4095) for n in range(5_000)]


async def test_times_of_today_are_written_in_full(link: Link, keys: Keys) -> None:
    now = 1_795_485_221_072
    await add(link, keys, [row("a"), row("d", delay=60_000)], now=now)
    found = await snapshot(link, keys)
    assert found["job:a"]["timestamp"] == str(now)
    assert found["delayed"] == {"d": (now + 60_000) * 4096}
    assert found["marker"]["1"] == now + 60_000
    assert f"delayed d delay={now + 60_000}" in found["events"]


async def test_without_now_the_servers_clock_is_read(link: Link, keys: Keys) -> None:
    seconds, micros = await link.call("TIME")
    await add(link, keys, [row("a")])
    later = await link.call("TIME")
    stamp = int((await job(link, keys, "a"))["timestamp"])
    assert int(seconds) * 1000 + int(micros) // 1000 <= stamp <= int(later[0]) * 1000 + int(later[1]) // 1000


async def test_bytes_are_kept_as_they_came(link: Link, keys: Keys) -> None:
    data = bytes(range(256))
    opts = '{"x":[],"n":12345678901234567,"u":"ä/🚀"}'.encode()
    await add(link, keys, [row("ä🚀", name="näme", data=data, opts=opts)], now=7)
    assert await link.call("HMGET", keys.job("ä🚀"), "name", "data", "opts") == ["näme".encode(), data, opts]


async def test_data_over_the_cap_refuses_the_whole_call(link: Link, keys: Keys) -> None:
    with pytest.raises(PayloadTooLarge, match="11 bytes are over the queue's limit of 10"):
        await add(link, keys, [row("a"), row("b", data=b"x" * 11)], cap=10, now=7)
    assert await dump(link) == {}


async def test_what_others_left_in_wait_of_a_paused_queue_stays_before_new_jobs(link: Link, keys: Keys) -> None:
    left = [f"a{n:04}" for n in range(2_000)]
    await seed(link, keys, wait=left, meta={"paused": 1})
    await add(link, keys, [row("b"), row("l", lifo=True)], now=7)
    assert (await census(link, keys))["paused"] == ["l", *left, "b"]
    later = [f"c{n:04}" for n in range(1_500)]
    await seed(link, keys, wait=later[:2])
    await add(link, keys, [row("d", delay=5), row("e")], now=8)
    assert (await census(link, keys))["paused"] == ["l", *left, "b", *later[:2], "e"]
    await seed(link, keys, wait=later[2:])
    await add(link, keys, [row("f")], now=9)
    found = await census(link, keys)
    # Neither list is short: 1,000 at a time, and the line goes on in `wait`.
    assert found["paused"] == ["l", *left, "b", *later[:2], "e", *later[2:1_002]]
    assert found["wait"] == [*later[1_002:], "f"]


async def test_a_paused_queue_takes_jobs_into_paused_and_wakes_nobody(link: Link, keys: Keys) -> None:
    await seed(link, keys, meta={"paused": 1})
    await add(link, keys, [row("a"), row("p", priority=1)], now=7)
    found = await snapshot(link, keys)
    assert (found["paused"], list(found["prioritized"])) == (["a"], ["p"])
    assert "marker" not in found


async def test_nobody_is_woken_while_the_global_concurrency_is_used_up(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"x": Held()}, meta={"concurrency": 1})
    await add(link, keys, [row("a"), row("d", delay=9)], now=7)
    assert (await snapshot(link, keys))["marker"] == {"1": 16}


async def test_nobody_is_woken_for_jobs_that_were_there(link: Link, keys: Keys) -> None:
    await seed(link, keys, completed={"a": 1})
    await add(link, keys, [row("a")], now=7)
    assert "marker" not in await snapshot(link, keys)


async def test_the_marker_has_the_earliest_due_time(link: Link, keys: Keys) -> None:
    for delay in (90, 50, 70):
        await add(link, keys, [row(delay=delay)], now=7)
    assert (await snapshot(link, keys))["marker"] == {"1": 57}


async def test_the_stream_is_trimmed_to_the_length_that_meta_names(link: Link, keys: Keys) -> None:
    await seed(link, keys, meta={"opts.maxLenEvents": 100})
    for _ in range(10):
        await add(link, keys, [row() for _ in range(100)], now=7)
    # The first event of a call shortens the stream, and whole nodes of a hundred entries at a time.
    assert 100 <= await link.call("XLEN", keys.events) <= 100 + 100 + 2 * 100
