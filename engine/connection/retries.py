"""Retries of connects, and of a producer's calls that the server refuses: delays, time limits, the error at the end.

Workers use only the delays: they retry until they are stopped.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from math import inf

from engine.connection.address import RedisSettings
from engine.connection.link import Reply
from engine.errors import ConnectFailed, ServerBusy
from engine.model.clock import monotonic

DEFAULT_WAIT = 2_000
"""A producer's default `wait`, in milliseconds."""
LEAST_SILENCE = 1.0
"""Seconds without a reply after which a server may count as hung; never less, even for a shorter `wait`."""
PRODUCER_DELAY = 1.0
"""Longest delay between two tries of a producer, in seconds: short enough for a try within each `wait`."""
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 3.0

_STATES = {
    "LOADING": "is loading its data and will serve when that is done; use a longer wait=",
    "BUSY": "is blocked by a script or function that does not end; stop it by SCRIPT KILL, unless it has written",
    "TRYAGAIN": "is moving the slot of these keys to another node; use a longer wait=",
    "CLUSTERDOWN": "is in a cluster that is down; find the slots without a node by CLUSTER INFO",
    "READONLY": "is a read-only replica; give the address of the primary",
    "MASTERDOWN": "is a replica without its primary; start the primary, or give its address",
    "NOREPLICAS": "has too few replicas; start them, or lower min-replicas-to-write",
    "MISCONF": "cannot write its data to disk; free the disk, or fix the permissions that its log names",
    "OOM": "has reached its maxmemory; raise maxmemory, or remove finished jobs",
}


async def send_again(
    send: Callable[[], Awaitable[Reply]], error: ServerBusy, settings: RedisSettings, wait: float
) -> Reply:
    """Send a refused command again, with growing delays, until the server accepts it; the reply.

    Raises ServerBusy with the server's state after `wait` seconds.
    """
    began = monotonic()
    for delay in backoff(PRODUCER_DELAY):
        left = began + wait - monotonic()
        if left <= 0:
            break
        await asyncio.sleep(min(delay, left))
        try:
            return await send()
        except ServerBusy as again:
            error = again
        except ConnectFailed:
            pass  # a refusal may close the connection; its own message says more
    state = _STATES.get(error.code, "cannot serve")
    raise ServerBusy(
        f"{error.code} Redis at {settings.shown} {state} (waited {wait:g} s, nothing was done; its reply: {error})"
    ) from None


async def keep_trying(connect: Callable[[], Awaitable[None]], wait: bool | float) -> None:
    """Connect. wait: retry until it succeeds; a number: for that many seconds, while a later try can succeed."""
    ends = inf if wait is True else monotonic() + wait
    for delay in backoff():
        try:
            await connect()
            return
        except ConnectFailed as failure:
            if not wait or (wait is not True and not failure.transient):
                raise
            left = ends - monotonic()
            if left <= 0:
                raise type(failure)(f"{failure} (tried for {wait:g} s)") from failure.__cause__
        await asyncio.sleep(min(delay, left))


def silence(settings: RedisSettings, wait: float) -> float:
    """Seconds without any reply after which a server counts as hung."""
    return min(settings.call_seconds, max(wait, LEAST_SILENCE))


def backoff(longest: float = _LONGEST_DELAY) -> Iterator[float]:
    """Seconds to wait before each next try: growing, with jitter so that many clients do not come back at once."""
    delay = _FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * 2, longest)
