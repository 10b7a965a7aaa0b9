"""Record results of claimed jobs (lua/finish.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Finished, Refusals, finished_slots, read_refusals

_finish = Script(
    "finish",
    keys="meta wait paused active prioritized pc delayed completed stalled marker events jobs",
    args="now metrics",
    rows="id token fence value keep attempts",
)


async def finish(
    link: Link, keys: Keys, finished: Iterable[Finished], *, metrics: Argument = "", now: Now = ""
) -> Refusals:
    """Complete at most 1,000 jobs. Refused rows change nothing and do not stop the others.

    metrics: minutes of counts kept of completed jobs; "" counts none.
    """
    return read_refusals(await _finish(link, keys, now, metrics, rows=finished_slots(finished)))
