"""The job and its processor, imported by the web application that adds it and by the worker that runs it."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from engine import Job, UnrecoverableError, processor

QUEUE = "summary-queue"
"""The queue that `corral worker` takes for a processor named "summary"."""


@dataclass
class Table:
    text: str


@dataclass
class Summary:
    rows: int
    totals: dict[str, float]


@processor("summary", attempts=3)
def summarize(job: Job[Table]) -> Summary:
    """Add up the columns of a CSV table that hold numbers. A plain `def` runs in a thread of the worker.

    Idempotent: it only computes, so that a second run of the job, such as after a crash of its worker, changes nothing.
    """
    rows = list(csv.DictReader(job.data.text.splitlines(), strict=True))
    if not rows:
        raise UnrecoverableError("the table has no rows")  # not retried: the next attempt would find the same
    totals: dict[str, float] = {}
    for column in rows[0]:
        try:
            totals[column] = sum(float(row[column]) for row in rows)
        except (TypeError, ValueError):
            continue
    return Summary(len(rows), totals)


PROCESSORS = [summarize]
"""What `corral worker examples.flask.jobs` runs."""
