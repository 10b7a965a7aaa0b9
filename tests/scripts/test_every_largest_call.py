"""How many commands the largest calls of scripts run: each takes the server one to two microseconds, on any machine."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Deduplication, Keep
from engine.model.records import Claimed, Failed, NewRow, NodeRow
from engine.scripting.loader import loading
from engine.scripting.pace import ATTEMPTS_PER_CALL, PER_CALL
from engine.scripts.add import add
from engine.scripts.add_flow import add_flow
from engine.scripts.claim import claim
from engine.scripts.fail import fail
from engine.scripts.turn import turn
from tests.support.seeding import seed

Call = Callable[[], Awaitable[Any]]


def tree(keys: Keys, size: int, shape: str, *, queues: int = 1) -> list[NodeRow]:
    """A root and the jobs below it: all of them, or each below the one before."""
    own = [keys, *(Keys(f"{keys.queue}{n}") for n in range(1, queues))]
    places = [(own[n % queues], f"j{n}") for n in range(size)]
    nodes = []
    for n, (at, id) in enumerate(places):
        above, parent = places[n - 1 if shape == "chain" else 0]
        link = b'{"id":"%s","queueKey":"%s"}' % (parent.encode(), above.jobs[:-1].encode())
        waits = n < size - 1 if shape == "chain" else n == 0
        row = NewRow(id, "job", b"{}", b"{}")
        nodes.append(NodeRow(at.jobs, row, above.job(parent) if n else "", link if n else b"", waits=waits))
    return nodes


async def claimed_jobs(link: Link, keys: Keys, count: int) -> list[Claimed]:
    return (await claim(link, keys, token="t", lock_ms=60_000, worker="w", count=count)).jobs


async def commands_of(link: Link, name: str, call: Call) -> int:
    """Commands that one call of this script runs."""
    # A script that the server does not know yet would be sent twice.
    await link.call_many(loading(name))
    await link.call("CONFIG", "RESETSTAT")
    await call()
    stats = (await link.call("INFO", "commandstats")).decode()
    counts = {name: int(calls) for name, calls in re.findall(r"cmdstat_([\w|]+):calls=(\d+)", stats)}
    assert counts.pop("evalsha") == 1
    return sum(counts.values()) - counts["config|resetstat"]


@pytest.mark.parametrize(
    ("shape", "queues", "most"),
    [("flat", 1, 3 * 500 + 40), ("chain", 1, 4 * 500 + 40), ("flat", 50, 3 * 500 + 50 * 16)],
)
async def test_a_tree_of_500(link: Link, keys: Keys, shape: str, queues: int, most: int) -> None:
    nodes = tree(keys, 500, shape, queues=queues)
    assert await commands_of(link, "add_flow", lambda: add_flow(link, keys, nodes)) <= most


async def test_a_turn_with_retention_and_due_jobs(link: Link, keys: Keys) -> None:
    old = {f"c{n}": 1 for n in range(2_000)}
    await seed(
        link, keys, completed=old, delayed={f"d{n}": 5 for n in range(1_000)}, wait=[f"w{n}" for n in range(500)]
    )
    jobs = await claimed_jobs(link, keys, PER_CALL)
    # Neighbours with other rules, so that each trims by itself.
    rows = [(job, b"1", Keep(count=10 + n % 2, age=1_000)) for n, job in enumerate(jobs)]

    async def call() -> None:
        await turn(link, keys, rows, token="u", lock_ms=60_000, worker="w", count=PER_CALL)

    assert await commands_of(link, "turn", call) <= 12 * PER_CALL
    assert await link.call("ZCARD", keys.completed) == 2_000 + PER_CALL - 500
    assert await link.call("ZCARD", keys.delayed) >= 500, "the rest of the delayed jobs is left to the next turns"


async def test_failures_that_end_deduplications(link: Link, keys: Keys) -> None:
    same = [
        NewRow("", "job", b"{}", b"{}", deduplication=Deduplication(f"d{n}", keep_last_if_active=True))
        for n in range(ATTEMPTS_PER_CALL)
    ]
    await add(link, keys, same)
    jobs = await claimed_jobs(link, keys, ATTEMPTS_PER_CALL)
    await add(link, keys, same)
    failures = [(job, Failed("no"), Keep(), 1) for job in jobs]
    assert await commands_of(link, "fail", lambda: fail(link, keys, failures)) <= 20 * ATTEMPTS_PER_CALL
    assert await link.call("LLEN", keys.wait) == ATTEMPTS_PER_CALL, "each was kept, and is added now"
