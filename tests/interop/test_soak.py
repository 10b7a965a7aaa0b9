"""The mixed soak in its small form (soak.py is the large one), and the jobs that BullMQ alone loses."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.connection.embedded import EmbeddedServer
from tests.interop.side import NodeSide, need
from tests.interop.soaking.nemesis import DECK
from tests.interop.soaking.run import Plan, Soak
from tests.interop.soaking.sides import VERSIONS

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_three_sides_share_a_queue_through_kills_and_pauses(
    redis_server: EmbeddedServer, redis_url: str, tmp_path: Path
) -> None:
    need(*VERSIONS.values())
    plan = Plan(jobs=2_000, blows=DECK, seed=random.randrange(2**32), ms=30)
    print(plan)
    soak = Soak(plan, redis_server, tmp_path)
    verdict = await soak.run()
    assert not verdict.charges
    assert verdict.jobs >= plan.jobs - len(VERSIONS)
    assert soak.nemesis.pauses.total() == 8
    assert all((hand.kills >= 2, hand.freezes) == (True, 1) for hand in soak.hands.values())


@pytest.fixture
async def v5(redis_url: str) -> AsyncIterator[NodeSide]:
    need("5.63.0")
    async with NodeSide("5.63.0", redis_url) as side:
        await side.make("Queue", "queue", "q")
        yield side


@pytest.fixture
async def v6(redis_url: str) -> AsyncIterator[NodeSide]:
    need("6.7.0")
    async with NodeSide("6.7.0", redis_url) as side:
        await side.make("Queue", "queue", "q")
        yield side


async def test_bullmq_5_and_6_alone_lose_jobs_by_a_resume(damaged: None, v5: NodeSide, v6: NodeSide) -> None:
    """Why the soak lets BullMQ 6 rest before BullMQ 5 resumes. No program of Corral's takes part."""

    async def add(side: NodeSide, **options: int) -> str:
        return str((await side.call("queue", "add", "n", {}, options))["id"])

    async def is_lost(job_id: str) -> bool:
        return (
            bool(await v6.call("queue", "getJob", job_id))
            and await v6.call("queue", "getJobState", job_id) == "unknown"
        )

    # Its producer adds.
    await add(v5)
    await v5.call("queue", "pause")
    added = await add(v6)
    await v5.call("queue", "resume")
    assert await is_lost(added)

    # It pauses itself, and leaves in line what waits.
    left = await add(v6)
    await v6.call("queue", "pause")
    await add(v5)
    await v5.call("queue", "resume")
    assert await is_lost(left)

    # Its worker, though it may take no job, promotes a delayed one.
    await add(v5)
    delayed = await add(v5, delay=1)
    await v5.call("queue", "pause")
    await v6.make("Worker", "worker", "q")
    await v6.make("QueueEvents", "events", "q", lastEventId="0")
    await v6.until(lambda: [event for event in v6.told.of("events", "waiting") if event[0]["jobId"] == delayed])
    await v5.call("queue", "resume")
    assert await is_lost(delayed)
