"""What a job costs while 10,000 to 5,000,000 others wait, have a priority, or are delayed.

So many are put there first (benchmarks/micro/fill.py), the last 10,000 by `add`, so that the event stream is full too.
Then scripts in a loop, two calls in flight: `add` with 1,000 jobs a call, of the same kind, and `turn` with 100.
Server CPU by the clock of the process, so all that a job costs there is in it. Delayed jobs are worked off once they are due:
as many as are worked off are added overdue, and the others stay.

Each run does the same beside 10,000 first: `times_small` compares within a minute, not across a run of an hour.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import uvloop

from benchmarks.micro.fill import STATES, State, fill, row
from benchmarks.micro.loops import add_all, take_all
from benchmarks.micro.server import wait_for_rewrite
from benchmarks.program import placed
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand, client_cores
from engine.connection import Link, RedisSettings, open_link
from engine.model.keys import Keys
from engine.model.options import NO_OPTIONS_WIRE
from engine.model.records import NewRow
from engine.scripting.loader import loading

_SMALL = 10_000
_BYTES_A_JOB = 1_000  # what the server takes for one, and room for what it sets aside
_LONG_AGO_MS = 100_000_000
_KEYS = Keys("bench")


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    state, waiting = variant.settings["state"], variant.settings["waiting"]
    assert isinstance(waiting, int)
    check_memory(waiting)
    with placed(client_cores(stand.place)):
        for kind in STATES:
            if kind == state:
                return uvloop.run(_compare(stand, kind, waiting, jobs))
    raise ValueError(f"growth has no {variant.name}")


def check_memory(waiting: int) -> None:
    """Stop the harness with what to do instead, if so many jobs would not fit into the machine."""
    need = waiting * _BYTES_A_JOB
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:") and (free := int(line.split()[1]) * 1024) < need:
            raise SystemExit(
                f"growth: {waiting:,} jobs need {need / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
                "choose fewer with --only waiting=..."
            )


async def _compare(stand: Stand, state: State, waiting: int, jobs: int) -> Figures:
    # Emptying a server of millions of jobs takes seconds.
    settings = msgspec.structs.replace(RedisSettings.parse(stand.url), call_timeout=300_000)
    link = await open_link(settings, prelude=loading("add", "turn"))
    try:
        small = await _cost(stand, link, state, _SMALL, jobs)
        figures = await _cost(stand, link, state, waiting, jobs)
        return {**figures, "times_small": figures["server_us"] / small["server_us"]}
    finally:
        await link.close()


async def _cost(stand: Stand, link: Link, state: State, waiting: int, jobs: int) -> Figures:
    _forget_what_was_written(stand)
    now = int(time.time() * 1000)
    filled = max(0, waiting - _SMALL)
    await fill(link, _KEYS, state, filled, now)
    await add_all(link, _KEYS, [row(state, n, now) for n in range(filled, waiting)])
    await _check_sample(link, waiting)
    more = [row(state, n, now) for n in range(waiting, waiting + jobs)]
    stand.forget_slow()
    meter = stand.meter()
    await add_all(link, _KEYS, more)
    adding = meter.read(jobs)
    slow = stand.slow()
    if state == "delayed":
        await add_all(link, _KEYS, [_overdue(n, now) for n in range(jobs)])
    stand.forget_slow()
    meter = stand.meter()
    await take_all(link, _KEYS, jobs)
    taking = meter.read(jobs)
    slow += stand.slow()
    await link.call("FLUSHALL", "SYNC")
    return {
        "server_us": adding["server_us"] + taking["server_us"],
        "add_us": adding["server_us"],
        "turn_us": taking["server_us"],
        "add_rate": adding["rate"],
        "rate": taking["rate"],
        "slow": slow,
        "others": max(adding["others"], taking["others"]),
    }


def _forget_what_was_written(stand: Stand) -> None:
    """Begin the append-only file anew: with millions of jobs for every run it would fill the disk."""
    if stand.redis.config_get("appendonly")["appendonly"] == "yes":
        stand.redis.bgrewriteaof()
        wait_for_rewrite(stand.redis)


async def _check_sample(link: Link, waiting: int) -> None:
    """The first job, which may have been filled in, looks like the last, which was added."""
    first, last = await link.call_many([("HGETALL", _KEYS.job("1")), ("HGETALL", _KEYS.job(str(waiting)))])
    if first[::2] != last[::2]:
        raise RuntimeError(f"a filled job has {first[::2]} and an added one {last[::2]}")


def _overdue(number: int, now: int) -> NewRow:
    return NewRow("", "job", b"{}", NO_OPTIONS_WIRE, timestamp=now - _LONG_AGO_MS, delay=number + 1)


GROWTH = Scenario(
    "growth",
    "server CPU of a job, added and worked off, while many others wait, have a priority or are delayed",
    variants=tuple(
        Variant({"state": state, "waiting": waiting})
        for state in STATES
        for waiting in (_SMALL, 100_000, 1_000_000, 5_000_000)
    ),
    measure=_measure,
    main="server_us",
    shown=("server_us", "times_small", "add_us", "turn_us", "add_rate", "rate", "others"),
    jobs=50_000,
    has_limit=False,
    alone=True,
    units={
        "times_small": f"x beside {_SMALL:,}",
        "add_us": "server CPU of add, us/job",
        "turn_us": "server CPU of turn, us/job",
        "add_rate": "added/s",
    },
)
