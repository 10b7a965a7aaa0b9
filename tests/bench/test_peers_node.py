"""BullMQ's own programs, for Node and for Python, keep to the protocol of side.py. Runs with what the harness has installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from benchmarks.peers.bullmq_node import BULLMQ_NODE
from benchmarks.peers.bullmq_node_6 import BULLMQ_NODE_6
from benchmarks.peers.bullmq_python import BULLMQ_PYTHON
from benchmarks.peers.npm import HOME
from benchmarks.program import Program
from benchmarks.side import Side
from tests.support.running import until

pytestmark = pytest.mark.timeout(120)

Start = Callable[[tuple[str, ...]], Program]


@pytest.fixture(params=[BULLMQ_NODE, BULLMQ_NODE_6, BULLMQ_PYTHON], ids=lambda side: side.name)
def side(request: pytest.FixtureRequest) -> Side:
    side: Side = request.param
    if not any((HOME / side.name / manifest).is_file() for manifest in ("package.json", "requirements.txt")):
        pytest.skip(f"{side.name} is not installed; `python -m benchmarks enqueue --peers {side.name}` does that")
    if shutil.which(side.worker[0]) is None:
        pytest.skip(f"{side.name} needs {side.worker[0]}, which is not on PATH")
    return side


@pytest.fixture
def start(side: Side, redis_url: str) -> Iterator[Start]:
    """Starts a program of the side; it is ready and ends with the test."""
    with ExitStack() as stack:

        def started(command: tuple[str, ...]) -> Program:
            program = Program([*command, redis_url], env=side.env, cores=frozenset())
            stack.enter_context(program)
            assert program.hear("ready")["bullmq"]
            return program

        yield started


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def _ready(worker: Program, *queues: str, concurrency: int = 10, keep: int | None = None, **more: int) -> None:
    assert worker.ask("ready", do="ready", queues=queues, concurrency=concurrency, keep=keep, **more)


def _add(producer: Program, jobs: int, *, queue: str = "q", way: str = "bulk", **more: dict[str, Any]) -> None:
    assert producer.ask("seconds", do="add", queue=queue, jobs=jobs, way=way, **more) > 0


def test_each_way_of_adding_adds_every_job_with_its_data(side: Side, start: Start, server: Any) -> None:
    producer = start(side.producer)
    for way, jobs in (("one", 3), ("at once", 130), ("bulk", 1_200)):
        _add(producer, jobs, queue=way, way=way, data={"burn": 0})
        assert producer.ask("waiting", do="waiting", queue=way) == jobs
        found = [
            json.loads(server.hget(f"bull:{way}:{job}", "data")) for job in server.lrange(f"bull:{way}:wait", 0, -1)
        ]
        assert sorted(data["n"] for data in found) == list(range(jobs))
        assert found[0] == {"n": found[0]["n"], "text": "x" * 80, "burn": 0}


@pytest.mark.parametrize(("keep", "kept"), [(None, 40), (10, 10), (0, 0)])
def test_one_worker_works_off_all_its_queues_and_keeps_what_it_was_told(
    side: Side, start: Start, server: Any, keep: int | None, kept: int
) -> None:
    producer, worker = start(side.producer), start(side.worker)
    for queue in ("warm", "a", "b", "c"):
        _add(producer, 40, queue=queue)
    _ready(worker, "warm", keep=keep)
    assert worker.ask("handled", do="begin", jobs=40) == 40
    assert worker.ask("ended", do="end") == {"handled": 40, "delays": []}
    _ready(worker, "a", "b", "c", keep=keep)
    assert worker.ask("handled", do="begin", jobs=120) == 120
    assert worker.ask("ended", do="end")["handled"] == 120
    assert [server.zcard(f"bull:{queue}:completed") for queue in ("a", "b", "c")] == [kept] * 3
    assert producer.ask("waiting", do="waiting", queue="a") == 0


def test_a_job_burns_and_sleeps_as_its_data_says(side: Side, start: Start) -> None:
    producer, worker = start(side.producer), start(side.worker)
    _add(producer, 5, data={"burn": 10_000, "sleep": 20_000, "text": "short"})
    _ready(worker, "q", concurrency=1)
    began = time.monotonic()
    worker.ask("handled", do="begin", jobs=5)
    worker.ask("ended", do="end")
    assert time.monotonic() - began > 0.15


def test_a_pace_is_kept_and_the_way_of_each_job_is_timed(side: Side, start: Start) -> None:
    producer, worker = start(side.producer), start(side.worker)
    _ready(worker, "q")
    worker.tell(do="begin", jobs=50)
    began = time.monotonic()
    calls = producer.ask("calls", do="pace", queue="q", jobs=50, rate=200, data={"text": "short"})
    assert time.monotonic() - began > 49 / 200
    assert len(calls) == 50
    assert min(calls) > 0
    assert worker.hear("handled") == 50
    delays = worker.ask("ended", do="end")["delays"]
    assert len(delays) == 50
    assert min(delays) > 0


def test_delayed_jobs_wait_and_tell_how_late_they_began(side: Side, start: Start) -> None:
    producer, worker = start(side.producer), start(side.worker)
    due = time.monotonic_ns() // 1000 + 1_500_000
    _add(producer, 20, options={"delay": 1_500}, data={"due": due})
    assert producer.ask("waiting", do="waiting", queue="q") == 0
    _ready(worker, "q")
    worker.ask("handled", do="begin", jobs=20)
    delays = worker.ask("ended", do="end")["delays"]
    assert len(delays) == 20
    # The delay counts from the add call, which came after `due` was reckoned; times on the wire are whole milliseconds.
    assert min(delays) > -1_000


def test_a_job_that_fails_is_tried_again_and_counts_each_time(side: Side, start: Start, server: Any) -> None:
    producer, worker = start(side.producer), start(side.worker)
    _add(producer, 10, options={"attempts": 3}, data={"fail": 2})
    _add(producer, 10, way="at once", options={"attempts": 2}, data={"fail": 9})
    _ready(worker, "q")
    assert worker.ask("handled", do="begin", jobs=50) == 50
    assert worker.ask("ended", do="end")["handled"] == 50
    assert (server.zcard("bull:q:completed"), server.zcard("bull:q:failed")) == (10, 10)


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_jobs_of_a_killed_worker_go_to_another(side: Side, start: Start, server: Any) -> None:
    producer, killed, worker = start(side.producer), start(side.worker), start(side.worker)
    # Longer than the lock, so that it has to be renewed.
    _add(producer, 5, data={"sleep": 1_000_000})
    _ready(killed, "q", lock=500, sweep=500)
    killed.tell(do="begin", jobs=5)
    await until(lambda: server.llen("bull:q:active") == 5, "the first worker has them all")
    os.kill(killed.pid, signal.SIGKILL)
    _ready(worker, "q", lock=500, sweep=500)
    assert worker.ask("handled", do="begin", jobs=5) == 5
    assert worker.ask("ended", do="end")["handled"] == 5
    assert server.zcard("bull:q:completed") == 5
