"""`corral worker`: in any project folder, for a Worker, processors or a function, until empty, and restarted on changes."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine import Queue
from engine.model.wire import VERSION
from tests.support.running import until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

CORRAL = str(Path(sys.executable).with_name("corral"))
JOBS = """\
from engine import Job, Worker, processor

@processor("greet")
async def greet(job: Job) -> str:
    return f"Hello, {job.data['name']}"

@processor("count", run_in="process")
def count(job: Job) -> int:
    return len(job.data["name"])

async def anything(job: Job) -> str:
    return job.name

PROCESSORS = [greet, count]
"""


class Program:
    """One `corral` in a folder. `log` is what it has printed."""

    def __init__(self, folder: Path, words: tuple[str, ...], redis: str) -> None:
        self._file = folder / "corral.log"
        with self._file.open("wb") as output:
            self.process = subprocess.Popen(
                [CORRAL, *words],
                cwd=folder,
                env=os.environ | {"REDIS_URL": redis},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def log(self) -> str:
        return self._file.read_text()

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, 30)

    async def stop(self) -> int:
        self.process.terminate()
        return await self.ended()


@contextmanager
def corral(folder: Path, *words: str, redis: str) -> Iterator[Program]:
    program = Program(folder, words, redis)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait(10)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


async def refused(folder: Path, *words: str) -> str:
    """The one line of a worker that does not start, with exit code 2."""
    with corral(folder, "worker", *words, redis="redis://127.0.0.1:1") as program:
        assert await program.ended() == 2, program.log
        assert len(program.log.splitlines()) == 1, program.log
        return program.log


async def test_a_folder_with_an_engine_of_its_own(project: Path, redis_url: str) -> None:
    (project / "engine.py").write_text("raise RuntimeError('not the engine that runs jobs')")
    async with Queue("q", redis=redis_url) as queue:
        with corral(project, "worker", "jobs", "--queue", "q", "--processes", "2", redis=redis_url) as program:
            jobs = [await queue.add(name, {"name": "Ada"}) for name in ("greet", "count")]
            assert [await job.result(timeout=20_000) for job in jobs] == ["Hello, Ada", 3], program.log
            assert await program.stop() == 0


async def test_an_import_of_ones_own_engine_is_explained(project: Path) -> None:
    (project / "engine.py").write_text("power = 9")
    (project / "cars.py").write_text("from engine import power")
    line = await refused(project, "cars")
    assert f"hides {project / 'engine.py'}: rename it" in line
    (project / "cars.py").write_text("import engine.parts")
    assert f"hides {project / 'engine.py'}: rename it" in await refused(project, "cars")


async def test_processors_of_the_project_go_first(project: Path, redis_url: str) -> None:
    (project / "processors").mkdir()
    (project / "jobs.py").rename(project / "processors" / "__init__.py")
    async with Queue("greet-queue", redis=redis_url) as queue:
        with corral(project, "worker", redis=redis_url) as program:
            assert await (await queue.add("greet", {"name": "Ada"})).result(timeout=20_000) == "Hello, Ada"
            assert await program.stop() == 0


async def test_a_worker_is_run_with_its_own_options(project: Path, redis_url: str) -> None:
    with (project / "jobs.py").open("a") as file:
        file.write(f"worker = Worker('mine', *PROCESSORS, redis={redis_url!r}, concurrency=7)\n")
    async with Queue("mine", redis=redis_url) as queue:
        with corral(project, "worker", "jobs:worker", redis="redis://127.0.0.1:1") as program:
            assert await (await queue.add("greet", {"name": "Ada"})).result(timeout=20_000) == "Hello, Ada"
            await until(lambda: "Working on mine (7)" in program.log, "the worker says what it works on")
            assert await program.stop() == 0
    line = await refused(project, "jobs:worker", "--concurrency", "3")
    assert "--concurrency: jobs:worker is a Worker, which has its own options; set it there" in line


async def test_a_function_takes_jobs_of_every_name(project: Path, redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        jobs = [await queue.add("one"), await queue.add("two")]
        with corral(project, "worker", "jobs:anything", "--queue", "q", "--burst", redis=redis_url) as program:
            assert await program.ended() == 0, program.log
        assert [await job.result(timeout=1_000) for job in jobs] == ["one", "two"]
    assert "give --queue NAME" in await refused(project, "jobs:anything")


async def test_a_burst_ends_when_nothing_waits(project: Path, redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, Queue("paused", redis=redis_url) as paused:
        done = [await queue.add("greet", {"name": str(n)}, priority=n) for n in range(20)]
        later = await queue.add("greet", {"name": "later"}, delay=600_000)
        await paused.pause()
        waits = await paused.add("greet", {"name": "paused"})
        queues = ("--queue", "q=2", "--queue", "paused")
        with corral(project, "worker", "jobs", *queues, "--burst", redis=redis_url) as program:
            assert await program.ended() == 0, program.log
            assert "The queues are empty" in program.log
        assert [await job.result(timeout=1_000) for job in done] == [f"Hello, {n}" for n in range(20)]
        assert await later.state() == "delayed"
        assert await waits.state() in ("waiting", "paused")
    assert "--burst: it is for one process alone; leave out --processes" in await refused(
        project, "jobs", "--burst", "--processes", "2"
    )


async def test_a_changed_file_restarts_the_worker(project: Path, redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        with corral(project, "worker", "jobs", "--queue", "q", "--reload", redis=redis_url) as program:
            assert await (await queue.add("greet", {"name": "Ada"})).result(timeout=20_000) == "Hello, Ada"
            (project / "jobs.py").write_text("syntax error")
            await until(lambda: "it starts again when a file changes" in program.log, "it has failed", timeout=20)
            (project / "jobs.py").write_text(JOBS.replace("Hello", "Bonjour"))
            assert await (await queue.add("greet", {"name": "Ada"})).result(timeout=20_000) == "Bonjour, Ada"
            assert re.search("jobs.py changed; the worker is started again", program.log)
            assert await program.stop() == 0, program.log


@pytest.mark.parametrize(
    ("words", "env", "kept"),
    [
        (("--keep-completed", "2"), {}, 2),
        (("--keep-completed", "3,7d"), {"JOB_QUEUE_REMOVE_ON_SUCCESS": "1"}, 3),
        ((), {"JOB_QUEUE_REMOVE_ON_SUCCESS": "1"}, 1),
        (("--keep-completed", "all"), {"JOB_QUEUE_REMOVE_ON_SUCCESS": "1"}, 5),
        ((), {}, 5),
    ],
)
async def test_the_daemon_keeps_as_many_as_it_should(
    project: Path,
    redis_url: str,
    words: tuple[str, ...],
    env: dict[str, str],
    kept: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    async with Queue("q", redis=redis_url) as queue:
        for number in range(5):
            await queue.add("greet", {"name": str(number)})
        with corral(project, "worker", "jobs", "--queue", "q", "--burst", *words, redis=redis_url) as program:
            assert await program.ended() == 0, program.log
        assert (await queue.counts()).completed == kept


async def test_what_is_kept_is_a_count_an_age_or_both(project: Path) -> None:
    for wrong in ("7d,1000,3", "much", "", "1.5d", "5,"):
        assert "such as 1000, 7d or 1000,7d" in await refused(project, "jobs", "--keep-failed", wrong)


async def test_it_says_its_version(tmp_path: Path) -> None:
    with corral(tmp_path, "--version", redis="") as program:
        assert await program.ended() == 0
        assert program.log == f"corral {VERSION}\n"
