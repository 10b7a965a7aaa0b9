"""Bytes that a job holds in Redis in each state, and the speed beside it, by hash-max-listpack-value.

A hash is kept as one compact string as long as none of its values is longer than that setting, else as a table. The data
of a job here has about 100 bytes, which is over Redis' default of 64.

`job_bytes` is the growth of used_memory for each job, less what clients' buffers and the append-only file's hold at that
moment. The event stream is deleted before both looks: it is bounded, whatever the number of jobs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.program import PATIENCE, Program
from benchmarks.scenario import Figures, Scenario, Variant, quickest_way
from benchmarks.side import Side, Skill
from benchmarks.stand import Stand

_HOUR_MS = 3_600_000
_EVER_US = 3_600_000_000
_SETTING = "hash-max-listpack-value"
_BUFFERS = ("mem_clients_normal", "mem_aof_buffer")
_POLL = 0.02
_SETTLING = 0.3

_OPTIONS: dict[str, dict[str, int]] = {"prioritized": {"priority": 5}, "delayed": {"delay": _HOUR_MS}}
_DATA: dict[str, dict[str, int]] = {"active": {"sleep": _EVER_US}, "failed": {"fail": 1}}
_STATES = ("waiting", "prioritized", "delayed", "active", "completed", "failed")
# Any side has jobs that wait. The other states are looked up where BullMQ has them.
_NEEDS: dict[str, frozenset[Skill]] = {"waiting": frozenset()}
_WIRE: frozenset[Skill] = frozenset({"work", "delay", "keep all", "wire"})


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    state, compact = variant.settings["state"], variant.settings["listpack"]
    assert isinstance(state, str)
    with _compact_up_to(stand, compact):
        # So that what a server or a client library keeps for all jobs together is there before the first look.
        with stand.producer(side) as producer:
            producer.ask("seconds", do="add", queue="warm", jobs=1, way=quickest_way(side))
        before = _held(stand)
        with stand.producer(side) as producer:
            meter = stand.meter(producers=[producer])
            order: dict[str, Any] = {"data": _DATA.get(state, {}), "options": _OPTIONS.get(state, {})}
            producer.ask("seconds", do="add", queue="bench", jobs=jobs, way=quickest_way(side), **order)
            figures = meter.read(jobs)
        if state in ("active", "completed", "failed"):
            with stand.worker(side) as worker:
                figures = _work(stand, worker, state, jobs)
                job_bytes = (_held(stand) - before) / jobs
                # It would wait for its jobs, and they never end.
                worker.kill()
        else:
            job_bytes = (_held(stand) - before) / jobs
        if side.on_the_wire:
            _check(stand, state, jobs)
            figures["table"] = float(stand.redis.object("encoding", "bull:bench:1") == "hashtable")
        return {"job_bytes": job_bytes, **figures}


@contextmanager
def _compact_up_to(stand: Stand, length: object) -> Iterator[None]:
    before = stand.redis.config_get(_SETTING)[_SETTING]
    stand.redis.config_set(_SETTING, length)
    try:
        yield
    finally:
        stand.redis.config_set(_SETTING, before)


def _work(stand: Stand, worker: Program, state: str, jobs: int) -> Figures:
    """Let all jobs get into that state by a worker that takes them; what it cost."""
    concurrency = jobs if state == "active" else 100
    worker.ask("ready", do="ready", queues=["bench"], concurrency=concurrency, keep=None)
    meter = stand.meter(workers=[worker])
    worker.tell(do="begin", jobs=jobs)
    _wait_until_there(stand, state, jobs)
    return meter.read(jobs)


def _wait_until_there(stand: Stand, state: str, jobs: int) -> None:
    ends = time.monotonic() + PATIENCE
    while _count(stand, state) < jobs and time.monotonic() < ends:
        time.sleep(_POLL)
    _check(stand, state, jobs)


def _check(stand: Stand, state: str, jobs: int) -> None:
    if (there := _count(stand, state)) != jobs:
        raise RuntimeError(f"{there} jobs are {state} and should be {jobs}")


def _count(stand: Stand, state: str) -> int:
    if state in ("waiting", "active"):
        return int(stand.redis.llen("bull:bench:wait" if state == "waiting" else "bull:bench:active"))
    return int(stand.redis.zcard(f"bull:bench:{state}"))


def _held(stand: Stand) -> int:
    """Bytes that jobs take, once two looks agree: the server notes only now and then what clients' buffers hold."""
    stand.redis.delete("bull:bench:events", "bull:warm:events")
    before, now = -1, _look(stand)
    while abs(now - before) > now * 0.001:
        time.sleep(_SETTLING)
        before, now = now, _look(stand)
    return now


def _look(stand: Stand) -> int:
    info = stand.redis.info("memory")
    return int(info["used_memory"]) - sum(int(info[name]) for name in _BUFFERS)


MEMORY = Scenario(
    "memory",
    "bytes that a job holds in Redis, by its state and by hash-max-listpack-value",
    variants=tuple(
        Variant({"state": state, "listpack": length}, needs=_NEEDS.get(state, _WIRE))
        for state in _STATES
        for length in (64, 256, 1024)
    ),
    measure=_measure,
    main="job_bytes",
    shown=("job_bytes", "rate", "server_us", "worker_us", "producer_us", "table", "others"),
    jobs=20_000,
    has_limit=False,
    units={"job_bytes": "bytes held/job", "table": "hash is a table"},
)
