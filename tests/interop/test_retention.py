"""Retention of finished jobs: the same jobs leave the same keys, whoever ran them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from tests.interop.side import VERSIONS, NodeSide
from tests.interop.sides import both
from tests.support.keyspace import dump
from tests.support.running import until
from tests.support.seeding import seed

pytestmark = [
    pytest.mark.asyncio(loop_factories=["uvloop"]),
    pytest.mark.parametrize("node", [VERSIONS[0], VERSIONS[-1]], indirect=True),
]

RULES: dict[str, list[Any]] = {
    # What the job says, then what its worker says; None: nothing.
    "nobody says a thing": [None, None],
    "none": [True, None],
    "none, by number": [0, None],
    "all": [False, None],
    "one": [1, None],
    "some": [4, None],
    "more than there are": [100, None],
    "count": [{"count": 3}, None],
    "count of none": [{"count": 0}, None],
    "age": [{"age": 60}, None],
    "no age at all": [{"age": 0}, None],
    "age and count": [{"age": 60, "count": 2}, None],
    "a high age and a low count": [{"age": 10_000, "count": 2}, None],
    "age, count and limit": [{"age": 60, "count": 3, "limit": 100}, None],
    "low limit": [{"age": 60, "limit": 1}, None],
    "the worker's none": [None, {"count": 0}],
    "the worker's count": [None, {"count": 3}],
    "the worker's age": [None, {"age": 60}],
    "the worker's age and count": [None, {"age": 60, "count": 5}],
    "the job's word before the worker's": [5, {"count": 1}],
    "the job's all before the worker's count": [False, {"count": 1}],
}
MIXED = [[True, 2, {"age": 60}, False, 0, {"count": 6}][number % 6] for number in range(12)]
"""Each job with a rule of its own, on one set: every finish trims by the rule of its job."""
JOBS = [f"j{number:02}" for number in range(12)]
"""In the order of the alphabet, as they are in a set where several finish in one ms."""
OLD = 100_000
"""ms for which the jobs that were there before have been finished."""


async def prepare(link: Link, queue: str, rules: list[Any], now: int) -> None:
    """Jobs in line, which fail and succeed in turn and have logs, and others that were finished long ago and just now."""
    keys = Keys(queue)
    jobs = {id: {"data": "{}", "opts": json.dumps(_opts(rule))} for id, rule in zip(JOBS, rules, strict=True)}
    for id in JOBS[1::2]:
        jobs[id]["data"] = '{"do":"throw"}'
    done = {
        f"{state[0]}-{age}": now - age for state in ("completed", "failed") for age in (OLD, OLD - 1, 59_000 // 2, 0)
    }
    before = {id: {"opts": "{}"} for id in done}
    await seed(
        link, keys, wait=JOBS, jobs=jobs | before,
        completed={id: at for id, at in done.items() if id[0] == "c"}, failed={id: at for id, at in done.items() if id[0] == "f"},
    )  # fmt: skip
    for id in [*JOBS, *done]:
        await link.call("RPUSH", keys.logs(id), f"row of {id}")


def _opts(rule: Any) -> dict[str, Any]:
    return {"attempts": 0} | ({} if rule is None else {"removeOnComplete": rule, "removeOnFail": rule})


async def remains(link: Link, queue: str) -> dict[str, Any]:
    """All that is left of jobs: who is in the sets, which keys there are, what the hashes say but for times and tokens."""
    keys = Keys(queue)
    found: dict[str, Any] = {}
    for name, value in (await dump(link, keys.jobs)).items():
        suffix = name.removeprefix(keys.jobs)
        if suffix in ("completed", "failed"):
            found[suffix] = list(value)
        elif suffix[:2] in ("j0", "j1", "c-", "f-"):
            found[suffix] = _said(value) if isinstance(value, dict) else value
    return found


def _said(fields: dict[str, str]) -> dict[str, str]:
    left_out = ("processedOn", "finishedOn", "pb", "owner", "stacktrace", "timestamp")
    return {name: value for name, value in fields.items() if name not in left_out}


async def test_what_remains_is_what_node_leaves(redis_url: str, node: NodeSide, link: Link) -> None:
    now = int((await link.call("TIME"))[0]) * 1000
    table = [(name, [said] * len(JOBS), worker) for name, (said, worker) in RULES.items()]
    table.append(("each its own", MIXED, None))
    async with both(redis_url, node) as (ours, theirs):
        for number, (name, rules, worker) in enumerate(table):
            options = {} if worker is None else {"removeOnComplete": worker, "removeOnFail": worker}
            for side in (ours, theirs):
                queue = f"{number}-{type(side).__name__}"
                await prepare(link, queue, rules, now)
                await side.work(queue, concurrency=1 if side is theirs else 4, **options)
                await _worked_off(link, queue)
            left, there = await remains(link, f"{number}-Ours"), await remains(link, f"{number}-Theirs")
            assert left == there, name
        await theirs.rest()


async def _worked_off(link: Link, queue: str) -> None:
    keys = Keys(queue)

    async def is_empty() -> bool:
        return not await link.call("EXISTS", keys.wait, keys.active)

    await until(is_empty, f"{queue} was worked off", timeout=20)
