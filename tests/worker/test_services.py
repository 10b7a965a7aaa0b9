"""Every service survives starts and stops at any moment, and a body that fails is reported and called again."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.connection import Link, RedisSettings, open_link
from engine.model.keys import Keys
from engine.worker.active_jobs import ActiveJobs
from engine.worker.loops.loop_monitor import LoopMonitor
from engine.worker.loops.marker_wait import MarkerWait
from engine.worker.loops.renewer import Renewed, Renewer
from engine.worker.loops.stalled_checker import StalledChecker
from engine.worker.loops.wake import Wake
from engine.worker.retry_delay import Service
from engine.worker.run_in.threads import Threads
from engine.worker.turns import Turns, TurnsInFlight
from tests.support.running import until


async def test_a_service_lives_through_what_its_body_raises() -> None:
    turns = 0
    told: list[BaseException] = []

    async def turn() -> float:
        nonlocal turns
        turns += 1
        if turns < 3:
            raise ValueError(turns)
        return 0

    service = Service("s", turn, told.append)
    service.start()
    await until(lambda: turns > 5, "it goes on")
    await service.stop()
    assert [str(error) for error in told] == ["1", "2"]
    assert repr(service) == "<Service s idle>"


async def _shake(make: Any) -> None:
    """Start and stop a service at every moment of its first ticks, and several times at once."""
    for ticks in range(12):
        service = make()
        service.start()
        service.start()
        for _ in range(ticks):
            await asyncio.sleep(0)
        await asyncio.gather(*(_stop(service) for _ in range(3)))
        service.start()
        await _stop(service)


async def _stop(service: Any) -> None:
    answer = service.stop()
    if answer is not None:
        await answer


async def test_services_start_and_stop_at_any_moment(redis_url: str, keys: Keys) -> None:
    told: list[BaseException] = []
    link = await open_link(redis_url)
    monitor = LoopMonitor(lambda: [])
    turns = _turns(link, keys, told)
    turns.poll()
    await _shake(lambda: monitor)
    await _shake(
        lambda: StalledChecker(
            link,
            keys,
            interval_ms=100,
            lock_ms=2,
            renew_ms=1,
            max_stalls=1,
            stalled=lambda ids: None,
            report=told.append,
        )
    )
    markers = MarkerWait(lambda: open_link(redis_url), link, keys.poke("w"))
    await markers.open()
    await _shake(lambda: Wake(markers, link, keys, turns, lambda: 1, 0.01, told.append))
    renewed = Renewed(keys, ActiveJobs(), lock_ms=900, every_ms=1, lost=lambda active: None, report=told.append)

    def renewer() -> Renewer:
        made = Renewer(RedisSettings.parse(redis_url), monitor, name="r")
        made.add(renewed)
        return made

    await _shake(renewer)
    await markers.close()
    await turns.close()
    await link.close()
    assert told == []


def _turns(link: Link, keys: Keys, told: list[BaseException]) -> Turns:
    from engine.model.options import Keep

    return Turns(
        link,
        keys,
        worker_id="w",
        name="w",
        lock_ms=1_000,
        concurrency=1,
        keep=Keep(),
        limiter="",
        in_flight=TurnsInFlight(),
        free=lambda: 1,
        claimed=lambda jobs: None,
        acknowledged=lambda ended, refused: None,
        next_due=lambda ms: None,
        limited=lambda ms: None,
        report=told.append,
        drained=lambda: None,
        became_idle=lambda: None,
        changed=lambda: None,
    )


async def test_threads_are_used_again(redis_url: str) -> None:
    threads = Threads("t")
    for _ in range(5):
        assert await threads.run(lambda: 1) == 1
    assert repr(threads) == "<Threads 0 busy, 1 free>"
    threads.stop()
