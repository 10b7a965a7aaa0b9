"""Add new jobs that need nothing special, the fast form of `add` (lua/add_plain.lua)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.connection import Argument, Link, Reply, Waiter
from engine.errors import PayloadTooLarge, ScriptError
from engine.model.codec import DEFAULT_MAX_PAYLOAD
from engine.model.keys import Keys
from engine.model.records import NewRow
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Added

_add_plain = Script(
    "add_plain", keys="meta id wait paused active marker events jobs", args="now cap", rows="name data opts"
)
_LONGEST_NAME = 1_024
"""Characters: at most 4 KiB, above which an event's value is counted."""
_NONE: frozenset[int] = frozenset()


def is_plain(row: NewRow) -> bool:
    """Whether `add_plain` can add this job: it has no id, delay, priority, place, deduplication or time of its own."""
    return (
        not (row.id or row.delay or row.priority or row.lifo)
        and row.deduplication is None
        and row.timestamp is None
        and len(row.name) <= _LONGEST_NAME
    )


async def add_plain(
    link: Link, keys: Keys, rows: Sequence[NewRow], *, cap: int = DEFAULT_MAX_PAYLOAD, now: Now = ""
) -> Added:
    """Add 1 to 1,000 plain jobs, all or none. Raises PayloadTooLarge if the data of one exceeds `cap` bytes."""
    return read_added_plain(await _add_plain(link, keys, now, cap, rows=_slots(rows)), rows, cap)


def post_add_plain(
    link: Link, keys: Keys, rows: Sequence[NewRow], waiter: Waiter, *, cap: int = DEFAULT_MAX_PAYLOAD
) -> None:
    """`add_plain` without waiting: the waiter gets the reply as soon as it is read; `read_added_plain` decodes it."""
    _add_plain.post(link, waiter, keys, "", cap, rows=_slots(rows))


def _slots(rows: Sequence[NewRow]) -> list[Argument]:
    slots: list[Argument] = []
    for row in rows:
        slots += (row.name, row.data, row.opts)
    return slots


def read_added_plain(reply: Reply, rows: Sequence[NewRow], cap: int) -> Added:
    """Decode the reply of add_plain.lua for these rows. Raises PayloadTooLarge."""
    match reply:
        case int(first) if first > 0:
            return Added([str(number) for number in range(first, first + len(rows))], _NONE)
        case int(refused):
            raise PayloadTooLarge(f"data: {len(rows[-1 - refused].data):,} bytes are over the queue's limit of {cap:,}")
    raise ScriptError(f"add_plain.lua returned {reply!r}")
