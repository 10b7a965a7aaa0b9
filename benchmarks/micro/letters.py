"""Cost of many dead letters: `python -m benchmarks.micro.letters [LETTERS] [REPLAYED]`.

Fails LETTERS jobs through `fail` (default 1,000,000; 20 types, 10 errors, 1,000 tenants), counts them with every kind of filter,
replays REPLAYED of them (default 100,000), and purges as many. Prints how long each took, the mean time of a script's call as the
server measures it, and which calls took over 10 ms, from its slow log. These are wall times, which a busy machine lengthens; the
server's CPU time is printed beside them.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Any

from benchmarks.micro.payload import data
from engine.connection import Link, RedisSettings, open_link
from engine.connection.embedded import EmbeddedServer
from engine.dead_letters import DeadLetters
from engine.model.keys import Keys
from engine.model.options import NO_OPTIONS_WIRE, Keep
from engine.model.records import Failed, NewRow
from engine.scripting.pace import FAILED_PER_CALL as PER_CALL
from engine.scripts.add import add
from engine.scripts.claim import claim
from engine.scripts.fail import fail

_DAY_MS = 86_400_000
_BEGAN = 1_700_000_000_000
_MORE = 10_000
_BOUND_MS = 10
_LOGGED = 1_000
"""Slow calls that the log keeps: reading a longer log would distort the measurement."""
_STACK = b'["' + b"x" * 600 + b'"]'
_KEYS = Keys("bench")


async def _fail_many(link: Link, count: int, keep: Keep, began: int = _BEGAN) -> None:
    """Fail jobs over a hundred days, the oldest first."""
    for first in range(0, count, PER_CALL):
        numbers = range(first, min(count, first + PER_CALL))
        rows = [NewRow("", f"type{n % 20}", data(n), NO_OPTIONS_WIRE) for n in numbers]
        await add(link, _KEYS, rows)
        jobs = (await claim(link, _KEYS, token="t", lock_ms=60_000, worker="w", count=PER_CALL)).jobs
        failures = [
            (job, Failed(f"it fails for {n}", _STACK, f"Error{n % 10}"), Keep(count=0), 1)
            for n, job in zip(numbers, jobs, strict=True)
        ]
        tenants = [f"tenant{n % 1_000}" for n in numbers]
        now = began + first * (100 * _DAY_MS // count)
        await fail(link, _KEYS, failures, dead_letters=keep, tenants=tenants, now=now)


async def _measured(link: Link, what: str, work: Callable[[], Awaitable[Any]]) -> None:
    await link.call("SLOWLOG", "RESET")
    await link.call("CONFIG", "RESETSTAT")
    busy, began = await _busy_ms(link), perf_counter()
    said = await work()
    took, busy = (perf_counter() - began) * 1000, await _busy_ms(link) - busy
    slow = [entry[2] / 1000 for entry in await link.call("SLOWLOG", "GET", -1) if entry[3][0] in _SCRIPTS]
    calls, mean = await _called(link)
    print(
        f"{what:<52} {took:>10,.1f} ms, server {busy:>10,.1f} ms; {calls:,} calls of {mean:.2f} ms,"
        f" {len(slow)} over {_BOUND_MS} ms, the longest {max(slow, default=0):.1f} ms   {said}",
        flush=True,
    )


_SCRIPTS = (b"EVALSHA", b"EVAL")


async def _called(link: Link) -> tuple[int, float]:
    """Number of script calls since the last reset, and their mean time in ms."""
    text = (await link.call("INFO", "commandstats")).decode()
    found = re.search(r"cmdstat_evalsha:calls=(\d+),usec=(\d+)", text)
    calls, us = map(int, found.groups()) if found else (0, 0)
    return calls, us / max(1, calls) / 1000


async def _busy_ms(link: Link) -> float:
    """CPU time of the server's main thread, without other programs on the machine."""
    text = (await link.call("INFO", "cpu")).decode()
    times = dict(line.split(":") for line in text.split() if ":" in line)
    return sum(float(times[f"used_cpu_{kind}_main_thread"]) for kind in ("sys", "user")) * 1000


async def _main(count: int, replayed: int) -> None:
    with EmbeddedServer() as server:
        link = await open_link(RedisSettings.parse(server.url))
        await link.call(
            "CONFIG",
            "SET",
            "slowlog-log-slower-than",
            _BOUND_MS * 1000,
            "slowlog-max-len",
            _LOGGED,
            "appendonly",
            "no",
            "save",
            "",
        )

        async def ready() -> Link:
            return link

        dead = DeadLetters(_KEYS, ready, 1_000_000)

        async def replay() -> str:
            report = await dead.replay(until=middle)
            return f"{report.count:,} replayed"

        middle = _BEGAN + replayed * (100 * _DAY_MS // count)
        await _measured(link, f"fail {count:,}, add and claim in it", lambda: _fail_many(link, count, Keep()))
        memory = (await link.call("INFO", "memory")).partition(b"used_memory:")[2].partition(b"\r")[0]
        print(f"memory {int(memory) / count:,.0f} bytes a letter")
        late = {"since": _BEGAN + 50 * _DAY_MS}
        filters: list[dict[str, Any]] = [
            {}, late, {"type": "type3"}, {"type": "type3", **late}, {"error": "Error3"}, {"tenant": "tenant3"},
            {"type": "type3", "error": "Error3"}, {"error": "Error3", "tenant": "tenant3"},
            {"type": "type3", "error": "Error3", "tenant": "tenant3", **late},
            {"tenant": "tenant3", "text": "for 3"}, {"type": "type3", "text": "for 3"},
        ]  # fmt: skip
        for one in filters:
            words = ", ".join(f"{name}={value}" for name, value in one.items()) or "all"
            await _measured(link, f"count {words}", partial(dead.count, **one))
        for by in ("type", "error", "tenant", "day"):
            await _measured(link, f"groups by {by}", partial(_size, dead, by))
        await _measured(link, "list 100 of a type", lambda: _listed(dead))
        await _measured(link, f"replay {replayed:,}", replay)
        await _measured(link, "purge the rest of half the days", lambda: dead.purge(until=late["since"]))
        kept, later = await dead.count(), _BEGAN + 100 * _DAY_MS
        await _measured(
            link,
            f"fail {_MORE:,} more, as many deleted by retention",
            lambda: _fail_many(link, _MORE, Keep(count=kept), later),
        )
        await link.close()


async def _size(dead: DeadLetters, by: Any) -> int:
    return len(await dead.groups(by))


async def _listed(dead: DeadLetters) -> int:
    return len(await dead.list(type="type3"))


if __name__ == "__main__":
    asyncio.run(_main(*(int(text) for text in [*sys.argv[1:], "1000000", "100000"][:2])))
