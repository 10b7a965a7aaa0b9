"""Rows that several scripts share: added jobs, slots of claims and results, claimed jobs, refusals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any

from msgspec import Struct

from engine.connection import Argument
from engine.model.options import Keep
from engine.model.records import Claimed


class Added(Struct, frozen=True):
    """Ids of added jobs, in the order of their rows."""

    ids: list[str]
    known: frozenset[int]
    """Numbers of the rows (from 0) that added no job: a job of their id exists, or another job owns their deduplication."""


class Refusal(IntEnum):
    """Why a script did not carry out a row of a claim; nothing was written for it."""

    LOST = 1
    """Another claim holds the job, or no claim does."""
    MISSING = 2
    """There is no such job."""
    DONE = 3
    """This claim finished the job before: an earlier send of the call."""
    DOOMED = 4
    """It was to be completed, but a child failed that it needs (option `fail_parent_on_failure`)."""
    NO_PROGRESS = 5
    """It asked to wait for children, but all are done and none has ended since it last asked."""
    OTHER_PARENT = 6
    """A job of the id of one of its new children exists, and is the child of another job."""
    PENDING = 7
    """It was to be completed, but children that it needs are not done: they were added while it ran."""


Refusals = dict[int, Refusal]
"""Number of a row (from 0) -> why it was refused."""


def read_refusals(reply: Sequence[int] | None) -> Refusals:
    return {reply[i]: Refusal(reply[i + 1]) for i in range(0, len(reply), 2)} if reply else {}


def retention_slot(keep: Keep) -> str:
    """Retention as scripts take it: COUNT,SECONDS or COUNT,SECONDS,LIMIT, empty for no limit (see lua/include/trim.lua)."""
    count, age = keep.count, keep.seconds
    if count is None and age is None:
        return ""
    rule = f"{'' if count is None else count},{'' if age is None else age}"
    return rule if keep.limit is None else f"{rule},{keep.limit}"


Finished = tuple[Claimed, bytes, Keep]
"""A claimed job, its result as JSON, and what is kept of completed jobs."""


def finished_slots(finished: Iterable[Finished]) -> list[Argument]:
    slots: list[Argument] = []
    last, rule = None, ""
    for job, value, keep in finished:
        if keep is not last:
            last, rule = keep, retention_slot(keep)
        # Only a job with this option can own a deduplication: the script then reads its hash.
        made = "" if b'"de"' in job.opts else job.attempts_made
        slots += (job.id, job.token, job.fence, value, rule, made)
    return slots


def claim_slots(jobs: Sequence[Claimed]) -> Iterator[Argument]:
    """The three slots with which the row of a claim begins."""
    for job in jobs:
        yield job.slot
        yield job.token
        yield job.fence


def read_claimed(rows: Sequence[Any] | None, details: Sequence[Any] | None, token: str) -> list[Claimed]:
    """The jobs of a claim's reply: six items of each, and seven more of some (lua/include/claim.lua)."""
    if not rows:
        return []
    if not details:
        return [_claimed(token, *row) for row in _batched(rows, 6)]
    more = {number: rest for number, *rest in _batched(details, 7)}
    return [_claimed(token, *row, *more.get(number, ())) for number, row in enumerate(_batched(rows, 6))]


def _batched(items: Sequence[Any], size: int) -> Iterator[tuple[Any, ...]]:
    return zip(*[iter(items)] * size, strict=True)


def _claimed(
    token: str,
    name: bytes | None,
    data: bytes | None,
    opts: bytes | None,
    timestamp: bytes | None,
    fence: bytes,
    id: bytes,
    progress: bytes | None = None,
    deferred: bytes | None = None,
    priority: bytes | None = None,
    made: bytes | None = None,
    stalls: bytes | None = None,
    stacktrace: bytes | None = None,
) -> Claimed:
    broken = None
    if name is None:
        broken, name = "name: the job has none; its hash was half written or damaged", b""
    text, raw = id.decode(errors="replace"), b""
    if "\ufffd" in text and text.encode() != id:
        broken, raw = f"id: {id[:100]!r} is not UTF-8 text; no processor can be given it", id
    return Claimed(
        text,
        int(fence),
        token,
        name.decode(errors="replace"),
        b"{}" if data is None else data,
        opts or b"",
        _number(timestamp),
        _number(priority),
        _number(made),
        _number(stalls),
        stacktrace or b"",
        None if deferred is None else deferred.decode(errors="replace"),
        progress or b"",
        broken,
        raw,
    )


def _number(text: bytes | None) -> int:
    """A stored number by any producer; 0 if it is missing, negative or not a number."""
    if not text:
        return 0
    try:
        return max(0, int(text))
    except ValueError:
        return 0
