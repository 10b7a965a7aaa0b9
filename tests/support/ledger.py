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


def note(word: str, job: Job[Any], *more: object) -> None:
    append(os.environ[LEDGER], word, job.id, job.attempts_started, os.getpid(), *more)


def append(path: str | Path, *words: object) -> None:
    """Add one row to a ledger, in one write."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
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
