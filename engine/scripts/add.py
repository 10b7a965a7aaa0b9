"""Add new jobs to a queue (lua/add.lua)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from engine.connection import Argument, Link, Reply, Waiter
from engine.errors import PayloadTooLarge, ScriptError
from engine.model.codec import DEFAULT_MAX_PAYLOAD
from engine.model.keys import Keys
from engine.model.options import Deduplication
from engine.model.records import NewRow
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Added

_add = Script(
    "add",
    keys="meta id wait paused active prioritized pc delayed marker events jobs",
    args="now cap",
    rows="id name data opts special",
)


_NONE: frozenset[int] = frozenset()


async def add(
    link: Link, keys: Keys, rows: Sequence[NewRow], *, cap: int = DEFAULT_MAX_PAYLOAD, now: Now = ""
) -> Added:
    """Add at most 1,000 jobs, all or none. Raises PayloadTooLarge if the data of one exceeds `cap` bytes."""
    return read_added(await _add(link, keys, now, cap, rows=_slots(rows)), rows, cap)


def post_add(link: Link, keys: Keys, rows: Sequence[NewRow], waiter: Waiter, *, cap: int = DEFAULT_MAX_PAYLOAD) -> None:
    """`add` without waiting: the waiter gets the reply as soon as it is read; `read_added` decodes it."""
    _add.post(link, waiter, keys, "", cap, rows=_slots(rows))


def _slots(rows: Sequence[NewRow]) -> list[Argument]:
    slots: list[Argument] = []
    for row in rows:
        slots += (row.id, row.name, row.data, row.opts, _special(row))
    return slots


class _Special(Struct, frozen=True, omit_defaults=True):
    timestamp: int | None = None
    delay: int = 0
    priority: int = 0
    lifo: bool = False
    de: Deduplication | None = None


def _special(row: NewRow) -> bytes:
    if row.timestamp is None and not (row.delay or row.priority or row.lifo or row.deduplication):
        return b""
    return msgspec.json.encode(_Special(row.timestamp, row.delay, row.priority, row.lifo, row.deduplication))


def read_added(reply: Reply, rows: Sequence[NewRow], cap: int) -> Added:
    """Decode the reply of add.lua for these rows. Raises PayloadTooLarge."""
    match reply:
        case list(ids):
            if 0 not in ids and len(ids) == len(rows):
                return Added([id.decode(errors="replace") for id in ids], _NONE)
            owners = iter(ids[len(rows) :])
            made = ids[: len(rows)]
            known = frozenset(number for number, id in enumerate(made) if isinstance(id, int))
            named = [
                row.id if id == 0 else (next(owners) if id == 1 else id).decode(errors="replace")
                for id, row in zip(made, rows, strict=True)
            ]
            return Added(named, known)
        case int(number):
            raise PayloadTooLarge(f"data: {len(rows[number].data):,} bytes are over the queue's limit of {cap:,}")
    raise ScriptError(f"add.lua returned {reply!r}")
