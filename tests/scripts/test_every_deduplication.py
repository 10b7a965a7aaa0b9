"""Deduplication across the scripts: what add makes of a second job, and what the end of the owner leads to."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine.batching import batches
from engine.connection import Link
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.model.options import Deduplication, JobOptions, Keep
from engine.model.records import Claimed, Failed, NewRow, Retrying
from engine.scripting.rows import Added, Refusal
from engine.scripts.add import add
from engine.scripts.claim import claim
from engine.scripts.clean import clean
from engine.scripts.delay import delay
from engine.scripts.drain import drain
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.recover_stalled import recover_stalled
from engine.scripts.remove import remove
from engine.scripts.turn import turn
from tests.support.keyspace import census, dump, events, job, snapshot
from tests.support.seeding import Held, seed

KEEP_LAST = {"keep_last_if_active": True}


def row(id: str = "", data: bytes = b"{}", dedup: dict[str, Any] | None = None, **options: Any) -> NewRow:
    """A row as the queue makes it, deduplicated by `d`."""
    asked = JobOptions.check({"deduplication": {"id": "d", **(dedup or {})}, **options})
    return NewRow(
        id, "n", data, asked.to_wire(), asked.timestamp, asked.delay, asked.priority, asked.lifo, asked.deduplication
    )


async def owner(link: Link, keys: Keys) -> tuple[str | None, int]:
    """Who owns `d`, and for how many ms more (-1: without an end)."""
    found = await link.call("GET", keys.deduplication("d"))
    return (None if found is None else found.decode()), await link.call("PTTL", keys.deduplication("d"))


async def run(link: Link, keys: Keys, now: int = 8) -> Claimed:
    return (await claim(link, keys, token="t1", lock_ms=60_000, worker="w", count=1, now=now)).jobs[0]


# --- adding -----------------------------------------------------------------------------------------------------------


async def test_the_first_owns_the_id_and_stands_for_the_second(link: Link, keys: Keys) -> None:
    assert await add(link, keys, [row()], now=7) == Added(["1"], frozenset())
    assert await add(link, keys, [row("", b"9"), row("mine", b"9")], now=8) == Added(["1", "1"], frozenset({0, 1}))
    found = await snapshot(link, keys)
    assert found == {
        "id": "3",
        "wait": ["1"],
        "marker": {"0": 0},
        "de:d": "1",
        "events": [
            "added 1 name=n", "waiting 1",
            "debounced 1 debounceId=d", "deduplicated 1 deduplicationId=d deduplicatedJobId=2",
            "debounced 1 debounceId=d", "deduplicated 1 deduplicationId=d deduplicatedJobId=mine",
        ],
        "job:1": {
            "name": "n", "data": "{}", "opts": '{"attempts":0,"de":{"id":"d"}}', "timestamp": "7", "delay": "0",
            "priority": "0", "deid": "d",
        },
    }  # fmt: skip
    assert await owner(link, keys) == ("1", -1)


async def test_in_one_call_among_others_each_row_has_its_answer(link: Link, keys: Keys) -> None:
    plain = NewRow("there", "n", b"{}", b"{}")
    await add(link, keys, [plain], now=7)
    rows = [row("a"), plain, row("b"), NewRow("", "n", b"{}", b"{}"), row("c")]
    assert await add(link, keys, rows, now=8) == Added(["a", "there", "a", "5", "a"], frozenset({1, 2, 4}))
    assert (await census(link, keys))["wait"] == ["there", "a", "5"]


async def test_an_existing_id_comes_before_its_deduplication(link: Link, keys: Keys) -> None:
    await seed(link, keys, completed={"a": 1})
    assert await add(link, keys, [row("a")], now=7) == Added(["a"], frozenset({0}))
    assert await owner(link, keys) == (None, -2)


async def test_with_a_ttl_the_id_is_owned_for_so_long_and_longer_only_with_extend(link: Link, keys: Keys) -> None:
    await add(link, keys, [row("a", dedup={"ttl": 60_000})], now=7)
    await link.call("PEXPIRE", keys.deduplication("d"), 30_000)
    assert (await add(link, keys, [row("b", dedup={"ttl": 60_000})], now=8)).ids == ["a"]
    assert 0 < (await owner(link, keys))[1] <= 30_000
    assert (await add(link, keys, [row("c", dedup={"ttl": 60_000, "extend": True})], now=9)).ids == ["a"]
    assert (await owner(link, keys))[1] > 30_000


@pytest.mark.parametrize(
    ("dedup", "low", "high"),
    [({}, -1, -1), ({"ttl": 60_000}, 1, 30_000), ({"ttl": 60_000, "extend": True}, 30_001, 60_000)],
    ids=["no ttl", "the time goes on", "the time starts anew"],
)
async def test_a_delayed_owner_is_replaced(link: Link, keys: Keys, dedup: dict[str, Any], low: int, high: int) -> None:
    dedup = {"replace": True, **dedup}
    await add(link, keys, [row("a", delay=50, dedup=dedup)], now=7)
    await link.call("RPUSH", keys.logs("a"), "line")
    if "ttl" in dedup:
        await link.call("PEXPIRE", keys.deduplication("d"), 30_000)
    assert await add(link, keys, [row("b", b"2", delay=50, dedup=dedup)], now=17) == Added(["b"], frozenset())
    id, left = await owner(link, keys)
    assert (id, low <= left <= high) == ("b", True)
    found = await snapshot(link, keys)
    assert found["delayed"] == {"b": 67 * 4096}
    assert {name for name in found if ":" in name} == {"de:d", "job:b"}
    assert found["events"] == [
        "added a name=n", "delayed a delay=57",
        "removed a prev=delayed", "debounced b debounceId=d", "deduplicated b deduplicationId=d deduplicatedJobId=a",
        "added b name=n", "delayed b delay=67",
    ]  # fmt: skip


async def test_in_one_call_only_the_last_of_those_that_replace_is_left(link: Link, keys: Keys) -> None:
    rows = [row(f"j{n}", delay=50, dedup={"replace": True}) for n in range(250)]
    assert (await add(link, keys, rows, now=7)).known == frozenset()
    assert (await census(link, keys))["delayed"] == ["j249"]


@pytest.mark.parametrize("state", ["waiting", "active", "the pending run of a schedule"])
async def test_an_owner_that_is_not_to_be_replaced_stays_without_a_word(link: Link, keys: Keys, state: str) -> None:
    id = "repeat:daily:57" if state.startswith("the") else "a"
    await add(link, keys, [row(id, delay=50 if state.startswith("the") else 0)], now=7)
    if state == "active":
        await run(link, keys)
    told = await events(link, keys)
    assert await add(link, keys, [row("b", delay=5, dedup={"replace": True})], now=8) == Added([id], frozenset({0}))
    assert await events(link, keys) == told


async def test_a_delayed_owner_is_rescheduled_to_the_new_jobs_time(link: Link, keys: Keys) -> None:
    dedup = {"reschedule": True}
    await add(link, keys, [row("a", b"1", delay=50, dedup=dedup)], now=7)
    assert await add(link, keys, [row("b", b"2", delay=5, dedup=dedup)], now=8) == Added(["a"], frozenset({0}))
    found = await snapshot(link, keys)
    assert (found["delayed"], found["marker"]) == ({"a": 13 * 4096}, {"1": 13})
    assert (found["job:a"]["delay"], found["job:a"]["data"], found["job:a"]["timestamp"]) == ("5", "1", "7")
    assert found["events"][-3:] == [
        "debounced a debounceId=d",
        "deduplicated a deduplicationId=d deduplicatedJobId=b",
        "delayed a delay=13",
    ]


async def test_a_window_of_time_outlives_its_owner(link: Link, keys: Keys) -> None:
    await add(link, keys, [row("a", dedup={"ttl": 60_000})], now=7)
    await finish(link, keys, [(await run(link, keys), b"1", Keep(count=0))], now=9)
    assert await add(link, keys, [row("b", dedup={"ttl": 60_000})], now=10) == Added(["a"], frozenset({0}))


async def test_sent_twice_a_deduplicated_job_is_there_once(link: Link, keys: Keys) -> None:
    rows = [row("", delay=5), row("", priority=2)]
    assert (await add(link, keys, rows, now=7)).ids == ["1", "1"]
    assert (await add(link, keys, rows, now=7)).ids == ["1", "1"]
    assert (await census(link, keys))["delayed"] == ["1"]


@pytest.mark.usefixtures("damaged")
async def test_a_foreign_key_at_the_owners_place_is_an_error_and_nothing_is_written(link: Link, keys: Keys) -> None:
    await link.call("HSET", keys.deduplication("d"), "foreign", 1)
    before = await dump(link)
    with pytest.raises(ServerError):
        await add(link, keys, [NewRow("x", "n", b"{}", b"{}"), row("a")], now=7)
    assert await dump(link) == before


def test_a_call_carries_fewer_jobs_with_a_deduplication() -> None:
    plain = NewRow("", "n", b"{}", b"{}")
    assert [len(lot) for lot in batches([plain] * 300)] == [250, 50]
    assert [len(lot) for lot in batches([row()] * 150)] == [64, 64, 22]


async def test_a_plain_job_has_nothing_of_it(link: Link, keys: Keys) -> None:
    await add(link, keys, [NewRow("a", "n", b"{}", b"{}", delay=5)], now=7)
    assert "deid" not in await job(link, keys, "a")


# --- what follows the owner -------------------------------------------------------------------------------------------

End = Callable[[Link, Keys, Claimed, Keep], Awaitable[Any]]
ENDS: dict[str, End] = {
    "finish": lambda link, keys, job, keep: finish(link, keys, [(job, b"1", keep)], now=20),
    "fail": lambda link, keys, job, keep: fail(link, keys, [(job, Failed("no"), keep, 1)], now=20),
    "turn": lambda link, keys, job, keep: turn(
        link, keys, [(job, b"1", keep)], token="t2", lock_ms=60_000, worker="w", count=0, now=20
    ),
}


@pytest.mark.parametrize("keep", [Keep(), Keep(count=0)], ids=["kept", "dropped"])
@pytest.mark.parametrize("verb", ENDS)
async def test_when_the_owner_ends_the_newest_that_came_meanwhile_is_made_once(
    link: Link, keys: Keys, verb: str, keep: Keep
) -> None:
    await add(link, keys, [row("a", dedup=KEEP_LAST)], now=7)
    held = await run(link, keys)
    rows = [row("", b"old", attempts=9, dedup=KEEP_LAST), row("last", b"new", dedup=KEEP_LAST)]
    assert await add(link, keys, rows, now=9) == Added(["a", "a"], frozenset({0, 1}))
    kept = {"name": "n", "data": "new", "jid": "last"}
    opts = {"attempts": 0, "de": {"id": "d", "keepLastIfActive": True}}
    found = (await snapshot(link, keys))["dn:d"]
    assert json.loads(found.pop("opts")) == opts
    assert found == kept

    await ENDS[verb](link, keys, held, keep)
    after = await snapshot(link, keys)
    assert (after["wait"], after["de:d"], "dn:d" in after) == (["last"], "last", False)
    assert after["job:last"] == {
        "name": "n", "data": "new", "opts": json.dumps(opts, separators=(",", ":")), "timestamp": "20", "delay": "0",
        "priority": "0", "deid": "d",
    }  # fmt: skip
    told = [line for line in after["events"] if line.split()[:2] in (["added", "last"], ["waiting", "last"])]
    assert told == ["added last name=n", "waiting last"]
    assert "drained" not in after["events"]

    before = await dump(link)
    again = await ENDS[verb](link, keys, held, keep)
    gone = Refusal.MISSING if keep.count == 0 else Refusal.DONE
    assert (again.refused if verb == "turn" else again) == {0: gone}
    assert await dump(link) == before


async def test_a_turn_may_take_what_follows_at_once(link: Link, keys: Keys) -> None:
    await add(link, keys, [row("a", dedup=KEEP_LAST)], now=7)
    held = await run(link, keys)
    await add(link, keys, [row("b", dedup=KEEP_LAST)], now=9)
    turned = await turn(link, keys, [(held, b"1", Keep())], token="t2", lock_ms=9_000, worker="w", count=5, now=20)
    assert [job.id for job in turned.jobs] == ["b"]


@pytest.mark.parametrize(
    ("options", "place", "shown"),
    [
        ({"delay": 50}, "delayed", {"b": 70 * 4096}),
        ({"priority": 3}, "prioritized", {"b": 3 * 2**32 + 1}),
        ({"lifo": True}, "wait", ["b", "w"]),
        ({}, "wait", ["w", "b"]),
        ({"paused": True}, "paused", ["b"]),
    ],
    ids=["delay", "priority", "lifo", "plain", "paused"],
)
async def test_what_follows_stands_where_its_options_say(
    link: Link, keys: Keys, options: dict[str, Any], place: str, shown: Any
) -> None:
    await add(link, keys, [row("a", dedup=KEEP_LAST)], now=7)
    held = await run(link, keys)
    await seed(link, keys, wait=["w"] if place == "wait" else [])
    paused = options.pop("paused", False)
    await add(link, keys, [row("b", dedup=KEEP_LAST, **options)], now=9)
    if paused:
        await link.call("HSET", keys.meta, "paused", 1)
    await finish(link, keys, [(held, b"1", Keep())], now=20)
    found = await snapshot(link, keys)
    assert found[place] == shown
    if place == "delayed":
        assert (found["marker"]["1"], found["job:b"]["delay"]) == (70, "50")


async def test_between_two_attempts_the_owner_still_stands_and_the_newest_is_kept(link: Link, keys: Keys) -> None:
    await add(link, keys, [row("a", dedup=KEEP_LAST)], now=7)
    held = await run(link, keys)
    await add(link, keys, [row("b", dedup=KEEP_LAST)], now=9)
    await delay(link, keys, [(held, Retrying(5, "no"))], now=10)
    assert (await add(link, keys, [row("c", dedup=KEEP_LAST)], now=11)).ids == ["a"]
    again = await run(link, keys, now=20)
    assert again.id == "a"
    await finish(link, keys, [(again, b"1", Keep())], now=21)
    assert (await census(link, keys))["wait"] == ["c"]


async def test_an_owner_that_waits_stands_for_the_newer_without_keeping_it(link: Link, keys: Keys) -> None:
    assert (await add(link, keys, [row("a", dedup=KEEP_LAST), row("b", dedup=KEEP_LAST)], now=7)).ids == ["a", "a"]
    assert "dn:d" not in await snapshot(link, keys)


async def test_a_dead_owner_keeps_what_follows_and_its_end_makes_it(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(lock_ms=None)}, jobs={"a": {"deid": "d"}})
    await link.call("SET", keys.deduplication("d"), "a")
    await add(link, keys, [row("b", dedup=KEEP_LAST)], now=9)
    await recover_stalled(link, keys, interval_ms=9_000, max_stalls=1, now=10)
    assert (await census(link, keys))["wait"] == ["a"]
    await fail(link, keys, [(await run(link, keys), Failed("stalled"), Keep(), 1)], now=20)
    assert (await census(link, keys))["wait"] == ["b"]
    assert await owner(link, keys) == ("b", -1)


async def test_an_owner_that_is_removed_is_followed_too_and_drain_and_clean_take_both(link: Link, keys: Keys) -> None:
    async def owned_by_a_dead_job() -> None:
        await seed(link, keys, active={"a": Held(lock_ms=None)}, jobs={"a": {"deid": "d"}})
        await link.call("SET", keys.deduplication("d"), "a")
        assert (await add(link, keys, [row("", dedup=KEEP_LAST)], now=9)).ids == ["a"]

    await owned_by_a_dead_job()
    assert await remove(link, keys, ["a"], now=10) == {}
    found = await snapshot(link, keys)
    assert (found["wait"], found["de:d"], "dn:d" in found) == (["1"], "1", False)

    await drain(link, keys, now=11)
    assert {"de:d", "dn:d"} & (await snapshot(link, keys)).keys() == set()
    await owned_by_a_dead_job()
    assert await clean(link, keys, state="active", now=99) == ["a"]
    assert {"de:d", "dn:d", "wait"} & (await snapshot(link, keys)).keys() == set()


async def test_what_was_kept_under_an_id_that_is_taken_by_now_is_a_duplicate(link: Link, keys: Keys) -> None:
    await add(link, keys, [row("a", dedup=KEEP_LAST)], now=7)
    held = await run(link, keys)
    await add(link, keys, [row("b", dedup=KEEP_LAST)], now=9)
    await seed(link, keys, completed={"b": 1})
    await finish(link, keys, [(held, b"1", Keep())], now=20)
    assert (await events(link, keys))[-3:] == ["completed a returnvalue=1 prev=active", "duplicated b", "drained"]
    assert {"de:d", "dn:d"} & (await snapshot(link, keys)).keys() == set()


@pytest.mark.parametrize("opts", ["", "no json", "[]", '{"delay":null,"priority":"x","lifo":1}', '{"delay":-5}'])
async def test_options_of_any_kind_hold_up_no_end(link: Link, keys: Keys, opts: str) -> None:
    await seed(link, keys, active={"a": Held()}, jobs={"a": {"deid": "d"}})
    await link.call("SET", keys.deduplication("d"), "a")
    await link.call("HSET", keys.jobs + "dn:d", "name", "n", "data", "{}", "opts", opts, "jid", "b")
    held = Claimed("a", 1, "t1", "n", b"{}", b'{"de":{"id":"d"}}')
    assert await finish(link, keys, [(held, b"1", Keep())], now=20) == {}
    assert (await census(link, keys))["wait"] == ["b"]


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("key", ["de:d", "dn:d"])
async def test_a_foreign_key_does_not_hold_up_the_end_of_a_job(link: Link, keys: Keys, key: str) -> None:
    await seed(link, keys, active={"a": Held()}, jobs={"a": {"deid": "d"}})
    if key == "dn:d":
        await link.call("SET", keys.deduplication("d"), "a")
    await link.call("LPUSH", keys.jobs + key, "foreign")
    held = Claimed("a", 1, "t1", "n", b"{}", b'{"de":{"id":"d"}}')
    assert await finish(link, keys, [(held, b"1", Keep())], now=20) == {}
    assert (await census(link, keys))["completed"] == ["a"]


def test_the_stored_deduplication_is_bullmqs() -> None:
    asked = Deduplication.check("deduplication", {"id": "d", "ttl": 5, "extend": True, "replace": True})
    assert json.loads(JobOptions(deduplication=asked).to_wire())["de"] == {
        "id": "d", "ttl": 5, "extend": True, "replace": True,
    }  # fmt: skip
