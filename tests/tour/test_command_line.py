"""The command line: show queues, add jobs and wait for them, run failed jobs again."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import Queue
from engine.connection.embedded import EmbeddedServer
from tests.support.daemons import ROOT, daemon

ONE_LOOP = pytest.mark.asyncio(loop_factories=["uvloop"])


class Corral:
    """Runs commands against one server. `out` and `err` are what the last one printed."""

    def __init__(self, redis_url: str) -> None:
        self._env = os.environ | {"REDIS_URL": redis_url}
        self.out = ""
        self.err = ""

    async def __call__(self, *words: str, stdin: str = "") -> int:
        command = [sys.executable, "-m", "engine", *words]
        ran = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, env=self._env, input=stdin, capture_output=True, text=True, timeout=30
        )
        self.out, self.err = ran.stdout, ran.stderr
        return ran.returncode

    async def fails(self, *words: str) -> tuple[int, str]:
        """The exit code and the one line of a command that is refused."""
        code = await self(*words)
        assert self.out == ""
        assert len(self.err.splitlines()) == 1, self.err
        return code, self.err

    async def json(self, *words: str) -> Any:
        assert await self(*words, "--json") == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def corral(redis_url: str) -> Corral:
    return Corral(redis_url)


@ONE_LOOP
async def test_a_job_is_added_run_looked_at_and_run_again(corral: Corral, redis_url: str, tmp_path: Path) -> None:
    with daemon("processors.probe:probe", "--queue", "q", "--redis", redis_url, log=tmp_path / "log") as worker:
        assert await corral("add", "q", "probe", '{"act": "ok", "value": [1, "zwei"]}', "--wait", "20s") == 0, (
            corral.err
        )
        assert corral.out.startswith("1\n")
        assert json.loads(corral.out.partition("\n")[2]) == [1, "zwei"]

        code = await corral(
            "add", "q", "probe", "-", "--wait", "20s", stdin='{"act": "fail", "reason": "out of paper"}'
        )
        assert code == 1
        assert "job '2' failed: out of paper" in corral.err
        found = await corral.json("job", "q", "2")
        assert (found["state"], found["failedReason"], found["attemptsMade"]) == ("failed", "out of paper", 1)
        assert "RuntimeError: out of paper" in found["stacktrace"][0]
        assert await corral("jobs", "q", "failed") == 0
        assert corral.out.splitlines()[1].endswith("out of paper")

        assert await corral("retry", "q", "2", "404") == 1
        assert corral.out == "2: waiting again\n"
        assert "404: job '404' not found in queue 'q'" in corral.err
        assert worker.stop() == 0


@ONE_LOOP
async def test_commands_count_pause_clean_and_remove(corral: Corral, redis_url: str) -> None:
    assert await corral("stats") == 0
    assert corral.out.startswith("no queues with prefix 'bull' at ")
    async with Queue("paper", redis=redis_url) as queue:
        await queue.add("print", {"pages": 3})
        await queue.add("print", delay=60_000)
        await queue.add("print", priority=5)
    found = await corral.json("stats")
    assert [(row["queue"], row["paused"]) for row in found] == [("paper", False)]
    assert {state: count for state, count in found[0]["counts"].items() if count} == {
        "waiting": 1,
        "delayed": 1,
        "prioritized": 1,
    }
    assert await corral("pause", "paper") == 0
    assert (await corral.json("stats", "paper"))[0]["paused"] is True
    assert await corral("resume", "paper") == 0
    assert [job["data"] for job in await corral.json("jobs", "paper")] == [{"pages": 3}]
    assert await corral("remove", "paper", "1") == 0
    assert await corral("clean", "paper", "delayed") == 0
    assert corral.out == "paper: 1 delayed job removed\n"
    found = await corral.json("stats")
    assert sum(found[0]["counts"].values()) == 1


@ONE_LOOP
async def test_an_error_is_one_line_that_says_what_to_do(corral: Corral, redis_url: str) -> None:
    async with Queue("paper", redis=redis_url):
        pass
    for words, expected, code in [
        (("jobs", "papre"), "did you mean 'paper'?", 2),
        (("job", "paper", "1"), "job '1' not found in queue 'paper'", 1),
        (("jobs", "paper", "lost"), "choose from 'waiting'", 2),
        (("stast",), "did you mean 'stats'?", 2),
        (("jobs", "paper", "--newst"), "did you mean '--newest'?", 2),
        (("dead-letters", "paper", "replay"), "give an ID, a filter such as --error CLASS, or --all", 2),
        (("dead-letters", "paper", "purge", "7", "--all"), "leave it out beside an ID", 2),
        (("add", "paper", "print", "{oops"), "data: JSON is malformed", 2),
        (("add", "sms-queue", "sms", '{"subAccountId": "1"}'), "missing required field `phoneNumbers`", 2),
        (("add", "a:b", "print"), "queue", 2),
        (("stats", "--redis", "redis://127.0.0.1:1"), "nothing listens there", 1),
        (("stats", "--redis", "localhost"), "no scheme", 2),
    ]:
        found, line = await corral.fails(*words)
        assert expected in line
        assert found == code, line
    assert [row["queue"] for row in await corral.json("stats")] == ["paper"], "nothing was made by asking"


@ONE_LOOP
async def test_a_redis_password_is_read_from_a_file(tmp_path: Path) -> None:
    with EmbeddedServer(extra_args=["--requirepass", "canary"]) as server:
        corral, url = Corral("redis://127.0.0.1:1"), server.url.replace("unix://", "unix://:canary@")
        (tmp_path / "url").write_text(f"{url}\n")
        assert await corral("doctor", "--redis-file", str(tmp_path / "url")) == 0
        assert corral.err == ""
        assert await corral("doctor", "--redis", url) == 0
        assert "the password in --redis is visible to every user" in corral.err
        assert "canary" not in corral.err
        assert (await corral.fails("doctor", "--redis-file", str(tmp_path / "none")))[0] == 2


@ONE_LOOP
async def test_the_doctor_looks_at_a_server_line_by_line() -> None:
    with EmbeddedServer(extra_args=["--maxmemory-policy", "allkeys-lru", "--appendonly", "no"]) as server:
        corral = Corral(server.url)
        assert await corral("doctor") == 1
        verdicts = {line.split()[1]: line for line in corral.out.splitlines()}
        assert verdicts["connection"].startswith("ok ")
        assert verdicts["version"].startswith("ok ")
        assert verdicts["eviction"].startswith("bad ")
        assert "CONFIG SET maxmemory-policy noeviction" in verdicts["eviction"]
        assert verdicts["durability"].startswith("note ")
    assert await corral("doctor") == 1
    assert corral.out.splitlines()[-1].startswith("bad   connection")


@ONE_LOOP
async def test_every_command_has_help_with_an_example(corral: Corral) -> None:
    assert await corral("--help") == 0
    for command in (
        "stats",
        "jobs",
        "job",
        "add",
        "retry",
        "remove",
        "pause",
        "resume",
        "clean",
        "doctor",
        "migrate",
        "demo",
    ):
        assert f"\n    {command} " in corral.out
    assert await corral("clean", "--help") == 0
    assert "example:\n  corral clean sms-queue completed --older-than" in corral.out
