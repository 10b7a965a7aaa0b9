"""Record final failures of claimed jobs (lua/fail.lua)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, repeat

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Claimed, Failed
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Refusals, read_refusals, retention_slot

_fail = Script(
    "fail",
    keys="meta wait paused active prioritized pc delayed failed stalled marker events jobs",
    args="now dead_letters metrics",
    rows="id token fence reason keep stacktrace attempts error tenant",
)


UNKNOWN_ERROR = "unknown"
"""The class of an unknown error."""
MAX_TENANT = 200
"""Characters of a tenant's name; a longer one is cut."""


async def fail(
    link: Link,
    keys: Keys,
    failures: Iterable[tuple[Claimed, Failed, Keep, int]],
    *,
    dead_letters: Keep | None = None,
    tenants: Sequence[str] = (),
    metrics: Argument = "",
    now: Now = "",
) -> Refusals:
    """Fail at most 1,000 jobs for good, each with what is kept of failed jobs and the runs that it may have.

    dead_letters: what is kept of dead letters; None writes none. tenants: of these jobs, in their order, empty for none.
    metrics: minutes of counts kept of failed jobs; "" counts none.
    """
    slots: list[Argument] = []
    for (job, failed, keep, attempts), tenant in zip(failures, chain(tenants, repeat("")), strict=False):
        slots += (
            job.slot,
            job.token,
            job.fence,
            failed.reason,
            retention_slot(keep),
            failed.stacktrace or b"[]",
            attempts,
        )
        slots += (failed.error or UNKNOWN_ERROR, tenant[:MAX_TENANT])
    kept = "" if dead_letters is None else retention_slot(dead_letters) or ","
    return read_refusals(await _fail(link, keys, now, kept, metrics, rows=slots))
