"""get_metrics: counts of finished jobs by the minute, which `turn`, `finish` and `fail` write for workers that count."""

from __future__ import annotations

import random
from typing import Any

import pytest

from engine.connection import Link
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.get_metrics import StoredMetrics, get_metrics
from engine.scripts.turn import turn
from tests.support.keyspace import dump
from tests.support.seeding import Held, claimed, seed

MINUTE = 60_000


class Plain:
    """Wire specification, 4.17, one job at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.fields: dict[str, str] = {}
        self.data: list[str] = []

    def finish(self, now: int) -> None:
        before = int(self.fields.get("count", 0))
        self.fields["count"] = str(before + 1)
        if "prevTS" not in self.fields:
            self.fields |= {"prevTS": str(now), "prevCount": "0"}
            return
        passed = min(now // MINUTE - int(self.fields["prevTS"]) // MINUTE, self.most)
        if passed > 0:
            self.data.insert(0, str(before - int(self.fields["prevCount"])))
            for _ in range(passed - 1):
                self.data.insert(0, "0")
            del self.data[self.most :]
            self.fields |= {"prevCount": str(before), "prevTS": str(now)}


async def stored(link: Link, keys: Keys, kind: str) -> tuple[Any, Any]:
    found = await dump(link, f"{keys.jobs}metrics:{kind}")
    return found.get(f"{keys.jobs}metrics:{kind}", {}), found.get(f"{keys.jobs}metrics:{kind}:data", [])


@pytest.mark.parametrize("verb", ["turn", "finish", "fail"])
async def test_many_finished_at_once_are_counted_as_if_one_by_one(link: Link, keys: Keys, verb: str) -> None:
    chance = random.Random(17)
    plain, now = Plain(most=5), 10 * MINUTE
    kind = "failed" if verb == "fail" else "completed"
    for lot in range(60):
        # Within a minute, over its edge, after silent minutes, after more than are kept, and once back in time.
        now += chance.choice([0, 1_000, 59_999, MINUTE, 3 * MINUTE, 40 * MINUTE, -MINUTE // 2])
        jobs = [f"j{lot}-{n}" for n in range(chance.choice([1, 2, 7]))]
        await seed(link, keys, active={id: Held() for id in jobs})
        done = [(claimed(id), b"1", Keep(count=0)) for id in jobs]
        match verb:
            case "turn":
                await turn(link, keys, done, token="t2", lock_ms=9, worker="w", count=0, metrics=5, now=now)
            case "finish":
                await finish(link, keys, done, metrics=5, now=now)
            case _:
                gone = [(job, Failed("no"), keep, 1) for job, _, keep in done]
                await fail(link, keys, gone, metrics=5, now=now)
        for _ in jobs:
            plain.finish(now)
        assert await stored(link, keys, kind) == (plain.fields, plain.data)
    assert len(plain.data) == 5
    other = "completed" if verb == "fail" else "failed"
    assert await stored(link, keys, other) == ({}, [])


async def test_only_what_was_finished_by_this_call_is_counted(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held(token="t9")})
    rows = [(claimed("a"), b"1", Keep()), (claimed("b"), b"1", Keep()), (claimed("gone"), b"1", Keep())]
    for _ in "12":
        await finish(link, keys, rows, metrics=5, now=7)
        assert (await stored(link, keys, "completed"))[0]["count"] == "1"


async def test_a_worker_that_does_not_count_writes_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held()})
    await finish(link, keys, [(claimed("a"), b"1", Keep())], now=7)
    await fail(link, keys, [(claimed("b"), Failed("no"), Keep(), 1)], now=7)
    assert await dump(link, f"{keys.jobs}metrics") == {}


async def test_two_weeks_of_silence_take_one_call(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held()})
    await finish(link, keys, [(claimed("a"), b"1", Keep())], metrics=20_160, now=0)
    await finish(link, keys, [(claimed("b"), b"1", Keep())], metrics=20_160, now=30_000 * MINUTE)
    found = await get_metrics(link, keys, kind="completed", start=-2, end=-1)
    assert found == StoredMetrics(2, 30_000 * MINUTE, 1, 20_160, [0, 1])


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("name", ["metrics:completed", "metrics:completed:data"])
async def test_a_foreign_key_in_their_place_is_an_error_and_nothing_is_written(
    link: Link, keys: Keys, name: str
) -> None:
    await seed(link, keys, active={"a": Held()})
    await link.call("SET", keys.jobs + name, "foreign")
    before = await dump(link)
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await finish(link, keys, [(claimed("a"), b"1", Keep())], metrics=5, now=7)
    assert await dump(link) == before


async def test_reading_shows_the_minutes_asked_for_and_writes_nothing(link: Link, keys: Keys) -> None:
    assert await get_metrics(link, keys, kind="failed", start=0, end=-1) == StoredMetrics(0, None, 0, 0, [])
    await link.call("HSET", f"{keys.jobs}metrics:completed", "count", 9, "prevTS", 700, "prevCount", 6)
    await link.call("RPUSH", f"{keys.jobs}metrics:completed:data", 3, 0, 2, 1)
    before = await dump(link)
    assert await get_metrics(link, keys, kind="completed", start=1, end=2) == StoredMetrics(9, 700, 6, 4, [0, 2])
    assert await dump(link) == before
