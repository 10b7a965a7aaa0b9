"""The rivals without an event loop, each as far as its side says it can. Needs them installed: one run with --peers does it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from benchmarks.peers.celery import CELERY
from benchmarks.peers.dramatiq import DRAMATIQ
from benchmarks.peers.huey import HUEY
from benchmarks.peers.rq import RQ
from benchmarks.program import Program
from benchmarks.side import Side
from engine.connection.embedded import EmbeddedServer

pytestmark = pytest.mark.timeout(120)

JOBS = 40


@pytest.fixture(params=[RQ, CELERY, DRAMATIQ, HUEY], ids=lambda side: side.name)
def side(request: pytest.FixtureRequest) -> Side:
    chosen: Side = request.param
    if not Path(chosen.worker[0]).exists():
        pytest.skip(f"{chosen.name} is not installed: python -m benchmarks enqueue --peers {chosen.name}")
    return chosen


@pytest.fixture
def url() -> Iterator[str]:
    with EmbeddedServer(tcp=True) as server:
        yield server.url


def _start(side: Side, command: tuple[str, ...], url: str) -> Program:
    program = Program([*command, url], env=side.env, cores=frozenset())
    assert side.name in program.hear("ready")
    return program


def _add(producer: Program, jobs: int = JOBS, way: str = "one", queue: str = "bench", **order: Any) -> None:
    assert producer.ask("seconds", do="add", queue=queue, jobs=jobs, way=way, **order) > 0


def _work_off(worker: Program, jobs: int, *queues: str, keep: int | None = 0, concurrency: int = 10) -> list[int]:
    order = {"queues": queues or ("bench",), "concurrency": concurrency, "keep": keep}
    worker.ask("ready", do="ready", **order)
    assert worker.ask("handled", do="begin", jobs=jobs) == jobs
    ended = worker.ask("ended", do="end")
    assert ended["handled"] == jobs
    delays: list[int] = ended["delays"]
    return delays


def _waiting(producer: Program, queue: str = "bench") -> int:
    waiting: int = producer.ask("waiting", do="waiting", queue=queue)
    return waiting


def test_every_way_of_adding_and_keeping_loses_nothing(side: Side, url: str) -> None:
    ways = [way for way in ("one", "at once", "bulk", "sync") if way in side.can]
    assert {"one", "at once", "sync"} <= set(ways)
    with _start(side, side.producer, url) as producer, _start(side, side.worker, url) as worker:
        for keep, concurrency in ((None, 1), (0, 100)):
            for way in ways:
                _add(producer, way=way)
            assert _waiting(producer) == JOBS * len(ways)
            assert _work_off(worker, JOBS * len(ways), keep=keep, concurrency=concurrency) == []
            assert _waiting(producer) == 0


def test_a_unix_socket_does_as_well(side: Side) -> None:
    with (
        EmbeddedServer() as server,
        _start(side, side.producer, server.url) as producer,
        _start(side, side.worker, server.url) as worker,
    ):
        assert server.url.startswith("unix:")
        _add(producer)
        _work_off(worker, JOBS, keep=None)


def test_results_are_kept_or_not_as_ordered(side: Side, url: str) -> None:
    with (
        _start(side, side.producer, url) as producer,
        _start(side, side.worker, url) as worker,
        redis.Redis.from_url(url) as client,
    ):
        for keep in (None, 0):
            _add(producer)
            _work_off(worker, JOBS, keep=keep)
            assert _RESULTS[side.name](client) == JOBS


_RESULTS: dict[str, Callable[[Any], int]] = {
    "rq": lambda client: client.zcard("rq:finished:bench"),
    "celery": lambda client: len(client.keys("celery-task-meta-*")),
    "dramatiq": lambda client: len([key for key in client.scan_iter() if not key.startswith(b"dramatiq:")]),
    "huey": lambda client: client.hlen("huey.results.bench"),
}
"""Where the results are."""


def test_a_paced_job_says_how_late_it_began(side: Side, url: str) -> None:
    with _start(side, side.producer, url) as producer, _start(side, side.worker, url) as worker:
        worker.ask("ready", do="ready", queues=["bench"], concurrency=10, keep=None)
        worker.tell(do="begin", jobs=JOBS)
        calls = producer.ask("calls", do="pace", queue="bench", jobs=JOBS, rate=200, data={"burn": 10})
        assert worker.hear("handled") == JOBS
        delays = worker.ask("ended", do="end")["delays"]
    assert len(calls) == len(delays) == JOBS
    assert min(calls) > 0
    assert min(delays) > 0


def test_the_handler_burns_and_sleeps_as_the_data_say(side: Side, url: str) -> None:
    with _start(side, side.producer, url) as producer, _start(side, side.worker, url) as worker:
        for word in ("burn", "sleep"):
            _add(producer, jobs=4, data={word: 50_000, "text": "y" * 10_000})
            began = time.monotonic()
            _work_off(worker, 4, concurrency=1)
            assert time.monotonic() - began > 4 * 0.05


def test_a_delayed_job_is_not_early(side: Side, url: str) -> None:
    with _start(side, side.producer, url) as producer, _start(side, side.worker, url) as worker:
        due = time.monotonic_ns() // 1000 + 2_000_000
        _add(producer, data={"due": due}, options={"delay": 2_000}, way="bulk" if "bulk" in side.can else "one")
        delays = _work_off(worker, JOBS)
    assert len(delays) == JOBS
    # The producer's clock starts a little after ours; RQ and Huey keep the time in whole seconds or cut it.
    assert min(delays) > -1_000_000


def test_a_job_that_fails_is_tried_again_until_it_succeeds(side: Side, url: str) -> None:
    with _start(side, side.producer, url) as producer, _start(side, side.worker, url) as worker:
        for fails in (1, 2):
            _add(producer, jobs=5, data={"fail": fails}, options={"attempts": 4})
            _work_off(worker, 5 * (fails + 1))
            assert _waiting(producer) == 0


def test_a_job_that_fails_is_not_tried_more_often_than_ordered(side: Side, url: str) -> None:
    with _start(side, side.producer, url) as producer, _start(side, side.worker, url) as worker:
        _add(producer, jobs=5, data={"fail": 9}, options={"attempts": 2})
        _add(producer, jobs=5, data={"fail": 9})
        _work_off(worker, 5 * 2 + 5)
        assert _waiting(producer) == 0


def test_one_worker_serves_many_queues(side: Side, url: str) -> None:
    if "queues" not in side.can:
        pytest.skip(f"{side.name} has one queue for each worker")
    queues = [f"bench-{n}" for n in range(20)]
    with _start(side, side.producer, url) as producer, _start(side, side.worker, url) as worker:
        for queue in queues:
            _add(producer, jobs=3, queue=queue)
        _work_off(worker, 3 * len(queues), *queues)
        assert [_waiting(producer, queue) for queue in queues] == [0] * len(queues)


def test_a_worker_whose_input_is_closed_ends_with_all_its_processes(side: Side, url: str) -> None:
    with _start(side, side.worker, url) as worker:
        worker.ask("ready", do="ready", queues=["bench"], concurrency=10, keep=None)
        worker.tell(do="begin", jobs=JOBS)
        processes = [worker.pid, *_children(worker.pid)]
        began = time.monotonic()
    assert time.monotonic() - began < 9  # not by force, which comes after 10 s
    assert [pid for pid in processes if _runs(pid)] == []


def test_a_killed_worker_leaves_no_process_behind(side: Side, url: str) -> None:
    with _start(side, side.worker, url) as worker:
        worker.ask("ready", do="ready", queues=["bench"], concurrency=10, keep=None)
        processes = _children(worker.pid)
        os.kill(worker.pid, signal.SIGKILL)
    ends = time.monotonic() + 10
    while any(map(_runs, processes)):
        assert time.monotonic() < ends, f"of {processes} some still run"


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
