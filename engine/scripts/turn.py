"""Finish jobs and claim others in one call (lua/turn.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from engine.connection import Argument, Link, Reply, Waiter
from engine.model.keys import Keys
from engine.model.records import Claimed
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Finished, Refusals, finished_slots, read_claimed, read_refusals

_turn = Script(
    "turn",
    keys="meta wait paused active prioritized pc delayed completed stalled marker events limiter smoothed jobs",
    args="now token lock worker count metrics worker_limit",
    rows="id token fence value keep attempts",
)


class TurnReply(Struct, frozen=True):
    """Refused results, claimed jobs, and when to claim again."""

    refused: Refusals
    jobs: list[Claimed]
    next_due: int | None
    """Milliseconds until the next delayed job is due; None without one."""
    more: bool
    """More jobs wait that may be claimed now."""
    limited_ms: int = 0
    """Milliseconds until a rate limit lets a waiting job start; 0 if no limit stops one."""
    empty: bool = False
    """No job waits. False also if the queue is paused or at its concurrency, because that was not checked."""


async def turn(
    link: Link,
    keys: Keys,
    finished: Iterable[Finished],
    *,
    token: str,
    lock_ms: int,
    worker: str,
    count: int,
    metrics: Argument = "",
    worker_limit: str = "",
    now: Now = "",
) -> TurnReply:
    """`finish` and `claim` in one call: at most 1,000 finished jobs, then up to `count` new ones locked by `token`.

    metrics: minutes of counts kept of completed jobs; "" counts none. own: the worker's own rate limit, MAX,MS.
    """
    slots = finished_slots(finished)
    return read_turn(
        await _turn(link, keys, now, token, lock_ms, worker, count, metrics, worker_limit, rows=slots), token
    )


def post_turn(
    link: Link,
    keys: Keys,
    finished: Iterable[Finished],
    waiter: Waiter,
    *,
    token: str,
    lock_ms: int,
    worker: str,
    count: int,
    metrics: Argument = "",
    worker_limit: str = "",
) -> None:
    """`turn` without waiting: the waiter gets the reply as soon as it is read; `read_turn` decodes it."""
    _turn.post(
        link, waiter, keys, "", token, lock_ms, worker, count, metrics, worker_limit, rows=finished_slots(finished)
    )


def read_turn(reply: Reply, token: str) -> TurnReply:
    """Decode the reply of turn.lua to the call of this token."""
    refused, rows, details, next_due, more, limited_ms = reply
    due = None if next_due < 0 else next_due
    return TurnReply(read_refusals(refused), read_claimed(rows, details, token), due, more == 1, limited_ms, more == 2)
