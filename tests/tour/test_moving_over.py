"""Moving over from BullMQ: check the differences, start a worker beside the others, check again."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from engine import Job, Queue, Worker
from tests.support.daemons import ROOT
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def corral(redis_url: str, *words: str) -> tuple[int, str]:
    """The exit code of a command, and what it printed."""
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "engine", *words],
        cwd=ROOT,
        env=os.environ | {"REDIS_URL": redis_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return ran.returncode, ran.stdout


async def as_bullmq_adds(queue: Queue, name: str, opts: dict[str, Any]) -> str:
    """A job as a Node program leaves it, with options that it may have and that our producers would refuse."""
    job = await queue.add(name, {"to": "ann"})
    await queue.link.call("HSET", f"bull:{queue.name}:{job.id}", "opts", json.dumps(opts))
    return job.id


async def test_migrate_check_reports_differences_first(redis_url: str) -> None:
    kept = {"attempts": 3, "removeOnComplete": 100}
    async with Queue("mail", redis=redis_url) as queue:
        plain = await as_bullmq_adds(queue, "greet", kept)
        timed = await as_bullmq_adds(queue, "greet", kept | {"timeout": 30_000})

        code, out = await corral(redis_url, "migrate", "check")
        assert code == 1, "1: something would behave differently"
        assert "differs  timeout-heeded: 1" in out
        assert f"- {timed} (timeout 30000 ms)" in out
        assert "1 queue: 1 difference, 0 notes" in out

        ran: list[str] = []

        async def greet(job: Job[dict[str, str]]) -> None:
            ran.append(job.id)

        async with running(Worker("mail", greet, redis=redis_url)):
            await until(lambda: len(ran) == 2, "the worker has run both")
        assert ran == [plain, timed]

        code, out = await corral(redis_url, "migrate", "check", "--json")
        report = json.loads(out)
        assert code == 0, "0: nothing to say"
        assert [(found["queue"], found["counts"]["completed"]) for found in report["queues"]] == [("mail", 2)]

        code, out = await corral(redis_url, "migrate", "check", "--queue", "mial")
        assert code == 2, "2: it could not look"
        assert "queue 'mial' does not exist with prefix 'bull'; there are: mail" in out
