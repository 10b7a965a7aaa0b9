"""The rivals with an event loop: that each does what its `can` says, and counts rightly. Only those that are installed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.arq import ARQ
from benchmarks.peers.pydocket import PYDOCKET
from benchmarks.peers.saq import SAQ
from benchmarks.peers.streaq import STREAQ
from benchmarks.peers.taskiq_list import TASKIQ_LIST
from benchmarks.peers.taskiq_stream import TASKIQ_STREAM
from benchmarks.program import Program
from benchmarks.side import Side, Skill
from engine.connection.embedded import EmbeddedServer

pytestmark = pytest.mark.timeout(120)

_SIDES = (ARQ, SAQ, TASKIQ_STREAM, TASKIQ_LIST, STREAQ, PYDOCKET)
_WAYS: tuple[Skill, ...] = ("one", "at once", "bulk")
_JOBS = 150


class Rival:
    """A server, and one producer and one worker of the side's."""

    def __init__(self, side: Side, url: str, stack: ExitStack) -> None:
        self.side = side
        self._url = url
        self._stack = stack
        self.producer = self.start(side.producer)
        self.worker = self.start(side.worker)

    def start(self, command: tuple[str, ...]) -> Program:
        program = self._stack.enter_context(Program([*command, self._url], env=self.side.env, cores=frozenset()))
        assert program.hear("ready")["python"]
        return program

    def add(self, queue: str, jobs: int, way: str = "at once", **order: Any) -> None:
        assert self.producer.ask("seconds", do="add", queue=queue, jobs=jobs, way=way, **order) > 0

    def waiting(self, queue: str) -> int:
        return int(self.producer.ask("waiting", do="waiting", queue=queue))

    def ready(self, worker: Program, *queues: str, keep: int | None = None, **more: int) -> None:
        assert worker.ask("ready", do="ready", queues=queues, concurrency=10, keep=keep, events=True, **more) is True

    def work_off(self, *queues: str, tries: int, keep: int | None = None, **more: int) -> list[int]:
        """Until jobs were handled so many times; their delays."""
        self.ready(self.worker, *queues, keep=keep, **more)
        assert self.worker.ask("handled", do="begin", jobs=tries) == tries
        ended = self.worker.ask("ended", do="end")
        # saq runs a job twice now and then.
        assert tries <= ended["handled"] <= tries + (self.side is SAQ)
        assert [self.waiting(queue) for queue in queues] == [0] * len(queues)
        delays: list[int] = ended["delays"]
        return delays


@pytest.fixture(scope="module", params=_SIDES, ids=lambda side: side.name)
def rival(request: pytest.FixtureRequest) -> Iterator[Rival]:
    side: Side = request.param
    # Copied into the environment once all is installed.
    if not (Path(side.worker[0]).parent.parent / "requirements.txt").is_file():
        pytest.skip(f"{side.name} is not installed: python -m benchmarks drain --peers {side.name}")
    with EmbeddedServer(tcp=True) as server, ExitStack() as stack:
        yield Rival(side, server.url, stack)


def _needs(rival: Rival, *skills: Skill) -> None:
    if lacking := set(skills) - rival.side.can:
        pytest.skip(f"{rival.side.name} cannot {', '.join(sorted(lacking))}")


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("keep", [None, 0], ids=["kept", "dropped"])
def test_what_is_added_waits_and_is_handled_once(rival: Rival, way: Skill, keep: int | None) -> None:
    _needs(rival, way, "keep all" if keep is None else "keep none")
    queue = f"{way.replace(' ', '-')}-{keep}"
    rival.add(queue, _JOBS, way)
    assert rival.waiting(queue) == _JOBS
    rival.work_off(queue, tries=_JOBS, keep=keep)


def test_a_paced_job_says_how_late_it_began(rival: Rival) -> None:
    _needs(rival, "pace")
    rival.ready(rival.worker, "paced")
    rival.worker.tell(do="begin", jobs=30)
    calls = rival.producer.ask("calls", do="pace", queue="paced", jobs=30, rate=100)
    assert rival.worker.hear("handled") == 30
    delays = rival.worker.ask("ended", do="end")["delays"]
    assert len(calls) == len(delays) == 30
    assert min(*calls, *delays) > 0


def test_the_handler_obeys_the_data(rival: Rival) -> None:
    _needs(rival, "work")
    rival.add("slow", 10, data={"sleep": 100_000, "burn": 10_000, "sent": time.monotonic_ns() // 1000})
    began = time.monotonic()
    delays = rival.work_off("slow", tries=10)
    assert time.monotonic() - began > 0.2
    assert len(delays) == 10


def test_a_delayed_job_is_not_early(rival: Rival) -> None:
    _needs(rival, "delay")
    rival.add("delayed", 20, data={"due": time.monotonic_ns() // 1000 + 1_000_000}, options={"delay": 1_000})
    assert rival.waiting("delayed") == 0
    delays = rival.work_off("delayed", tries=20)
    # A clock of whole milliseconds may round down.
    assert min(delays) > -1_000


@pytest.mark.parametrize(("fails", "attempts", "tries"), [(2, 3, 3), (5, 2, 2)], ids=["mended", "given-up"])
def test_a_job_is_tried_as_often_as_it_may(rival: Rival, fails: int, attempts: int, tries: int) -> None:
    _needs(rival, "retry")
    queue = f"retried-{fails}"
    rival.add(queue, 20, data={"fail": fails}, options={"attempts": attempts})
    rival.work_off(queue, tries=20 * tries)


def test_one_worker_serves_many_queues(rival: Rival) -> None:
    _needs(rival, "queues")
    queues = [f"many-{n}" for n in range(20)]
    for queue in queues:
        rival.add(queue, 5)
    rival.work_off(*queues, tries=100)


@pytest.mark.slow
def test_the_jobs_of_a_killed_worker_are_done_by_another(rival: Rival) -> None:
    _needs(rival, "recover")
    victim = rival.start(rival.side.worker)
    rival.add("killed", 10, data={"sleep": 2_000_000})
    rival.ready(victim, "killed", lock=2_000, sweep=1_000)
    victim.tell(do="begin", jobs=10)
    while rival.waiting("killed"):
        pass
    victim.kill()
    rival.work_off("killed", tries=10, lock=2_000, sweep=1_000)
