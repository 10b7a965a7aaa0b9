"""The scenarios of a job's life in their smallest form: that each measures what it says, not how fast."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest
import redis
from msgspec.structs import replace

from benchmarks.ours import ENGINE
from benchmarks.program import Program
from benchmarks.scenario import Scenario, Variant
from benchmarks.scenarios.delayed import DELAYED
from benchmarks.scenarios.many_queues import MANY_QUEUES
from benchmarks.scenarios.mixed import MIXED
from benchmarks.scenarios.network import NETWORK
from benchmarks.scenarios.recovery import RECOVERY
from benchmarks.scenarios.retries import RETRIES
from benchmarks.side import Side
from benchmarks.stand import Stand, stand
from benchmarks.steps import tally

pytestmark = pytest.mark.timeout(120)

BY_ITSELF = replace(ENGINE, can=ENGINE.can - {"wire"})
"""Ours as if nothing were known of how it lies in Redis: as a rival is measured."""
SIDES = pytest.mark.parametrize("side", [ENGINE, BY_ITSELF], ids=["on the wire", "by itself"])


@pytest.fixture(scope="module")
def server() -> Iterator[Stand]:
    with stand(program=None, tcp=True, fsync="everysec", place="free") as standing:
        yield standing


@pytest.fixture
def on(server: Stand) -> Stand:
    server.empty()
    return server


@pytest.mark.parametrize(
    "scenario", [MIXED, DELAYED, RETRIES, RECOVERY, MANY_QUEUES, NETWORK], ids=lambda scenario: scenario.name
)
def test_every_variant_has_its_number_of_jobs_and_a_side_that_can_run_it(scenario: Scenario) -> None:
    for variant in scenario.variants:
        assert variant.jobs or scenario.jobs or variant.trial
        assert variant.needs <= ENGINE.can


@SIDES
def test_mixed_passes_every_job_through(on: Stand, side: Side) -> None:
    figures = MIXED.measure(on, side, Variant({"concurrency": 10}), 300)
    assert 0 <= figures["backlog"] <= 300
    assert 0 < figures["rate"] <= figures["add_rate"]
    assert (figures["lost"], figures["twice"]) == (0, 0)
    assert on.completed("bench") == 300


@SIDES
@pytest.mark.parametrize("due", ["together", "apart"])
def test_a_delayed_job_is_never_early(on: Stand, side: Side, due: str) -> None:
    figures = DELAYED.measure(on, side, Variant({"due": due, "far": 30, "concurrency": 10}), 20)
    assert 0 <= figures["min_ms"] <= figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert (figures["slack_ms"] == 0) == side.on_the_wire
    assert on.redis.zcard("bull:bench:delayed") == 30


def test_jobs_that_are_delayed_together_are_due_in_one_millisecond(on: Stand) -> None:
    DELAYED.measure(on, ENGINE, Variant({"due": "together", "far": 0, "concurrency": 10}), 20)
    # Each has the same delay, so the time of adding decides.
    assert len({job["timestamp"] for job in _jobs(on, "bench")}) == 1


@pytest.mark.parametrize("fails", [1, 2])
def test_retries_counts_tries(on: Stand, fails: int) -> None:
    figures = RETRIES.measure(on, ENGINE, Variant({"fails": fails, "concurrency": 100}), 60)
    assert figures["rate"] > 0
    assert (figures["lost"], figures["twice"]) == (0, 0)
    jobs = _jobs(on, "bench")
    assert len(jobs) == 60 // (fails + 1)
    assert {job["atm"] for job in jobs} == {fails + 1}


@SIDES
def test_the_jobs_of_a_killed_worker_are_done_by_the_other(on: Stand, side: Side) -> None:
    figures = RECOVERY.measure(on, side, Variant({"lock": 500, "sweep": 200, "sleep": 1_000}), 20)
    assert figures["in_hand"] >= 10
    assert (figures["lost"], figures["twice"]) == (0, 0)
    # Its lock has to end first, and a job takes its time.
    assert figures["recovered_s"] > 1
    jobs = _jobs(on, "bench")
    assert len(jobs) == 20
    assert sum(job["ats"] - 1 for job in jobs) == figures["in_hand"]


def test_many_queues_are_served_by_one_worker_and_watched_while_idle(on: Stand) -> None:
    figures = MANY_QUEUES.measure(on, ENGINE, Variant({"queues": 3, "idle": 1}), 31)
    assert [on.completed(f"bench-{n}") for n in range(3)] == [11, 10, 10]
    assert figures["start_s"] > 0
    assert figures["worker_mb"] > 1
    assert {"idle_commands", "idle_server_ms", "idle_worker_ms"} <= figures.keys()


def test_the_network_bounds_what_waits_for_each_reply_and_not_what_goes_together(on: Stand) -> None:
    one = NETWORK.measure(on, ENGINE, Variant({"what": "enqueue", "way": "one"}), 20)
    on.empty()
    many = NETWORK.measure(on, ENGINE, Variant({"what": "enqueue", "way": "at once"}), 200)
    assert one["rate"] <= 500 < many["rate"]


def test_a_far_worker_begins_a_job_after_every_hop(on: Stand) -> None:
    figures = NETWORK.measure(on, ENGINE, Variant({"what": "latency", "load": "idle", "concurrency": 10}), 10)
    # There with the job, back with the mark, there with the claim, back with the job. One that meets a call which is on its way
    # already saves a hop, so not every job takes all four.
    assert figures["p50_ms"] >= 4


def test_a_pace_is_kept_however_long_the_replies_take(on: Stand) -> None:
    command = (sys.executable, "-m", "benchmarks.proxy", on.url, "50000")
    with (
        Program(command, env={}, cores=frozenset()) as proxy,
        on.producer(ENGINE, url=proxy.hear("ready")["url"]) as producer,
    ):
        began = time.monotonic()
        calls = producer.ask("calls", do="pace", queue="bench", jobs=60, rate=100)
        lasted = time.monotonic() - began
    assert min(calls) > 100_000
    # One after the other they would take 6 s.
    assert 0.6 < lasted < 3
    assert on.waiting(ENGINE, "bench", producer) == 60


def test_the_proxy_makes_the_line_longer_and_not_narrower(on: Stand) -> None:
    command = (sys.executable, "-m", "benchmarks.proxy", on.url, "20000")
    with (
        Program(command, env={}, cores=frozenset()) as proxy,
        redis.Redis.from_url(proxy.hear("ready")["url"]) as far,
    ):
        far.ping()
        began = time.monotonic()
        far.ping()
        assert time.monotonic() - began >= 0.04
        payload = b"x" * 5_000_000
        far.set("large", payload)
        assert far.get("large") == payload
        listener = far.pubsub()
        listener.subscribe("many")
        assert listener.get_message(timeout=10) is not None
        began = time.monotonic()
        for number in range(100):
            on.redis.publish("many", number)
        heard = [_next(listener) for _ in range(100)]
        assert heard == [b"%d" % number for number in range(100)]
        # One after the other they would take 2 s.
        assert 0.02 <= time.monotonic() - began < 1


def test_a_run_that_lost_a_job_on_the_wire_is_an_error_and_elsewhere_a_figure(on: Stand) -> None:
    with pytest.raises(RuntimeError, match=r"are \(9, 0, 0\) and should be \(10, 0, 10\)"):
        tally(on, ENGINE, ["bench"], tries=10, jobs=10, handled=9)
    assert tally(on, BY_ITSELF, ["bench"], tries=10, jobs=10, handled=9) == {"lost": 1, "twice": 0}
    assert tally(on, BY_ITSELF, ["bench"], tries=10, jobs=10, handled=12) == {"lost": 0, "twice": 2}


def _next(listener: redis.client.PubSub) -> bytes:
    message = listener.get_message(timeout=10)
    assert message is not None
    data = message["data"]
    assert isinstance(data, bytes)
    return data


def _jobs(on: Stand, queue: str) -> list[dict[str, int]]:
    """The numbers of every job that is completed."""
    numbers = ("atm", "ats", "timestamp")
    jobs = [
        on.redis.hmget(f"bull:{queue}:{job}", *numbers) for job in on.redis.zrange(f"bull:{queue}:completed", 0, -1)
    ]
    return [{name: int(value or 0) for name, value in zip(numbers, job, strict=True)} for job in jobs]
