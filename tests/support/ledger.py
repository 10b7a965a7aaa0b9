"""A ledger outside Redis of what handlers did, and processors that keep it. `python -m engine.worker tests.support.ledger`."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

from engine import Job, processor

LEDGER = "CORRAL_TEST_LEDGER"
"""Names the file; one line a start and an end, each written at once, so that a kill cannot mix or lose them."""


def note(word: str, job: Job[Any]) -> None:
    line = f"{word} {job.id} {job.attempts_started} {os.getpid()}\n"
    descriptor = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@processor("work")
async def work(job: Job[float]) -> str:
    """Takes as many seconds as its data says."""
    note("start", job)
    await asyncio.sleep(job.data)
    note("end", job)
    return job.id


PROCESSORS = [work]


class Ledger:
    """What was written so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def count(self, word: str) -> Counter[str]:
        """How often each job id was noted with that word."""
        lines = [line.split() for line in self.path.read_text().splitlines()]
        return Counter(line[1] for line in lines if line[0] == word)
