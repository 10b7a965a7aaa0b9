"""Delete old jobs of one state (lua/clean.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.errors import InvalidOption
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import PER_CALL

_clean = Script(
    "clean",
    keys="meta wait paused active prioritized delayed completed failed stalled repeat events jobs",
    args="now state grace skip count",
)

_STATES = {
    "waiting": ("paused", "wait"),
    **{name: (name,) for name in ("paused", "active", "prioritized", "delayed", "completed", "failed")},
}


async def clean(
    link: Link,
    keys: Keys,
    *,
    state: str,
    grace_ms: int = 0,
    limit: int | None = None,
    count: int = PER_CALL,
    now: Now = "",
) -> list[str]:
    """Delete jobs of one state that are older than `grace_ms`, the oldest first, at most `limit`; returns their ids.

    Age counts from the finish, else from the last start, else from the add. Jobs that a worker holds and pending runs
    of schedules stay. `count` jobs are checked in a call. Raises InvalidOption for a state that cannot be cleaned.
    """
    if state not in _STATES:
        raise InvalidOption(f"state: {state!r} cannot be cleaned; it is one of {', '.join(_STATES)}")
    deleted: list[str] = []
    for structure in _STATES[state]:
        skip = 0
        while limit is None or len(deleted) < limit:
            wanted = count if limit is None else min(count, limit - len(deleted))
            gone, stayed = await _clean(link, keys, now, structure, grace_ms, skip, wanted)
            deleted += [id.decode(errors="replace") for id in gone]
            skip += stayed
            if len(gone) + stayed < wanted:
                break
    return deleted
