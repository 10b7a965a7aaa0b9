"""A producer of the chaos: adds at a steady rate through all faults, and notes each answer. Knows nothing of faults."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine import NewJob, Queue
from engine.errors import LinkError, OutcomeUnknown
from tests.faults.chaos.work import NAME
from tests.support.ledger import append

TICK = 0.01
"""Seconds; the jobs of one tick are added together."""
BULK = 200
"""Jobs of one tick at most: they fit into one call, which is answered as a whole."""
AGAIN = 0.05
"""Seconds until an add is sent again whose answer was lost."""

KINDS = {"plain": 70, "delayed": 10, "prioritized": 10, "retried": 10}
"""Kind -> weight. retried: the first attempt fails."""
SHORT, LONG = 50, 1_500
"""How many ms a job takes at most, and how many one job in a hundred takes."""


class Wanted(Struct, frozen=True):
    """A job to add. Its mark tells which one it is, whatever id it gets."""

    mark: str
    data: dict[str, Any]
    options: dict[str, Any]

    @property
    def has_own_id(self) -> bool:
        return "job_id" in self.options


class Producer:
    """Adds jobs. Rows of its ledger, `added-NAME`, are MARK ANSWER ID, the last one "-" where the queue gave none.

    acked     the job was added
    refused   it was not added: it must never run
    unknown   the answer was lost; a job with an id of its own is added again, until an answer comes
    """

    def __init__(self, name: str, queue: Queue, rate: float, folder: Path, chance: random.Random) -> None:
        self._name, self._queue, self._rate, self._chance = name, queue, rate, chance
        self._ledger = folder / f"added-{name}"
        self._made = 0

    async def run(self, over: asyncio.Event) -> None:
        """Add until `over`, and wait for the last answers."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as adds:
            while not over.is_set():
                due = int((time.monotonic() - began) * self._rate) - self._made
                self._send(adds, [self._draw() for _ in range(min(due, BULK))])
                await asyncio.sleep(TICK)

    def _send(self, adds: asyncio.TaskGroup, wanted: list[Wanted]) -> None:
        """The jobs of one tick in every second, by chance, as a bulk."""
        if wanted and self._chance.random() < 0.5:
            adds.create_task(self._add_many(wanted))
        else:
            for one in wanted:
                adds.create_task(self._add(one))

    async def _add_many(self, wanted: Sequence[Wanted]) -> None:
        try:
            jobs = await self._queue.add_many([NewJob(NAME, one.data, **one.options) for one in wanted])
        except LinkError as error:
            for one in wanted:
                self._note(one, _answer(error))
            if isinstance(error, OutcomeUnknown):
                await asyncio.gather(*(self._add_again(one) for one in wanted if one.has_own_id))
        else:
            for one, job in zip(wanted, jobs, strict=True):
                self._note(one, "acked", job.id)

    async def _add(self, wanted: Wanted) -> None:
        try:
            job = await self._queue.add(NAME, wanted.data, **wanted.options)
        except LinkError as error:
            self._note(wanted, _answer(error))
            if isinstance(error, OutcomeUnknown) and wanted.has_own_id:
                await self._add_again(wanted)
        else:
            self._note(wanted, "acked", job.id)

    async def _add_again(self, wanted: Wanted) -> None:
        await asyncio.sleep(AGAIN)
        await self._add(wanted)

    def _note(self, wanted: Wanted, answer: str, id: str = "-") -> None:
        append(self._ledger, wanted.mark, answer, id)

    def _draw(self) -> Wanted:
        self._made += 1
        mark = f"{self._name}-{self._made}"
        kind = self._chance.choices([*KINDS], [*KINDS.values()])[0]
        ms = LONG if self._chance.random() < 0.01 else self._chance.randint(1, SHORT)
        own_id = {"job_id": mark} if self._chance.random() < 0.5 else {}
        return Wanted(mark, {"mark": mark, "ms": ms, "fails": kind == "retried"}, own_id | self._options(kind))

    def _options(self, kind: str) -> dict[str, Any]:
        match kind:
            case "delayed":
                return {"delay": self._chance.randint(1, 2_000)}
            case "prioritized":
                return {"priority": self._chance.randint(1, 5)}
            case "retried":
                return {"attempts": 2, "backoff": self._chance.choice([0, 100])}
        return {}


def _answer(error: LinkError) -> str:
    return "unknown" if isinstance(error, OutcomeUnknown) else "refused"
