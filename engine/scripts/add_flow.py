"""Add jobs that wait for each other, in any queues (lua/add_flow.lua)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from engine.connection import Link
from engine.errors import CorralError, JobNotFound, WrongState
from engine.model.keys import Keys
from engine.model.options import Parent
from engine.model.records import NodeRow
from engine.scripting.loader import Now, Script
from engine.scripting.nodes import NODE, node_slots

_add_flow = Script("add_flow", keys="jobs", args="now", rows=NODE)


class NotAdded(IntEnum):
    """Why a row, and with it the whole flow, was refused."""

    NO_PARENT = 5
    """Its parent does not exist."""
    OTHER_PARENT = 6
    """A job of its id exists and is the child of another job."""

    def error(self, parent: Parent, id: str) -> CorralError:
        """The exception to raise for job `id`, the intended child of `parent`."""
        if self is NotAdded.NO_PARENT:
            return JobNotFound(parent.id, parent.queue)
        return WrongState(f"job {id!r} exists and is the child of another job; choose another job_id")


async def add_flow(
    link: Link, keys: Keys, nodes: Sequence[NodeRow], *, now: Now = ""
) -> list[str | None] | tuple[int, NotAdded]:
    """Add at most 1,000 jobs, in any queues, all or none; a parent comes before its children.

    Returns for each its id, or None if a job of its id existed; or the number of the refused row, and why.
    """
    reply = await _add_flow(link, keys, now, rows=node_slots(nodes))
    if len(reply) == 2 and isinstance(reply[1], int) and reply[1] != 0:
        return reply[0], NotAdded(reply[1])
    return [None if id == 0 else id.decode(errors="replace") for id in reply]
