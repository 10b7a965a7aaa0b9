"""`python -m engine.worker` as a process: signals, exit codes, health, logs, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from engine import Queue
from engine.connection.embedded import EmbeddedServer
from tests.support.daemons import ROOT, Daemon, daemon
from tests.support.running import until

PROBE = ("processors.probe:probe", "--queue", "q")
ONE_LOOP = pytest.mark.asyncio(loop_factories=["uvloop"])
"""The loop that counts is the daemon's; the test's own only looks on."""


def said(worker: Daemon) -> str:
    return worker.log.read_text()


async def works(worker: Daemon) -> None:
    await until(lambda: "Working on" in said(worker) or worker.process.poll() is not None, "the worker works")
    assert worker.process.poll() is None, said(worker)


async def active(queue: Queue, count: int = 1) -> None:
    async def are_active() -> bool:
        counts = await queue.counts()
        return counts.active == count

    await until(are_active, f"{count} jobs are active")


async def ended(worker: Daemon, timeout: float = 20) -> int:
    return await asyncio.to_thread(worker.process.wait, timeout)


async def health(worker: Daemon) -> tuple[int, dict[str, Any]]:
    """What its health answers."""
    url = await until(lambda: re.search(r"Health at (http\S+)", said(worker)), "the health has a place")
    return await asyncio.to_thread(_get, url[1])


def _get(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, json.load(answer)


# --- signals ----------------------------------------------------------------------------------------------------------


@ONE_LOOP
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_lets_running_jobs_end(redis_url: str, tmp_path: Path, number: signal.Signals) -> None:
    async with Queue("q", redis=redis_url) as queue:
        with daemon(*PROBE, "--concurrency", "1", "--redis", redis_url, log=tmp_path / "log") as worker:
            running = await queue.add("probe", {"act": "sleep", "ms": 500, "value": "done"})
            waiting = await queue.add("probe", {"value": "later"})
            await active(queue)
            worker.signal(number)
            assert await ended(worker) == 0, said(worker)
        assert await running.result(timeout=1_000) == "done"
        assert await waiting.state() == "waiting"


@ONE_LOOP
async def test_the_second_signal_ends_at_once_and_gives_the_job_back(redis_url: str, tmp_path: Path) -> None:
    async with Queue("q", redis=redis_url) as queue:
        with daemon(*PROBE, "--redis", redis_url, log=tmp_path / "log") as worker:
            job = await queue.add("probe", {"act": "sleep", "ms": 60_000})
            await active(queue)
            worker.signal(signal.SIGTERM)
            await until(lambda: "Stopping" in said(worker), "it has heard the first")
            began = time.monotonic()
            worker.signal(signal.SIGTERM)
            assert await ended(worker) == 1
            assert time.monotonic() - began < 4
        assert "Traceback" not in said(worker)
        assert await job.state() == "waiting"


@pytest.mark.slow
@ONE_LOOP
async def test_a_blocked_event_loop_does_not_outlive_the_grace_time(redis_url: str, tmp_path: Path) -> None:
    async with Queue("q", redis=redis_url) as queue:
        with daemon(*PROBE, "--grace", "0", "--redis", redis_url, log=tmp_path / "log") as worker:
            await queue.add("probe", {"act": "block", "ms": 60_000})
            await active(queue)
            worker.signal(signal.SIGTERM)
            assert await ended(worker) == 1


@ONE_LOOP
async def test_a_signal_shows_where_running_jobs_are(redis_url: str, tmp_path: Path) -> None:
    async with Queue("q", redis=redis_url) as queue:
        with daemon(*PROBE, "--grace", "200ms", "--redis", redis_url, log=tmp_path / "log") as worker:
            job = await queue.add("probe", {"act": "sleep", "ms": 60_000})
            await until(lambda: f"Processing probe job {job.id}" in said(worker), "it is in its processor")
            worker.signal(signal.SIGUSR1)
            await until(lambda: re.search(r"Running jobs: 1\n.*\n(  .*\n)*.* in probe\n", said(worker)), "its stack")
            assert f"probe job {job.id} of q" in said(worker)
            assert "processors/probe.py" in said(worker)
            assert "Current thread" in said(worker), "faulthandler's part, for jobs in threads"
            assert worker.process.poll() is None
            worker.signal(signal.SIGTERM)
            assert await ended(worker) == 1, "the job was cut off by the end of the grace time"
        assert await job.state() == "waiting"


# --- one process, several queues --------------------------------------------------------------------------------------


@ONE_LOOP
async def test_several_queues_have_each_their_own_concurrency(redis_url: str, tmp_path: Path) -> None:
    arguments = ("processors.probe:probe", "--queue", "a=1", "--queue", "b", "--concurrency", "3", "--redis", redis_url)
    async with Queue("a", redis=redis_url) as a, Queue("b", redis=redis_url) as b:
        for queue in (a, b):
            for _ in range(4):
                await queue.add("probe", {"act": "sleep", "ms": 1_000})
        with daemon(*arguments, log=tmp_path / "log") as worker:
            await active(a, 1)
            await active(b, 3)
            assert worker.stop() == 0
        assert (await a.counts()).completed == 1
        assert (await b.counts()).completed == 3


@ONE_LOOP
async def test_what_a_deployment_says_comes_before_its_settings(redis_url: str, tmp_path: Path) -> None:
    words = ("--limit", "1/60000", "--metrics", "60", "--dead-letters", "0", "--stalled-interval", "100")
    env = {"JOB_QUEUE_DEAD_LETTERS": "5", "JOB_QUEUE_CANCEL_GRACE": "50"}
    async with Queue("q", redis=redis_url) as queue:
        failed, waits = await queue.add("probe", {"act": "fail"}), await queue.add("probe")
        with daemon(*PROBE, "--redis", redis_url, *words, log=tmp_path / "log", env=env) as worker:
            await until(lambda: _failed(queue), "the first has failed")
            assert worker.stop() == 0
        assert (await failed.state(), await waits.state()) == ("failed", "waiting")
        assert await queue.rate_limit_ttl({"max": 1, "duration": 60_000}) > 0
        assert (await queue.metrics("failed")).total == 1
        assert await queue.dead_letters.count() == 0
    with daemon(*PROBE, "--redis", redis_url, "--limit", "10 a minute", log=tmp_path / "log") as worker:
        assert await ended(worker) == 2
        assert "'10 a minute' is not MAX/TIME, such as 100/1m" in said(worker)


async def _failed(queue: Queue) -> bool:
    return (await queue.counts()).failed == 1


@ONE_LOOP
async def test_without_queues_each_processor_has_one_by_its_name(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from engine import Job, processor\n"
        "@processor('sms')\n"
        "async def sms(job: Job) -> str:\n    return 'sms'\n"
        "@processor('ship')\n"
        "def ship(job: Job) -> str:\n    return 'shipped'\n"
        "def make():\n    return sms, ship\n"
    )
    env = {"PYTHONPATH": str(tmp_path), "JOB_QUEUE_CONCURRENCY_SMS": "7"}
    async with Queue("ship-queue", redis=redis_url) as queue:
        with daemon("shop:make", "--redis", redis_url, log=tmp_path / "log", env=env) as worker:
            job = await queue.add("ship")
            assert await job.result(timeout=10_000) == "shipped"
            assert "Working on sms-queue (7), ship-queue (5)" in said(worker)
            assert worker.stop() == 0


# --- health -----------------------------------------------------------------------------------------------------------


@ONE_LOOP
async def test_health_is_good_while_turns_progress_and_bad_while_the_server_hangs(tmp_path: Path) -> None:
    with EmbeddedServer(tcp=True) as server:
        env = {"CORRAL_HEALTH_AGE": "7s"}
        arguments = (*PROBE, "--redis", server.url, "--health", "0")
        with daemon(*arguments, log=tmp_path / "log", env=env) as worker:
            await works(worker)
            code, report = await health(worker)
            assert (code, report["status"]) == (200, "ok")
            assert report["queues"]["q"]["running"] == 0
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await until(lambda: _is(worker, 503), "it is no longer well", timeout=20)
                _, report = await health(worker)
                assert report["status"] == "failing"
                assert re.match(r"q: no turn for \d+ s", report["reason"])
            finally:
                os.kill(server.pid, signal.SIGCONT)
            await until(lambda: _is(worker, 200), "it is well again", timeout=20)


async def _is(worker: Daemon, code: int) -> bool:
    return (await health(worker))[0] == code


@ONE_LOOP
async def test_health_answers_reads_only(redis_url: str, tmp_path: Path) -> None:
    with daemon(*PROBE, "--redis", redis_url, "--health", "127.0.0.1:0", log=tmp_path / "log") as worker:
        await works(worker)
        place = await until(lambda: re.search(r"Health at (http\S+)", said(worker)), "the health has a place")
        assert (await _send(place[1], b"POST / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
        assert (await _send(place[1], b"GET /" + b"x" * 20_000)).startswith(b"HTTP/1.1 400 ")
        head = await _send(place[1], b"HEAD / HTTP/1.1\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert head.endswith(b"\r\n\r\n")


async def _send(url: str, request: bytes) -> bytes:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


# --- logs -------------------------------------------------------------------------------------------------------------


@ONE_LOOP
async def test_json_logs_are_one_escaped_object_a_line(redis_url: str, tmp_path: Path) -> None:
    async with Queue("q", redis=redis_url) as queue:
        with daemon(*PROBE, "--redis", redis_url, "--log-json", log=tmp_path / "log") as worker:
            reason = 'with "quotes",\na line break and \x1b[31mred'
            job = await queue.add("probe", {"act": "fail", "reason": reason}, job_id="a-1")
            await until(lambda: "failed" in said(worker), "the failure is told")
            assert worker.stop() == 0
    lines = [json.loads(line) for line in said(worker).splitlines()]
    started = next(line for line in lines if line.get("status") == "processing")
    assert started["message"] == "🔄 Processing probe job a-1"
    assert (started["logger"], started["level"], started["attempt"]) == ("engine.jobs", "info", 1)
    failed = next(line for line in lines if line.get("status") == "failed")
    assert (failed["job_type"], failed["job_id"], failed["level"]) == ("probe", job.id, "error")
    assert "\x1b" not in said(worker)
    assert 'with "quotes"' in failed["error"]


# --- what it says when it cannot start --------------------------------------------------------------------------------


def refusal(*arguments: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit code and the one line of a worker that does not start."""
    ran = subprocess.run(
        [sys.executable, "-m", "engine.worker", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    lines = [line for line in ran.stderr.splitlines() if " WARNING " not in line]
    assert len(lines) == 1, ran.stderr
    assert ran.stdout == ""
    return ran.returncode, lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jobs"], "there is no module 'nowhere'"),
        (["empty_module"], "module 'empty_module' has no PROCESSORS: write PROCESSORS = [...]"),
        (["empty_module:f"], "module 'empty_module' has no f"),
        (["needs_more"], "needs_more needs the module 'not_installed', which is not installed"),
        (["wrong_kind"], "7 is neither a function nor a BaseProcessor"),
        (["nameless"], "have no names to make queues of; give --queue NAME"),
        ([":x"], "is not MODULE or MODULE:NAME"),
        ([*PROBE, "--redis", "http://localhost"], "unknown scheme 'http'"),
        ([*PROBE, "--queue", "a:b"], "queue"),
        ([*PROBE, "--concurrency", "0"], "--concurrency: '0' is not a whole number from 1"),
        ([*PROBE, "--health", "x"], "--health: 'x' is not a port"),
        ([*PROBE, "--colour"], "unrecognized arguments: --colour; see --help"),
        ([*PROBE, "--concurency", "3"], "did you mean '--concurrency'?"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "empty_module.py").write_text("")
    (tmp_path / "needs_more.py").write_text("import not_installed")
    (tmp_path / "wrong_kind.py").write_text("PROCESSORS = [7]")
    (tmp_path / "nameless.py").write_text("async def f(job): ...\nPROCESSORS = f")
    code, line = refusal(*arguments, cwd=tmp_path)
    assert words in line
    assert code == 2


@pytest.fixture
def locked_server() -> Iterator[EmbeddedServer]:
    options = ["--requirepass", "secret", "--maxmemory-policy", "allkeys-lru", "--appendonly", "no"]
    with EmbeddedServer(tcp=True, extra_args=options) as server:
        yield server


def test_a_server_that_cannot_be_used_is_one_line_and_an_exit_code(locked_server: EmbeddedServer) -> None:
    code, line = refusal(*PROBE, "--redis", "redis://127.0.0.1:1", "--wait-for-redis", "0")
    assert "nothing listens there; start a server, or set REDIS_URL, or use embedded:" in line
    assert code == 1
    code, line = refusal(*PROBE, "--redis", f"redis://:wrong-one@127.0.0.1:{locked_server.port}")
    assert "password" in line
    assert "wrong-one" not in line
    assert code == 1
    url = f"redis://:secret@127.0.0.1:{locked_server.port}"
    code, line = refusal(*PROBE, env={"REDIS_URL": url})
    assert "maxmemory-policy is allkeys-lru" in line
    assert "--allow eviction" in line
    assert code == 3
    code, line = refusal(*PROBE, "--allow", "eviction", "--require-durable", "--redis", url)
    assert "no append-only file" in line
    assert code == 3


def test_a_missing_extra_is_one_line_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "needs_extra.py").write_text(
        "from engine.errors import MissingExtra\nraise MissingExtra('sending e-mail', 'email')"
    )
    code, line = refusal("needs_extra", cwd=tmp_path)
    assert "pip install 'corral[email]'" in line
    assert code == 1


def test_a_taken_health_port_is_one_line(redis_url: str) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = refusal(*PROBE, "--redis", redis_url, "--health", str(port))
    assert f"--health 127.0.0.1:{port}" in line
    assert "choose another" in line
    assert code == 2


def test_a_bug_in_the_users_module_shows_its_trace(tmp_path: Path) -> None:
    (tmp_path / "buggy.py").write_text("1 / 0")
    ran = subprocess.run(
        [sys.executable, "-m", "engine.worker", "buggy"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert 'buggy.py", line 1' in ran.stderr
    assert ran.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert ran.returncode == 1


def test_help_has_an_example_and_every_option(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "engine.worker", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert ran.returncode == 0
    assert "corral worker shop.jobs --queue sms-queue=50" in ran.stdout
    options = "reload burst keep-completed keep-failed queue concurrency processes redis prefix name lock-duration stalled-interval grace health allow"
    for option in (*options.split(), "wait-for-redis", "require-durable", "log-level", "log-json"):
        assert f"--{option}" in ran.stdout
    assert "supervised" not in ran.stdout


@ONE_LOOP
async def test_a_stopped_process_is_not_told_as_a_blocked_loop(redis_url: str, tmp_path: Path) -> None:
    with daemon(*PROBE, "--redis", redis_url, log=tmp_path / "log") as worker:
        await works(worker)
        worker.signal(signal.SIGSTOP)
        stopped = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > stopped + 2.5, "it was stopped for long")
        worker.signal(signal.SIGCONT)
        found = await until(lambda: re.search(r"the process did not run for (\d\.\d) s", said(worker)), "it says so")
        assert float(found[1]) > 2
        await works(worker)
        assert worker.stop() == 0
    assert "was blocked" not in said(worker)


# --- a Redis that comes late or hangs ---------------------------------------------------------------------------------


@pytest.fixture
def late_server() -> Iterator[EmbeddedServer]:
    """A server with an address that is known before it runs."""
    with EmbeddedServer(tcp=True) as server:
        server.stop()
        yield server


@ONE_LOOP
@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
async def test_a_redis_that_comes_later_is_waited_for(
    late_server: EmbeddedServer, tmp_path: Path, processes: tuple[str, ...]
) -> None:
    with daemon(*PROBE, *processes, "--redis", late_server.url, log=tmp_path / "log") as worker:
        await until(
            lambda: "Waiting up to 30 s for Redis (--wait-for-redis): cannot reach" in said(worker), "it says so"
        )
        late_server.start()
        async with Queue("q", redis=late_server.url) as queue:
            assert await (await queue.add("probe", {"value": "done"})).result(timeout=20_000) == "done"
        assert worker.stop() == 0, said(worker)
    assert re.search(r"Redis is there after [\d.]+ s", said(worker))


@ONE_LOOP
async def test_the_wait_for_redis_ends_by_its_time_or_a_signal(late_server: EmbeddedServer, tmp_path: Path) -> None:
    arguments = (*PROBE, "--redis", late_server.url, "--wait-for-redis")
    with daemon(*arguments, "300ms", log=tmp_path / "short") as worker:
        assert await ended(worker) == 1
        assert "nothing listens there; start a server" in said(worker).splitlines()[-1]
    with daemon(*arguments, "1h", log=tmp_path / "long") as worker:
        await until(lambda: "Waiting up to 3600 s" in said(worker), "it waits")
        assert worker.stop() == 0, said(worker)
    with daemon(*arguments, "1h", "--processes", "2", log=tmp_path / "both") as worker:
        await until(lambda: "Waiting up to 3600 s" in said(worker), "its first process waits")
        assert worker.stop() == 0, said(worker)


def test_what_no_waiting_can_mend_ends_it_at_once(locked_server: EmbeddedServer) -> None:
    for login, database, words in (
        ("", 0, "password"),
        (":wrong@", 0, "password"),
        (":secret@", 9999, "refuses database 9999"),
    ):
        url = f"redis://{login}127.0.0.1:{locked_server.port}/{database}"
        code, line = refusal(*PROBE, "--wait-for-redis", "1h", "--redis", url)
        assert words in line
        assert code == 1


@ONE_LOOP
async def test_jobs_that_a_hung_redis_does_not_take_back_are_named(tmp_path: Path) -> None:
    arguments = (*PROBE, "--lock-duration", "1000", "--stalled-interval", "200", "--grace", "500ms", "--redis")
    with EmbeddedServer(tcp=True) as server:
        async with Queue("q", redis=server.url) as queue:
            with daemon(*arguments, server.url, log=tmp_path / "log") as worker:
                ends = await queue.add("probe", {"act": "sleep", "ms": 300, "value": "done"}, job_id="ends")
                cut = await queue.add("probe", {"act": "sleep", "ms": 3_000, "value": "done"}, job_id="cut")
                await active(queue, 2)
                os.kill(server.pid, signal.SIGSTOP)
                try:
                    worker.signal(signal.SIGTERM)
                    assert await ended(worker, 40) == 1, said(worker)
                finally:
                    os.kill(server.pid, signal.SIGCONT)
            words = r"2 jobs of q could not be handed back to Redis, which does not answer: (ends, cut|cut, ends)\. Another worker"
            assert re.search(words, said(worker)), said(worker)
            assert "in at most 1 s" in said(worker)
            with daemon(*arguments, server.url, log=tmp_path / "next") as worker:
                assert [await job.result(timeout=20_000) for job in (ends, cut)] == ["done", "done"]
                assert worker.stop() == 0
