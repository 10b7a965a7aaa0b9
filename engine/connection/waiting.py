"""How long a producer's call waits for a server that cannot take it, and what is raised when that was in vain.

Sends nothing. Workers do not use this: they try again until they are stopped.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from math import inf

from engine.connection.address import RedisSettings
from engine.connection.port import Reply
from engine.errors import ConnectFailed, ServerBusy
from engine.model.clock import monotonic

DEFAULT_WAIT = 2_000
"""A producer's `wait` in milliseconds, if nothing is said."""
LEAST_SILENCE = 1.0
"""Seconds that a server may take to answer before it counts as hung, however short the wait is."""
PRODUCER_DELAY = 1.0
"""Longest pause in seconds between two tries to reconnect or to send again, so that there is one within each wait."""
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 3.0

_STATES = {
    "LOADING": "is loading its data; it serves by itself when that is done, so a longer wait= helps",
    "BUSY": "is blocked by a script or function that does not end; SCRIPT KILL ends one that has written nothing",
    "TRYAGAIN": "is moving the slot of these keys to another node; a longer wait= helps",
    "CLUSTERDOWN": "is in a cluster that is down; look at CLUSTER INFO for slots without a node",
    "READONLY": "is a read-only replica; give the address of the primary",
    "MASTERDOWN": "is a replica without its primary; start the primary, or give its address",
    "NOREPLICAS": "has too few replicas; start them, or lower min-replicas-to-write",
    "MISCONF": "cannot write its data to disk; look for a full disk or missing rights in its log",
    "OOM": "has used its maxmemory; raise maxmemory, or remove jobs that are kept",
}


async def send_again(
    send: Callable[[], Awaitable[Reply]], error: ServerBusy, settings: RedisSettings, wait: float
) -> Reply:
    """Send what the server refused whole, with growing pauses, until it takes it; the reply.

    Raises ServerBusy with the state of the server after `wait` seconds.
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
            pass  # a refusal may end the line; what it said tells more
    state = _STATES.get(error.code, "cannot serve")
    raise ServerBusy(
        f"{error.code} Redis at {settings.shown} {state} (waited {wait:g} s, nothing was done; it says: {error})"
    ) from None


async def keep_trying(connect: Callable[[], Awaitable[None]], wait: bool | float) -> None:
    """Connect; with `wait` until it succeeds, where it is a number for so many seconds while a later try may succeed."""
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
