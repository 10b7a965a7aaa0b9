"""The largest calls of scripts that Corral sends, each on a queue that makes it dear. Knows no clock.

What bounds them stands in engine/scripting/pace.py, engine/model/flow_rows.py, engine/worker/turns.py and the scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.micro.payload import data
from benchmarks.micro.scripts import CASES, Case
from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import NO_OPTIONS_WIRE, Deduplication, Keep
from engine.model.records import Claimed, Failed, NewRow, NodeRow, Retrying
from engine.scripts.add import add
from engine.scripts.add_flow import add_flow
from engine.scripts.claim import claim
from engine.scripts.drain import drain
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.get_jobs import get_jobs
from engine.scripts.retry import retry
from engine.scripts.turn import turn

_ALL = Keep()
_LOCK = 15_000
_TOKEN = "6f0e2c0d9a1b4e7f8a3c5d6e7f809112"
_LONG_AGO = 1_000
_TRACES = b'["' + b"x" * 12_000 + b'"]'
_REASON = "no " * 1_300


def _tree(keys: Keys, jobs: int, *, chain: bool = False, queues: int = 1, size: int | None = None) -> list[NodeRow]:
    own = [keys, *(Keys(f"{keys.queue}{n}") for n in range(1, queues))]
    places = [(own[n % queues], f"{n:032x}") for n in range(jobs)]
    nodes = []
    for n, (at, id) in enumerate(places):
        above, parent = places[n - 1 if chain else 0]
        link = b'{"id":"%s","queueKey":"%s"}' % (parent.encode(), above.jobs[:-1].encode())
        payload = data(n) if size is None else b'"' + b"x" * size + b'"'
        row = NewRow(id, "job", payload, NO_OPTIONS_WIRE)
        waits = n < jobs - 1 if chain else n == 0
        nodes.append(NodeRow(at.jobs, row, above.job(parent) if n else "", link if n else b"", waits=waits))
    return nodes


async def _make_tree(link: Link, keys: Keys, rows: int, **shape: Any) -> list[NodeRow]:
    return _tree(keys, rows, **shape)


async def _claim(link: Link, keys: Keys, rows: int) -> list[Claimed]:
    return (await claim(link, keys, token=_TOKEN, lock_ms=_LOCK, worker="largest", count=rows)).jobs


async def _children(link: Link, keys: Keys, rows: int) -> list[Claimed]:
    """Claimed jobs, each the only child of its parent, and as many that wait."""
    for n in range(rows):
        parent, child = (
            NewRow(f"p{n}", "job", data(n), NO_OPTIONS_WIRE),
            NewRow(f"c{n}", "job", data(n), NO_OPTIONS_WIRE),
        )
        link_text = b'{"id":"p%d","queueKey":"%s"}' % (n, keys.jobs[:-1].encode())
        await add_flow(
            link,
            keys,
            [NodeRow(keys.jobs, parent, waits=True), NodeRow(keys.jobs, child, keys.job(f"p{n}"), link_text)],
        )
    jobs = await _claim(link, keys, rows)
    await CASES["drain"].seed(link, keys, rows)
    return jobs


async def _deduplicated(link: Link, keys: Keys, rows: int) -> list[Claimed]:
    """Claimed jobs, for the end of each of which another is kept."""
    same = [
        NewRow(
            "", "job", data(n), b'{"de":{"id":"d%d","keepLastIfActive":true}}' % n,
            deduplication=Deduplication(f"d{n}", keep_last_if_active=True),
        )
        for n in range(rows)
    ]  # fmt: skip
    await add(link, keys, same)
    jobs = await _claim(link, keys, rows)
    await add(link, keys, same)
    return jobs


async def _behind(link: Link, keys: Keys, rows: int) -> list[Claimed]:
    """Claimed jobs, as many that wait, 1,000 that retention is to delete, and 1,000 delayed ones that are due."""
    for _ in range(4):
        old = await CASES["finish"].seed(link, keys, 250)
        await finish(link, keys, [(job, b"null", Keep()) for job in old], now=_LONG_AGO)
    jobs: list[Claimed] = await CASES["turn"].seed(link, keys, rows)
    for _ in range(4):
        await CASES["promote"].seed(link, keys, 250)
    return jobs


async def _chains(link: Link, keys: Keys, rows: int) -> int:
    """Waiting jobs, each below nine others."""
    for n in range(rows):
        nodes = [
            NodeRow(
                keys.jobs, NewRow(f"{n}x{level}", "job", data(n), NO_OPTIONS_WIRE),
                keys.job(f"{n}x{level - 1}") if level else "", waits=level < 9,
            )
            for level in range(10)
        ]  # fmt: skip
        await add_flow(link, keys, nodes)
    return rows


async def _large(link: Link, keys: Keys, rows: int) -> list[str]:
    ids: list[str] = []
    for _ in range(rows):
        ids += (await add(link, keys, [NewRow("", "job", b'"' + b"x" * 1_000_000 + b'"', NO_OPTIONS_WIRE)])).ids
    return ids


async def _turn(link: Link, keys: Keys, jobs: Sequence[Claimed], keep: Keep = _ALL) -> Any:
    return await turn(
        link, keys, [(job, b"null", keep) for job in jobs], token=_TOKEN[::-1], lock_ms=_LOCK, worker="largest",
        count=len(jobs),
    )  # fmt: skip


async def _fail(link: Link, keys: Keys, jobs: Sequence[Claimed], letters: Keep | None = None) -> Any:
    failures = [(job, Failed(_REASON, _TRACES, error=f"E{n}"), Keep(), 1) for n, job in enumerate(jobs)]
    return await fail(link, keys, failures, dead_letters=letters, tenants=[f"t{n}" for n in range(len(jobs))])


async def _retry(link: Link, keys: Keys, jobs: Sequence[Claimed]) -> Any:
    return await retry(link, keys, [(job, Retrying(0, _REASON, _TRACES), False) for job in jobs])


def _any(seeded: Any, reply: Any) -> int:
    return 1


def _alike(name: str, rows: int) -> Case:
    return Case(CASES[name].seed, CASES[name].call, _any, (rows,))


LARGEST: dict[str, Case] = {
    "add": _alike("add", 250),
    "a tree below one job": Case(_make_tree, add_flow, _any, (500,)),
    "a chain": Case(partial(_make_tree, chain=True), add_flow, _any, (500,)),
    "a tree in 50 queues": Case(partial(_make_tree, queues=50), add_flow, _any, (500,)),
    "a tree of 2 MiB": Case(partial(_make_tree, size=4_000), add_flow, _any, (500,)),
    "turn": Case(CASES["turn"].seed, _turn, _any, (250,)),
    "turn of children": Case(_children, _turn, _any, (250,)),
    "turn of deduplicated jobs": Case(_deduplicated, _turn, _any, (50,)),
    "turn with retention and due jobs": Case(_behind, partial(_turn, keep=Keep(count=10, age=60_000)), _any, (250,)),
    "promote": Case(CASES["promote"].seed, CASES["promote"].call, _any, (1_000,)),
    "fail of deduplicated jobs": Case(_deduplicated, _fail, _any, (100,)),
    "fail with letters": Case(CASES["fail"].seed, partial(_fail, letters=Keep(count=1_000)), _any, (20,)),
    "retry with stack traces": Case(CASES["retry"].seed, _retry, _any, (100,)),
    "release": _alike("release", 250),
    "recover_stalled": _alike("recover_stalled", 250),
    "remove": _alike("remove", 100),
    "clean": _alike("clean", 250),
    "drain of chains": Case(_chains, lambda link, keys, _: drain(link, keys), _any, (250,)),
    "obliterate": _alike("obliterate", 250),
    "remove_flow": _alike("remove_flow", 500),
    "get_jobs of 1 MB": Case(_large, get_jobs, _any, (10,)),
}  # fmt: skip
"""Name -> its case, with the rows that it has."""
