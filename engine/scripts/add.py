"""Put new jobs in line (lua/add.lua)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from engine.codec import DEFAULT_MAX_PAYLOAD
from engine.errors import PayloadTooLarge, ScriptError
from engine.job import NewRow
from engine.keys import Keys
from engine.link import Argument, Link
from engine.script import Now, Script

_add = Script(
    "add",
    keys="meta id wait paused active prioritized pc delayed marker events jobs",
    args="now cap",
    rows="id name data opts timestamp delay priority lifo",
)


class Added(Struct, frozen=True):
    ids: list[str]
    known: frozenset[int]
    """Numbers of the rows (from 0) whose id was there already: their jobs were left as they are."""


async def add(
    link: Link, keys: Keys, rows: Sequence[NewRow], *, cap: int = DEFAULT_MAX_PAYLOAD, now: Now = ""
) -> Added:
    """Add at most 1,000 jobs, all or none. Raises PayloadTooLarge where the data of one has more than `cap` bytes."""
    slots: list[Argument] = []
    for row in rows:
        timestamp = "" if row.timestamp is None else row.timestamp
        slots += (row.id, row.name, row.data, row.opts, timestamp, row.delay, row.priority, 1 if row.lifo else 0)
    match await _add(link, keys, now, cap, rows=slots):
        case [ids, known]:
            return Added([id.decode() for id in ids], frozenset(known))
        case int(number):
            raise PayloadTooLarge(f"data: {len(rows[number].data):,} bytes are over the queue's limit of {cap:,}")
        case other:
            raise ScriptError(f"add.lua returned {other!r}")
