"""Let a claimed job wait for its children (lua/wait_children.lua)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import Claimed, NodeRow
from engine.scripting.loader import Now, Script
from engine.scripting.nodes import NODE, node_slots
from engine.scripting.rows import Refusal

_wait_children = Script(
    "wait_children",
    keys="meta wait paused active prioritized pc waiting_children stalled marker events jobs",
    args="now id token fence",
    rows=NODE,
)


async def wait_children(
    link: Link, keys: Keys, job: Claimed, children: Sequence[NodeRow] = (), *, now: Now = ""
) -> Refusal | None:
    """Add these children of a claimed job, at most 1,000 with their own, and let the job wait for all its children.

    If all are done already it is enqueued at the front instead.
    """
    code = await _wait_children(link, keys, now, job.id, job.token, job.fence, rows=node_slots(children))
    return Refusal(code) if code else None
