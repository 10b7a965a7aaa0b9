"""Processors for tests that need them where a child process can import them."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from engine import errors
from engine.job import Job
from engine.processor import processor


@processor("child", run_in="process", attempts=1)
def child(job: Job[dict[str, Any]]) -> Any:
    """Does what `act` says and returns its pid, or what it was told to."""
    match job.data.get("act"):
        case "exit":
            os._exit(3)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "raise":
            raise ValueError("no good")
        case "unrecoverable":
            raise errors.UnrecoverableError("never")
        case "retry":
            raise errors.Retry(0, "once more")
        case "report":
            job.update_progress(50)  # type: ignore[unused-coroutine]
            return job.log("half way")
        case "hang":
            job.update_progress("hanging")  # type: ignore[unused-coroutine]
            time.sleep(60)
        case "object":
            return object()
    return os.getpid()


@processor("async-child", run_in="process")
async def async_child(job: Job[Any]) -> Any:
    return [job.data, os.getpid()]


@processor("process", run_in="process")
def hang(job: Job[Any]) -> None:
    """Says that it has begun, and never ends."""
    job.update_progress("begun")  # type: ignore[unused-coroutine]
    time.sleep(60)


@processor("process", run_in="process", heartbeat=300)
def beat(job: Job[int]) -> str:
    """Beats every 0.1 s, as often as it is told."""
    for _ in range(job.data):
        time.sleep(0.1)
        job.heartbeat()
    return "done"
