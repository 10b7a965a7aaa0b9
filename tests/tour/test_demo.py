"""`corral demo`: one real job of every type, and nothing left running, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.connection.embedded import stop_server
from tests.support.daemons import ROOT
from tests.support.running import until

ONE_LOOP = pytest.mark.asyncio(loop_factories=["uvloop"])


class Demo:
    """A demo as a process; what it starts is looked for by what it says and writes."""

    def __init__(self, folder: Path, cwd: Path) -> None:
        self.folder = folder
        self.output = folder.with_suffix(".out")
        # What the demo must not take from its surroundings.
        env = {"PYTHONPATH": str(ROOT), "REDIS_URL": "redis://127.0.0.1:1", "SMS_PROVIDER": "twilio"}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "engine", "demo", "--dir", str(folder)],
                cwd=cwd,
                env=os.environ | env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def files(self) -> list[Path]:
        return [Path(name) for name in re.findall(r"^  (/.*?)  \([\d,]+ bytes\)$", self.said, re.MULTILINE)]

    @property
    def worker(self) -> int:
        found = re.search(r"process (\d+)", self.said)
        return int(found[1]) if found else 0

    @property
    def server(self) -> int:
        return int((self.folder / "redis" / "server.pid").read_text())

    async def worker_runs(self) -> None:
        await until(lambda: self.worker or self.process.poll() is not None, "the worker runs", timeout=40)
        assert self.worker, self.said

    async def left_nothing(self, *pids: int) -> None:
        await until(lambda: not any(map(_lives, pids)), "its processes have ended", timeout=30)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Starts demos, and collects them and their servers."""
    started: list[Demo] = []

    def start(cwd: Path = ROOT) -> Demo:
        started.append(Demo(tmp_path / "demo", cwd))
        return started[-1]

    yield start
    for demo in started:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait(10)
        stop_server(demo.folder / "redis")


@pytest.mark.slow
@ONE_LOOP
async def test_the_demo_runs_a_job_of_every_type(start: Callable[..., Demo]) -> None:
    demo = start()
    assert demo.process.wait(50) == 0, demo.said
    await demo.left_nothing(demo.worker, demo.server)
    rows = demo.said.partition("\n\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert len(rows) == 7, demo.said
    assert all("  completed  " in row for row in rows)
    assert {row.split()[0] for row in rows} == {"email", "sms", "data-export", "file-processing", "generic-task"}
    by_suffix = {path.suffix: path for path in demo.files}
    assert {path.suffix for path in demo.files} == {".csv", ".jpg", ".zip", ".eml"}
    csv = by_suffix[".csv"].read_text(encoding="utf-8-sig").splitlines()
    assert csv[0] == "id,name,email,phone"
    assert len(csv) > 10
    assert zipfile.ZipFile(by_suffix[".zip"]).namelist() == ["photo.jpg", "notes.txt"]
    mails = [path.read_text() for path in demo.files if path.suffix == ".eml"]
    assert set(re.findall(r"^To: (.*)$", "\n".join(mails), re.MULTILINE)) == {"ada@example.com", "grace@example.com"}
    assert all("Subject: Welcome" in mail for mail in mails)


@pytest.mark.slow
@ONE_LOOP
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_all_that_it_started(start: Callable[..., Demo], number: signal.Signals) -> None:
    demo = start()
    await demo.worker_runs()
    pids = (demo.worker, demo.server)
    demo.process.send_signal(number)
    assert demo.process.wait(20) == 130, demo.said
    assert "Traceback" not in demo.said
    assert not any(map(_lives, pids))


@pytest.mark.slow
@ONE_LOOP
async def test_even_killed_it_leaves_no_process(start: Callable[..., Demo]) -> None:
    demo = start()
    await demo.worker_runs()
    pids = (demo.worker, demo.server)
    demo.process.kill()
    await demo.left_nothing(*pids)


def pretend(folder: Path, processors: str) -> Path:
    """A folder whose package `processors` is this."""
    package = folder / "elsewhere" / "processors"
    (package / "data_export").mkdir(parents=True)
    (package / "__init__.py").write_text(processors)
    (package / "data_export" / "__init__.py").write_text("")
    (package / "data_export" / "sample_data.py").write_text("")
    return package.parent


FAILING = """
from engine import errors, processor

def refuse(name):
    @processor(name)
    async def refused(job):
        raise errors.UnrecoverableError(f"no {name} today")
    return refused

PROCESSORS = [refuse(name) for name in ("email", "sms", "data-export", "file-processing", "generic-task")]
"""


def test_the_demo_exits_with_1_if_a_job_fails(start: Callable[..., Demo], tmp_path: Path) -> None:
    demo = start(pretend(tmp_path, FAILING))
    assert demo.process.wait(40) == 1
    assert "no sms today" in demo.said
    assert "0 of 7 jobs completed" in demo.said


def test_a_demo_without_a_worker_says_so_in_one_line(start: Callable[..., Demo], tmp_path: Path) -> None:
    demo = start(pretend(tmp_path, ""))
    assert demo.process.wait(40) == 1
    assert "the worker did not start" in demo.said.splitlines()[-1]
    assert "module 'processors' has no PROCESSORS" in demo.said.splitlines()[-1]
