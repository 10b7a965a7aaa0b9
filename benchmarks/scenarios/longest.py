"""The longest calls: for how long the largest call of each script holds the server. None may exceed SLOW_MS.

The least of `jobs` calls, by the server's own clock: any longer one was disturbed by another program. On a machine that is
never quiet read the CPU time of the server's main thread instead; reading the command and writing the append-only file are in it.
The cases are in benchmarks/micro/largest.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import uvloop

from benchmarks.micro.largest import LARGEST
from benchmarks.micro.scripts import CASES, Case
from benchmarks.micro.server import spent_by_command
from benchmarks.program import placed
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand, client_cores
from engine.connection import open_link
from engine.model.keys import Keys
from engine.scripting.loader import loading


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    with placed(client_cores(stand.place)):
        return uvloop.run(_longest(stand, LARGEST[str(variant.settings["call"])], jobs))


async def _longest(stand: Stand, case: Case, calls: int) -> Figures:
    keys, (rows,) = Keys("largest"), case.rows
    link = await open_link(stand.url, prelude=loading(*CASES))
    (_, before) = await link.call("CONFIG", "GET", "slowlog-log-slower-than")
    # Above the time of a command inside the script: each that is logged makes the script slower.
    await link.call("CONFIG", "SET", "slowlog-log-slower-than", 100)
    least, least_cpu, commands = float("inf"), float("inf"), 0.0
    try:
        for _ in range(calls):
            await link.call("FLUSHALL", "SYNC")
            seeded = await case.seed(link, keys, rows)
            await link.call("SLOWLOG", "RESET")
            await link.call("CONFIG", "RESETSTAT")
            spent_before = _cpu_ms(stand.server_pid)
            await case.call(link, keys, seeded)
            cpu = _cpu_ms(stand.server_pid) - spent_before
            entries: list[Any] = await link.call("SLOWLOG", "GET", -1)
            least = min(least, max(entry[2] for entry in entries if entry[3][0] == b"EVALSHA"))
            spent = await spent_by_command(link)
            scripts = spent.pop("evalsha").calls
            least_cpu = min(least_cpu, cpu / scripts)
            commands = sum(one.calls for name, one in spent.items() if "|" not in name) / scripts
    finally:
        await link.call("SLOWLOG", "RESET")
        await link.call("CONFIG", "SET", "slowlog-log-slower-than", before)
        await link.close()
    return {"longest_ms": least / 1_000, "cpu_ms": least_cpu, "commands": commands, "rows": rows}


def _cpu_ms(pid: int) -> float:
    """CPU time of a process's main thread, which the kernel gives in nanoseconds."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e6


LONGEST = Scenario(
    "longest",
    "the largest call of each script: for how long it holds the server, and how many commands it runs",
    variants=tuple(Variant({"call": name}) for name in LARGEST),
    measure=_measure,
    main="longest_ms",
    shown=("longest_ms", "cpu_ms", "commands", "rows"),
    jobs=7,
    has_limit=False,
    alone=True,
    units={
        "longest_ms": "ms, least of the calls",
        "cpu_ms": "ms of CPU a call",
        "commands": "commands a call",
        "rows": "rows",
    },
)
"""`jobs` are calls of each case."""
