"""A processor for tests and benchmarks: the job's `act` chooses success, failure, sleep and so on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any, Literal

from msgspec import Struct

from engine import Job, errors, processor


class ProbeData(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """act: ok returns `value`; fail raises, refuse raises UnrecoverableError, both with `reason`; sleep waits `ms` and
    returns; block holds the event loop for `ms`; retry asks for another run after `ms`; crash kills the process;
    report sends progress 50 and a log row.

    until: `fail`, `retry` and `crash` happen only in runs before this one (1 is the first); later runs return `value`.
    """

    act: Literal["ok", "fail", "refuse", "sleep", "block", "retry", "crash", "report"] = "ok"
    value: Any = None
    ms: int = 0
    reason: str = "the probe was told to fail"
    until: int = 1_000_000


@processor("probe")
async def probe(job: Job[ProbeData]) -> Any:
    """Act as the job's `act` says."""
    data = job.data
    if data.act in ("fail", "retry", "crash") and job.attempts_started >= data.until:
        return data.value
    match data.act:
        case "fail":
            raise RuntimeError(data.reason)
        case "refuse":
            raise errors.UnrecoverableError(data.reason)
        case "sleep":
            await asyncio.sleep(data.ms / 1000)
        case "block":
            time.sleep(data.ms / 1000)  # noqa: ASYNC251 - holding the loop is what it is for
        case "retry":
            raise errors.Retry(data.ms)
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "report":
            await job.update_progress(50)
            await job.log("halfway")
    return data.value
