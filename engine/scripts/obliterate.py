"""Delete a queue with all its jobs (lua/obliterate.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.errors import ScriptError, WrongState
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import PER_CALL

_obliterate = Script(
    "obliterate",
    keys="meta id wait paused active prioritized pc delayed waiting_children completed failed stalled stalled_check"
    " repeat limiter smoothed marker events jobs",
    args="now force count dead_letters",
)


async def obliterate(
    link: Link, keys: Keys, *, force: bool = False, dead_letters: bool = True, count: int = PER_CALL, now: Now = ""
) -> None:
    """Delete a paused queue, `count` jobs a call; with dead_letters=False its dead letters stay. A missing queue is no error.

    Raises WrongState, with nothing written, if the queue is not paused, or jobs are running and `force` is not set.
    """
    while True:
        match await _obliterate(link, keys, now, 1 if force else 0, count, 1 if dead_letters else 0):
            case 0:
                return
            case 1:
                continue
            case 2:
                raise WrongState(f"queue {keys.queue!r} is not paused; pause it first, so that no worker takes a job")
            case 3:
                raise WrongState(f"queue {keys.queue!r} has running jobs; wait for them, or pass force=True")
            case other:
                raise ScriptError(f"obliterate.lua returned {other!r}")
