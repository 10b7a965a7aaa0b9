"""More of the command line: schedules, limits, cancellation, flows."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from engine import FlowJob, FlowProducer, Queue
from engine.cli import main

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


class Corral:
    """Runs commands against one server, in this process. `out` is what the last one printed."""

    def __init__(self, redis_url: str, capture: pytest.CaptureFixture[str]) -> None:
        self._redis = redis_url
        self._capture = capture
        self.out = ""

    async def __call__(self, *words: str) -> int:
        code, _ = await self._run(*words)
        return code

    async def json(self, *words: str) -> Any:
        assert await self(*words, "--json") == 0
        return json.loads(self.out)

    async def fails(self, *words: str) -> tuple[int, str]:
        """The exit code and the one line of a command that is refused."""
        code, err = await self._run(*words)
        assert (self.out, len(err.splitlines())) == ("", 1)
        return code, err

    async def _run(self, *words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, [*words, "--redis", self._redis])
        self.out, err = self._capture.readouterr()
        return code, err


@pytest.fixture
def corral(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Corral:
    return Corral(redis_url, capsys)


async def test_schedules_are_listed_run_and_removed(corral: Corral, redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.schedules.upsert("daily", "report", cron="0 9 * * *", tz="Europe/Berlin")
        assert await corral("schedules", "q") == 0
        assert "daily  report  0 9 * * * Europe/Berlin" in corral.out
        assert [one["cron"] for one in await corral.json("schedules", "q", "list")] == ["0 9 * * *"]
        assert await corral("schedules", "q", "run", "daily") == 0
        (job,) = await queue.jobs("waiting")
        assert (corral.out, job.name) == (f"daily: job {job.id} added\n", "report")
        code, words = await corral.fails("schedules", "q", "run", "weekly")
        assert (code, "weekly" in words) == (1, True)
        assert await corral("schedules", "q", "remove", "daily") == 0
        assert await queue.schedules.list() == []
        code, words = await corral.fails("schedules", "q", "remove")
        assert (code, "no schedule was named" in words) == (2, True)


async def test_limits_are_shown_set_and_taken_away(corral: Corral, redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        assert await corral("limit", "q") == 0
        assert corral.out == "q: no rate limit; any number of jobs at once\n"
        assert await corral("limit", "q", "--rate", "100/1m", "--smooth", "--concurrency", "3") == 0
        assert corral.out == "q: 100 jobs per 1m, evenly spread; 3 jobs at once\n"
        assert await queue.concurrency() == 3
        found = await corral.json("limit", "q", "--no-rate")
        assert found == {"rate": None, "concurrency": 3, "nothingStartsFor": 0}
        code, words = await corral.fails("limit", "q", "--smooth")
        assert (code, "give --rate" in words) == (2, True)


async def test_jobs_are_cancelled_and_trees_are_shown(corral: Corral, redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, FlowProducer(redis=redis_url) as flows:
        await flows.add(FlowJob("report", "q", job_id="top", children=[FlowJob("load", "q", job_id="below")]))
        assert await corral("flow", "q", "top") == 0
        assert corral.out == "report top in q  waiting-children\n  load below in q  waiting\n"
        alone = await queue.add("report", job_id="alone")
        assert await corral("cancel", "q", "below", "alone", "--reason", "too late") == 0
        assert corral.out == "below: is running; its worker is asked to stop it\nalone: cancelled\n"
        assert await alone.state() == "failed"
        found = await corral.json("flow", "q", "alone")
        assert (found["state"], found["failedReason"]) == ("failed", "cancelled: too late")
        code, words = await corral.fails("cancel", "q", "alone")
        assert (code, "has ended already" in words) == (1, True)
        code, words = await corral.fails("flow", "q", "404")
        assert (code, "404" in words) == (1, True)
