"""The scripts `add_plain` and `turn` in a loop without a worker: jobs are added 1,000 a call, and finished 100 a call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from engine.batching import add_rows
from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Claimed, NewRow
from engine.scripts.turn import turn

_IN_FLIGHT = 2
_ADDED = 1_000
_TAKEN = 100
_LOCK_MS = 60_000
_KEEP = Keep()


async def add_all(link: Link, keys: Keys, rows: Sequence[NewRow]) -> None:
    chunks = iter([rows[first : first + _ADDED] for first in range(0, len(rows), _ADDED)])

    async def caller() -> None:
        for chunk in chunks:
            await add_rows(link, keys, chunk)

    await asyncio.gather(*[caller() for _ in range(_IN_FLIGHT)])


async def take_all(link: Link, keys: Keys, jobs: int) -> None:
    """Claim and finish `jobs` jobs; all results are kept. Raises RuntimeError if there were fewer."""
    left = jobs

    async def caller() -> None:
        nonlocal left
        held: list[Claimed] = []
        while left or held:
            count = min(_TAKEN, left)
            left -= count
            finished = [(job, b"null", _KEEP) for job in held]
            turned = await turn(link, keys, finished, token=uuid4().hex, lock_ms=_LOCK_MS, worker="bare", count=count)
            held = turned.jobs
            if turned.refused or len(held) != count:
                raise RuntimeError(f"{len(held)} of {count} jobs were claimed, {len(turned.refused)} refused")

    await asyncio.gather(*[caller() for _ in range(_IN_FLIGHT)])
