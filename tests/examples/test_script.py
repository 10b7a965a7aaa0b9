"""The plain script: producer and worker in one process that is started, interrupted and started again."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine import SyncQueue
from tests.examples.serving import wait_for
from tests.support.daemons import ROOT

# Each test starts several programs, which take their time on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SCRIPT = ROOT / "examples" / "script" / "digests.py"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.txt" for number in range(6)]
    for path in paths:
        path.write_text(path.name)
    return paths


def digests(paths: Sequence[Path]) -> str:
    """What the script prints."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path}\n" for path in paths)


def run(*paths: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(paths), env=os.environ | env, capture_output=True, text=True, timeout=120)


def command(paths: Sequence[Path]) -> list[str]:
    return [sys.executable, str(SCRIPT), *(str(path) for path in paths)]


def test_an_unchanged_file_is_read_once(redis_url: str, files: list[Path]) -> None:
    with SyncQueue("digest-queue", redis=redis_url) as queue:
        for _ in range(2):
            ended = run(*files, REDIS_URL=redis_url)
            assert (ended.returncode, ended.stdout, ended.stderr) == (0, digests(files), "")
            assert queue.counts().completed == len(files)
        files[0].write_text("changed")
        assert run(*files, REDIS_URL=redis_url).stdout == digests(files)
        assert queue.counts().completed == len(files) + 1


def test_it_needs_no_server_of_its_own(tmp_path: Path, files: list[Path]) -> None:
    env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    env["CORRAL_HOME"] = str(tmp_path / "home")
    ended = subprocess.run(command(files), env=env, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, digests(files)), ended.stderr


def test_a_missing_file_is_said_before_any_job(redis_url: str, files: list[Path]) -> None:
    ended = run(*files, Path("none"), REDIS_URL=redis_url)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "none" in ended.stderr


def test_an_interrupted_script_loses_no_job(redis_url: str, tmp_path: Path, files: list[Path]) -> None:
    # A reader of a pipe waits for its writer: as many as run at once, so that the other files wait.
    pipes = [tmp_path / f"pipe-{number}" for number in range(4)]
    for pipe in pipes:
        os.mkfifo(pipe)
    log = tmp_path / "script.log"
    with SyncQueue("digest-queue", redis=redis_url) as queue:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command([*pipes, *files]), env=os.environ | {"REDIS_URL": redis_url}, stdout=output, stderr=output
            )
        try:
            wait_for(lambda: queue.counts().active == len(pipes), "all pipes are read")
            process.send_signal(signal.SIGINT)
            wait_for(lambda: "stopping" in log.read_text(), "the signal is taken")
            for pipe in pipes:
                pipe.write_bytes(b"end")
            assert process.wait(30) == 1, log.read_text()
        finally:
            process.kill()
            process.wait(10)
        counts = queue.counts()
        assert (counts.active, counts.completed, counts.waiting) == (0, len(pipes), len(files))
        assert run(*files, REDIS_URL=redis_url).stdout == digests(files)
        assert queue.counts().completed == len(pipes) + len(files)
