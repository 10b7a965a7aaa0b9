"""SIGTERM and SIGINT in a script that calls `worker.run()`, as a real process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine import Job, Queue, Worker
from tests.support.daemons import ROOT
from tests.support.running import until

ONE_LOOP = pytest.mark.asyncio(loop_factories=["uvloop"])
"""The loop that counts is the script's."""

SCRIPT = """
import asyncio, logging, signal, sys
import uvloop
from engine import Job, Queue, Worker

# A shell starts its background jobs with SIGINT ignored, and so all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def run(job: Job[str]) -> None:
    print("started", job.data, flush=True)
    if job.data == "forever":
        await asyncio.Event().wait()
    while await queue.get_job("go") is None:
        await asyncio.sleep(0.01)

logging.basicConfig(level=logging.INFO)

async def main() -> None:
    global queue
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with Queue("q", redis=sys.argv[1]) as own:
        queue = own
        workers = [Worker(name, run, redis=sys.argv[1]) for name in ("q", "other")]
        await asyncio.gather(*(worker.run() for worker in workers))
        after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        print("ended", after == before, sum(worker.counters.completed for worker in workers), flush=True)

(uvloop if sys.argv[2] == "uvloop" else asyncio).run(main())
"""


@contextmanager
def script(redis_url: str, loop: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, redis_url, loop], cwd=ROOT, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@ONE_LOOP
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_jobs_finish(
    queue: Queue, redis_url: str, tmp_path: Path, loop: str, number: signal.Signals
) -> None:
    log = tmp_path / "log"
    job = await queue.add("x", "slow")
    with script(redis_url, loop, log) as process:
        await until(lambda: "started slow" in log.read_text(), "the job runs", timeout=20)
        process.send_signal(number)
        late = await queue.add("x", "late")
        await queue.add("x", "go", job_id="go", delay=3_600_000)
        assert await asyncio.to_thread(process.wait, 20) == 0, log.read_text()
    assert "ended True" in log.read_text()
    assert await job.state() == "completed"
    assert await late.state() in ("waiting", "completed")  # it may have been claimed before the signal was handled


@ONE_LOOP
async def test_a_second_signal_releases_running_jobs(queue: Queue, redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = await queue.add("x", "forever")
    with script(redis_url, "uvloop", log) as process:
        await until(lambda: "started forever" in log.read_text(), "the job runs", timeout=20)
        process.send_signal(signal.SIGTERM)
        # Two signals that arrive together count as one.
        await until(lambda: "a second signal stops at once" in log.read_text(), "the first is handled")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0, log.read_text()
    assert "ended True 0" in log.read_text()
    assert await job.state() == "waiting"


async def test_handlers_of_the_program_are_left_alone(redis_url: str) -> None:
    async def run(job: Job[str]) -> None: ...

    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    own = signal.getsignal(signal.SIGTERM)
    try:
        worker = Worker("q", run, redis=redis_url)
        running = asyncio.create_task(worker.run())
        await worker.ready.wait()
        assert signal.getsignal(signal.SIGTERM) is own
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: came, "the program has it")
        assert not running.done()
        await worker.close()
        await running
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_handlers_are_set_only_when_they_may_be(redis_url: str) -> None:
    async def run(job: Job[str]) -> None: ...

    async def handles(worker: Worker, **options: bool) -> bool:
        before = signal.getsignal(signal.SIGTERM)
        running = asyncio.create_task(worker.run(**options))
        await worker.ready.wait()
        handles = signal.getsignal(signal.SIGTERM) != before
        await worker.close()
        await running
        assert signal.getsignal(signal.SIGTERM) == before
        return handles

    assert await handles(Worker("q", run, redis=redis_url))
    assert not await handles(Worker("q", run, redis=redis_url), handle_signals=False)
    in_a_thread: list[bool] = []

    def main() -> None:
        async def both() -> None:
            in_a_thread.append(await handles(Worker("q", run, redis=redis_url)))

        asyncio.run(both())

    thread = threading.Thread(target=main)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert in_a_thread == [False]
