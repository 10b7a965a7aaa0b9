"""Record the result of a claimed job, and add the jobs that its run gathered (lua/finish_adding.lua)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import NodeRow
from engine.scripting.loader import Now, Script
from engine.scripting.nodes import NODE, node_slots
from engine.scripting.rows import Finished, Refusal, retention_slot

_finish_adding = Script(
    "finish_adding",
    keys="meta wait paused active prioritized pc delayed completed stalled marker events jobs",
    args="now id token fence value keep",
    rows=NODE,
)


async def finish_adding(
    link: Link, keys: Keys, finished: Finished, nodes: Sequence[NodeRow], *, now: Now = ""
) -> Refusal | None:
    """Complete a job and add at most 1,000 others, both or nothing."""
    job, value, keep = finished
    code = await _finish_adding(
        link, keys, now, job.id, job.token, job.fence, value, retention_slot(keep), rows=node_slots(nodes)
    )
    return Refusal(code) if code else None
