"""What several servers add: 1, 2 and 4 queues, each with a worker process of its own, on 1, 2 and 4 servers.

All are processes of this machine, and the kernel places them, as in `scale`. Where the cores are fewer than the processes
the rate cannot grow: then `server_us` says whether a server's job costs the same beside others, and `times_most` is the
rate, beside that of one queue on one server in the same run, that machines enough would reach at this CPU time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.measure import Watch, cpu_seconds
from benchmarks.program import Program
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand
from benchmarks.steps import tally

_WARM = 2_000
_CONCURRENCY = 100


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    queues, servers = int(variant.settings["queues"] or 1), int(variant.settings["servers"] or 1)
    with ExitStack() as running:
        stands = running.enter_context(stand.beside(servers))
        places = [stands[number % servers] for number in range(queues)]
        workers = [running.enter_context(place.worker(side)) for place in places]
        for place in stands:
            running.enter_context(place.on_all_cores(*(worker.pid for worker in workers)))
        _drain(side, places, workers, "warm", min(_WARM, jobs))
        one = _drain(side, places[:1], workers[:1], "one", jobs)
        return _beside(one, _drain(side, places, workers, "all", jobs))


def _beside(one: Figures, all_: Figures) -> Figures:
    busiest = max(all_["busiest_server_us"], all_["busiest_worker_us"])
    return {
        **all_,
        "times_one": all_["rate"] / one["rate"],
        "times_most": max(one["server_us"], one["worker_us"]) / busiest if busiest else 0.0,
    }


def _drain(side: Side, places: Sequence[Stand], workers: Sequence[Program], name: str, jobs: int) -> Figures:
    """Each worker processes `jobs` of a queue of its own, all at once."""
    queues = [f"{name}-{number}" for number in range(len(places))]
    for place, queue, worker in zip(places, queues, workers, strict=True):
        with place.producer(side) as producer:
            producer.ask("seconds", do="add", queue=queue, jobs=jobs, way="bulk")
        worker.ask("ready", do="ready", queues=[queue], concurrency=_CONCURRENCY, keep=None)
    servers = {place.server_pid for place in places}
    programs = {worker.pid for worker in workers}
    watch, before, began = Watch(*servers, *programs), _spent(servers | programs), time.monotonic()
    for worker in workers:
        worker.tell(do="begin", jobs=jobs)
    for place, queue, worker in zip(places, queues, workers, strict=True):
        worker.hear("handled")
        place.wait_until_idle(side, queue)
    seconds, after = time.monotonic() - began, _spent(servers | programs)
    others, steal = watch.others(), watch.steal()
    for place, queue, worker in zip(places, queues, workers, strict=True):
        tally(place, side, [queue], tries=jobs, jobs=jobs, handled=worker.ask("ended", do="end")["handled"])
    spent = {pid: after[pid] - before[pid] for pid in after}
    done = jobs * len(queues)
    server, worker_ = (sum(spent[pid] for pid in pids) for pids in (servers, programs))
    return {
        "rate": done / seconds,
        "seconds": seconds,
        "server_us": server / done * 1e6,
        "worker_us": worker_ / done * 1e6,
        "busiest_server_us": max(spent[pid] for pid in servers) / done * 1e6,
        "busiest_worker_us": max(spent[pid] for pid in programs) / done * 1e6,
        "cores": (server + worker_) / seconds,
        "others": others,
        "steal": steal,
    }


def _spent(pids: set[int]) -> dict[int, float]:
    return {pid: cpu_seconds(pid) for pid in pids}


SCALE_SERVERS = Scenario(
    "scale-servers",
    "jobs worked off a second from 1, 2 and 4 queues on 1, 2 and 4 servers, a worker process for each queue",
    variants=tuple(
        Variant({"queues": queues, "servers": servers}, trial=10_000)
        for queues in (1, 2, 4)
        for servers in (1, 2, 4)
        if servers <= queues
    ),
    measure=_measure,
    main="rate",
    shown=("rate", "times_one", "times_most", "cores", "server_us", "worker_us", "others"),
    has_limit=False,
    alone=True,
    units={"times_one": "x one queue", "times_most": "x one queue, at most", "cores": "cores busy"},
)
