"""`--processes N`: children come up, come back, take signals, and never outlive their parent."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from engine import Queue
from engine.connection import RedisSettings
from engine.connection.embedded import EmbeddedServer
from engine.worker.process.supervisor import pause_after
from tests.support.daemons import Daemon, daemon
from tests.support.running import until
from tests.worker.test_daemon import ONE_LOOP, PROBE, active, ended, health, refusal, said


async def processes(worker: Daemon, count: int = 2) -> list[int]:
    """The pids of its children, once all are well."""

    async def are_well() -> list[int]:
        code, report = await health(worker)
        found = [row["pid"] for row in report.get("processes", ()) if row["status"] == "ok"]
        return found if code == 200 and len(found) == count else []

    return list(await until(are_well, f"{count} processes are well", timeout=20))


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A child whose parent was killed is reaped by whoever adopts it, in its own time.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def arguments_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def all_gone(pids: list[int]) -> None:
    await until(lambda: not any(map(lives, pids)), "no process is left", timeout=20)


@ONE_LOOP
async def test_a_killed_child_comes_back_and_a_signal_ends_all(redis_url: str, tmp_path: Path) -> None:
    arguments = (*PROBE, "--processes", "2", "--health", "0", "--redis", redis_url)
    with daemon(*arguments, log=tmp_path / "log") as worker:
        first = await processes(worker)
        assert worker.process.pid not in first
        os.kill(first[0], signal.SIGKILL)
        await until(lambda: f"{first[0]} was ended by SIGKILL; a new one starts in" in said(worker), "its end is told")
        second = await processes(worker)
        assert first[0] not in second
        assert first[1] in second
        worker.signal(signal.SIGTERM)
        assert await ended(worker) == 0, said(worker)
        assert not any(map(lives, first + second))


@ONE_LOOP
async def test_a_job_of_a_killed_child_runs_again(redis_url: str, tmp_path: Path) -> None:
    times = ("--lock-duration", "1000", "--stalled-interval", "300")
    arguments = (*PROBE, "--processes", "2", *times, "--health", "0", "--redis", redis_url)
    async with Queue("q", redis=redis_url) as queue:
        with daemon(*arguments, log=tmp_path / "log") as worker:
            await processes(worker)
            job = await queue.add("probe", {"act": "crash", "until": 2, "value": "second run"})
            assert await job.result(timeout=30_000) == "second run"
            await processes(worker)
            worker.signal(signal.SIGTERM)
            assert await ended(worker) == 0, said(worker)


@ONE_LOOP
async def test_no_child_outlives_a_killed_parent(redis_url: str, tmp_path: Path) -> None:
    async with Queue("q", redis=redis_url) as queue:
        arguments = (*PROBE, "--processes", "2", "--health", "0", "--redis", redis_url)
        with daemon(*arguments, log=tmp_path / "log") as worker:
            pids = await processes(worker)
            job = await queue.add("probe", {"act": "sleep", "ms": 500, "value": "drained"})
            await active(queue)
            worker.kill()
            await all_gone(pids)
        assert await job.result(timeout=1_000) == "drained"


@ONE_LOOP
async def test_the_second_signal_is_passed_on_too(redis_url: str, tmp_path: Path) -> None:
    async with Queue("q", redis=redis_url) as queue:
        arguments = (*PROBE, "--processes", "2", "--health", "0", "--redis", redis_url)
        with daemon(*arguments, log=tmp_path / "log") as worker:
            pids = await processes(worker)
            await queue.add("probe", {"act": "sleep", "ms": 60_000})
            await until(lambda: "Processing probe job" in said(worker), "the job runs")
            worker.signal(signal.SIGINT)
            await until(lambda: re.search(r"Stopping; 1 running job", said(worker)), "the child has heard the first")
            worker.signal(signal.SIGINT)
            assert await ended(worker) == 1
            assert not any(map(lives, pids))


@ONE_LOOP
@pytest.mark.parametrize("way", ["--redis", "--redis=", "--redis-file", "REDIS_PASSWORD_FILE"])
async def test_no_argument_of_a_child_holds_the_password(tmp_path: Path, way: str) -> None:
    secret = "p w/canary"
    with EmbeddedServer(tcp=True, extra_args=["--requirepass", secret]) as server:
        url = RedisSettings(host="127.0.0.1", port=server.port, password=secret).url
        (tmp_path / "url").write_text(url + "\n")
        (tmp_path / "password").write_text(secret + "\n")
        given, env = {
            "--redis": (["--redis", url], {}),
            "--redis=": ([f"--redis={url}"], {}),
            "--redis-file": (["--redis-file", str(tmp_path / "url")], {}),
            "REDIS_PASSWORD_FILE": (
                [],
                {"REDIS_URL": server.url, "REDIS_PASSWORD_FILE": str(tmp_path / "password")},
            ),
        }[way]
        arguments = (*PROBE, "--processes", "2", "--health", "0", *given)
        with daemon(*arguments, log=tmp_path / "log", env=env) as worker:
            pids = await processes(worker)
            async with Queue("q", redis=url) as queue:
                job = await queue.add("probe", {"value": "done"})
                assert await job.result(timeout=20_000) == "done"
            assert not [pid for pid in pids if "canary" in arguments_of(pid)]
            assert worker.stop() == 0
        assert "canary" not in said(worker)
        assert said(worker).count("the password in --redis is visible") == (way in ("--redis", "--redis="))


@ONE_LOOP
async def test_stacks_are_asked_of_every_child(redis_url: str, tmp_path: Path) -> None:
    arguments = (*PROBE, "--processes", "2", "--health", "0", "--redis", redis_url)
    with daemon(*arguments, log=tmp_path / "log") as worker:
        await processes(worker)
        worker.signal(signal.SIGUSR1)
        await until(lambda: said(worker).count("Running jobs: 0") == 2, "both children answer")
        assert worker.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["nowhere.jobs"], "there is no module 'nowhere'", 2),
        ([*PROBE, "--redis", "redis://127.0.0.1:1", "--wait-for-redis", "0"], "nothing listens there", 1),
    ],
)
def test_what_keeps_children_from_starting_is_said_once(arguments: list[str], words: str, code: int) -> None:
    found, line = refusal(*arguments, "--processes", "4")
    assert words in line
    assert found == code


def test_the_pause_doubles_up_to_half_a_minute_and_is_spread() -> None:
    for deaths, middle in ((1, 0.5), (2, 1.0), (4, 4.0), (7, 30.0), (1000, 30.0)):
        pauses = [pause_after(deaths) for _ in range(200)]
        assert 0.75 * middle <= min(pauses) < max(pauses) <= 1.25 * middle
