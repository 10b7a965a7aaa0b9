"""Schedules in tests of scripts: one call of the script with small numbers, and what is left of it to look at."""

from __future__ import annotations

from collections.abc import Mapping

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.advance_schedule import Advanced, advance_schedule
from engine.scripts.upsert_schedule import NotUpserted, upsert_schedule
from tests.support.keyspace import snapshot
from tests.support.seeding import Held, seed

HEAD = b'{"attempts":2,"repeat":{"every":100,"count":1},"repeatJobKey":"s","jobId":"repeat:s:'


async def upsert(
    link: Link,
    keys: Keys,
    due: int | None = None,
    *times: int,
    id: str = "s",
    keep: bool = False,
    data: bytes = b'{"a":1}',
    priority: int = 0,
    lifo: bool = False,
    fields: Mapping[str, str | bytes] | None = None,
    now: int = 7,
) -> int | NotUpserted:
    said: dict[str, str | bytes] = {"name": "n", "every": "100", "offset": "0", "data": data, **(fields or {})}
    return await upsert_schedule(
        link, keys, id=id, due=due, keep=keep, times=times, name="n", data=data, head=HEAD, priority=priority, lifo=lifo,
        fields=said, now=now,
    )  # fmt: skip


async def advance(
    link: Link,
    keys: Keys,
    due: int | None,
    *times: int,
    id: str = "s",
    starts: str = "",
    run: str = "",
    runs: str = "",
    priority: int = 0,
    now: int = 7,
) -> Advanced:
    """`starts`: the run that is about to run; `run`: it, where it is not."""
    return await advance_schedule(
        link, keys, id=id, due=due, times=times, head=HEAD, priority=priority, run=starts or run, runs=runs,
        starts=bool(starts), now=now,
    )  # fmt: skip


async def seed_schedule(
    link: Link,
    keys: Keys,
    due: int,
    *,
    place: str = "delayed",
    id: str = "s",
    fields: Mapping[str, str | int] | None = None,
    job: Mapping[str, str | int] | None = None,
) -> str:
    """A schedule whose next run is due then and stands in `place`, or nowhere if that is empty; the id of the run."""
    run = f"repeat:{id}:{due}"
    usual: dict[str, str | int] = {"name": "n", "every": 100, "offset": 0, "data": '{"a":1}', "ic": 3, **(fields or {})}
    await link.call("ZADD", keys.repeat, due, id)
    await link.call("HSET", keys.job(f"repeat:{id}"), *[item for pair in usual.items() for item in pair])
    hashes = {run: {"rjk": id, **(job or {})}}
    match place:
        case "delayed" | "prioritized":
            await seed(link, keys, **{place: {run: due if place == "delayed" else 2}}, jobs=hashes)  # type: ignore[arg-type]
        case "wait" | "paused":
            await seed(link, keys, **{place: [run]}, jobs=hashes)  # type: ignore[arg-type]
        case "active":
            await begin(link, keys, run, id)
    return run


async def begin(link: Link, keys: Keys, run: str, id: str = "s") -> None:
    """A run of the schedule is being run. The events so far are deleted: no claim is among them."""
    await link.call("DEL", keys.events)
    await seed(link, keys, active={run: Held()}, jobs={run: {"rjk": id}})


async def places(link: Link, keys: Keys) -> dict[str, object]:
    """Where the jobs are, and when the schedules are due."""
    found = await snapshot(link, keys)
    shown = ("wait", "paused", "prioritized", "delayed", "active", "repeat")
    return {name: list(value) if name != "repeat" else value for name, value in found.items() if name in shown}
