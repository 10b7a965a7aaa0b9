"""Cancel a job: fail it before it starts, or ask its worker to end it (lua/cancel.lua)."""

from __future__ import annotations

from enum import Enum

from engine.connection import Link
from engine.errors import ScriptError, WrongState
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.scripting.loader import Now, Script
from engine.scripting.rows import retention_slot

_cancel = Script(
    "cancel",
    keys="meta wait paused active prioritized pc delayed waiting_children completed failed repeat marker events cancelling jobs",
    args="now id reason keep",
)


class Cancellation(Enum):
    """Result of cancelling a job."""

    CANCELLED = "cancelled"
    """It had not started; it has failed now and will not run."""
    ASKED = "asked"
    """It is running, or a parent waits for it: its worker was asked to end it. A result that comes first counts."""
    ENDED = "ended"
    """It had completed or failed before; nothing was written."""
    MISSING = "missing"
    """There is no such job."""


_ANSWERS = {
    1: Cancellation.CANCELLED,
    2: Cancellation.ASKED,
    3: Cancellation.ENDED,
    4: Cancellation.MISSING,
}


async def cancel(link: Link, keys: Keys, *, id: str, reason: str, keep: Keep, now: Now = "") -> Cancellation:
    """Cancel a job; `keep` is what is kept of failed jobs. Raises WrongState for the pending run of a schedule."""
    answer = await _cancel(link, keys, now, id, reason, retention_slot(keep))
    if answer == 5:
        raise WrongState(f"job {id!r} is the pending run of a schedule; remove the schedule instead")
    if answer not in _ANSWERS:
        raise ScriptError(f"cancel.lua returned {answer!r}")
    return _ANSWERS[answer]
