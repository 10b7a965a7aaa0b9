"""Rules for a queue: the types of its keys, its counts, pauses and limits. Reads only."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from engine.cli.migrate.findings import Example, Findings
from engine.cli.migrate.pages import answers, text
from engine.connection import Link
from engine.model.keys import Keys

LISTS: Final = ("wait", "paused", "active")
# The order in which jobs go through them, reversed: a job that moves meanwhile is met twice rather than never.
STATES: Final = ("completed", "failed", "active", "wait", "paused", "prioritized", "delayed", "waiting-children")
_TYPES: Final = {
    **{state: b"list" if state in LISTS else b"zset" for state in STATES},
    "marker": b"zset", "repeat": b"zset", "meta": b"hash", "events": b"stream", "stalled": b"set", "id": b"string", "pc": b"string",
    "limiter": b"string",
}  # fmt: skip
_LONG_STREAM: Final = 100_000
_OVERDUE_MS: Final = 60_000
_HELD_STILL: Final = 2**53 - 1
"""What `queue.rateLimit(ms)` of BullMQ writes; not a count of starts."""


class QueueFacts(Struct, frozen=True):
    """What the report says of the queue itself."""

    version: str
    paused: bool
    schedules: int


async def count_states(link: Link, keys: Keys, found: Findings) -> dict[str, int]:
    """Jobs of each state. Structures of a wrong type are left out and added to the findings."""
    kinds = await answers(link, [("TYPE", keys.jobs + name) for name in _TYPES])
    sound = []
    for (name, wanted), kind in zip(_TYPES.items(), kinds, strict=True):
        if kind not in (wanted, b"none"):
            found.add("wrong-type", name, f"{text(kind)}, not {text(wanted)}")
        elif name in STATES:
            sound.append(name)
    sizes = await answers(link, [("LLEN" if name in LISTS else "ZCARD", keys.jobs + name) for name in sound])
    return dict(zip(sound, sizes, strict=True))


async def queue_rules(
    link: Link, keys: Keys, found: Findings, seen: set[str], counts: dict[str, int], now: int
) -> QueueFacts:
    """Add the findings of the queue; adds to `seen` the signs of versions."""
    meta, limiter, left, length, schedules, kept, counter = await answers(
        link,
        [
            ("HMGET", keys.meta, "version", "paused", "max", "opts.maxLenEvents"),
            ("GET", keys.limiter),
            ("PTTL", keys.limiter),
            ("XLEN", keys.events),
            ("ZCARD", keys.repeat),
            ("EXISTS", keys.jobs + "metrics:completed", keys.jobs + "metrics:failed"),
            ("EXISTS", keys.id),
        ],
    )
    version, paused, most, events = meta or (None,) * 4
    if counter and meta and not any(meta):
        seen.add("bull")
        found.add("old-bull", keys.queue)
    if left > 0 and most is None:
        _check_window(found, limiter)
    if (length or 0) > _LONG_STREAM:
        found.add("long-events", "events", f"{length:,} entries, {text(events or b'10000')} wanted")
    if kept:
        found.add("metrics", "metrics")
    if counts.get("paused"):
        seen.add("paused")
    _check_pause(found, counts, paused is not None)
    await _check_delayed(link, keys, found, now)
    return QueueFacts(text(version or b""), paused is not None, schedules or 0)


def _check_window(found: Findings, limiter: bytes | None) -> None:
    """A rate limit counter in a queue without a rate limit comes from a worker's option."""
    if limiter is not None and limiter.isdigit() and int(limiter) != _HELD_STILL:
        found.add("worker-limiter", "limiter", f"{int(limiter)} started in the current window")


def _check_pause(found: Findings, counts: dict[str, int], paused: bool) -> None:
    aside, waiting = counts.get("paused", 0), counts.get("wait", 0)
    if paused:
        found.total("queue-paused", max(1, aside + waiting + counts.get("prioritized", 0)))
        if aside and waiting:
            found.total("pause-loses-jobs", waiting)
    elif aside:
        found.total("paused-left-over", aside)


async def _check_delayed(link: Link, keys: Keys, found: Findings, now: int) -> None:
    count, first = await answers(
        link,
        [("ZCOUNT", keys.delayed, "-inf", (now - _OVERDUE_MS) * 4096), ("ZRANGE", keys.delayed, 0, 0)],
    )
    if count and first:
        found.total("overdue", count, Example(text(first[0])))
