"""The pytest plugin in a project of somebody else: with a plugin for async tests, and without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_pytest(folder: Path, text: str, *arguments: str) -> str:
    """What pytest said of a project with this one test file."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (folder / "test_users.py").write_text(text)
    # By its module and not by its entry point, which the tests' own environment may have or not.
    command = [sys.executable, "-m", "pytest", "-p", "no:corral", "-p", "engine.testing.plugin", "-p", "no:randomly"]
    ran = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-v", "--strict-markers", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    return ran.stdout + ran.stderr


PLAIN = """
import asyncio
import pytest
from engine import Queue

async def scenario(corral_queue, corral_server):
    async with corral_queue as kit:
        assert kit.name == "sms-queue"
        await kit.queue.add("sms", delay=60_000)
        assert (await kit.queue.counts()).delayed == 1, "each test has an empty queue"
        kit.clock.advance(minutes=1)
        async def send(job):
            return "sent"
        run = await kit.run_until_drained(send)
        assert [job.return_value for job in run.completed] == ["sent"]
        async with Queue("sms-queue", redis=corral_server.url) as mine:
            assert (await mine.counts()).completed == 1

@pytest.mark.corral_queue("sms-queue")
@pytest.mark.parametrize("time", [1, 2])
def test_plain(corral_queue, corral_server, time):
    asyncio.run(scenario(corral_queue, corral_server))
"""

WITH_ASYNCIO = """
import pytest
from engine.testing import assert_enqueued

async def test_async(corral_queue):
    async with corral_queue as kit:
        assert kit.name == "test-queue"
        await kit.queue.add("sms")
        await assert_enqueued(kit.queue, "sms", times=1)

@pytest.fixture
async def kit(corral_queue):
    async with corral_queue as opened:
        yield opened

@pytest.mark.corral_queue("mine", prefix="mine")
async def test_fixture(kit):
    assert kit.queue.keys.wait == "mine:mine:wait"
"""


def test_without_a_plugin_for_async_tests(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, PLAIN, "-p", "no:asyncio", "-p", "no:anyio")
    assert "2 passed" in said, said


def test_beside_pytest_asyncio(tmp_path: Path) -> None:
    said = run_pytest(
        tmp_path, WITH_ASYNCIO, "-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"
    )
    assert "2 passed" in said, said


def test_who_does_not_use_it_is_not_touched(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, "def test_one(): pass\n", "--setup-show", "-p", "no:asyncio")
    assert "1 passed" in said, said
    assert "corral" not in said.partition("test_one")[2], said
