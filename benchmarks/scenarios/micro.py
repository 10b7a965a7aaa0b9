"""What each script and each encode and decode costs by itself. The cases are in benchmarks/micro/.

A script: time of the server's main thread inside the call, as the server counts it; reading the command, writing the
reply and the append-only file come on top, and scenario `floor` has them. Each call works on a queue that holds the rows
of that call and no others, beside an event stream that is full.
The client: CPU time of this process, in a loop and so at its warmest.
"""

from __future__ import annotations

import time
from timeit import Timer

import uvloop

from benchmarks.measure import Watch
from benchmarks.micro.client import OPERATIONS, sample
from benchmarks.micro.scripts import CASES, Case
from benchmarks.micro.server import Spent, spent_on_scripts
from benchmarks.program import placed
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand, client_cores
from engine.connection import open_link
from engine.model.keys import Keys
from engine.scripting.loader import loading

_CALLS = 400

_FILL = "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'event', 'waiting', 'jobId', n, 'prev', 'active') end"
_CLEAR = (
    "for _, key in ipairs(redis.call('KEYS', KEYS[1] .. '*')) do if key ~= KEYS[2] then redis.call('DEL', key) end end"
)


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    with placed(client_cores(stand.place)):
        match variant.settings:
            case {"script": str(name), "rows": int(rows)}:
                watch = Watch(stand.server_pid)
                calls = min(_CALLS, max(1, jobs // rows))
                figures = uvloop.run(_time_script(stand, name, CASES[name], rows, calls))
                return {**figures, "others": watch.others()}
            case {"client": str(name)}:
                return {"row_us": uvloop.run(_time_operation(stand.url, name, jobs))}
    raise ValueError(f"micro has no {variant.name}")


async def _time_script(stand: Stand, name: str, case: Case, rows: int, calls: int) -> Figures:
    keys = Keys("micro")
    # All are loaded, as a seed calls others; a script sent as text would be counted elsewhere.
    link = await open_link(stand.url, prelude=loading(*CASES))
    try:
        await link.call("EVAL", _FILL, 1, keys.events, 10_000)
        spent, slow = Spent(), 0
        for _ in range(calls):
            await link.call("EVAL", _CLEAR, 2, keys.jobs, keys.events)
            seeded = await case.seed(link, keys, rows)
            stand.forget_slow()
            before = await spent_on_scripts(link)
            reply = await case.call(link, keys, seeded)
            spent = (await spent_on_scripts(link)).since(before).plus(spent)
            slow += stand.slow()
            if (done := case.done(seeded, reply)) != rows:
                raise RuntimeError(f"{name}: {done} of {rows} rows were carried out")
        return {
            "call_us": spent.us / spent.calls,
            "row_us": spent.us / (calls * rows),
            "script_calls": spent.calls / calls,
            "slow": slow,
        }
    finally:
        await link.close()


async def _time_operation(url: str, name: str, rows: int) -> float:
    link = await open_link(url, prelude=loading(*CASES))
    samples = await sample(link)
    await link.close()
    operation = OPERATIONS[name]
    timed = Timer(operation.make(samples), timer=time.process_time)
    runs = max(1, rows // operation.rows)
    timed.timeit(max(1, runs // 10))
    return timed.timeit(runs) / (runs * operation.rows) * 1e6


MICRO = Scenario(
    "micro",
    "each script alone, by rows a call: the server's time; each encode and decode of the client: its CPU time",
    variants=(
        *(Variant({"script": name, "rows": rows}) for name, case in CASES.items() for rows in case.rows),
        *(Variant({"client": name}) for name in OPERATIONS),
    ),
    measure=_measure,
    main="row_us",
    shown=("row_us", "call_us", "script_calls", "others"),
    jobs=20_000,
    has_limit=False,
    alone=True,
    units={"row_us": "us/row", "call_us": "us/script call", "script_calls": "script calls"},
)
"""`jobs` are rows in all: a variant makes as many calls as they fill, `_CALLS` at most."""
