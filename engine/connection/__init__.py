"""The port to Redis: one small Protocol, spoken by our own connection and by redis-py.

Knows commands and replies; knows neither jobs nor scripts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Literal, cast

from msgspec import structs

from engine.connection.address import RedisSettings, read_secret
from engine.connection.checks import UNASKED, check_access, check_server, elsewhere, not_allowed
from engine.connection.connection import Connection
from engine.connection.port import Argument, Link, PatientLink, Reply, Waiter
from engine.connection.redis_py import RedisPyLink
from engine.connection.shared import SharedLink
from engine.connection.waiting import DEFAULT_WAIT
from engine.errors import InvalidOption

__all__ = [
    "UNASKED",
    "Argument",
    "Link",
    "PatientLink",
    "Reply",
    "Waiter",
    "RedisSettings",
    "Connection",
    "RedisPyLink",
    "SharedLink",
    "DEFAULT_WAIT",
    "Implementation",
    "check_access",
    "check_server",
    "elsewhere",
    "not_allowed",
    "open_link",
    "read_secret",
]

Implementation = Literal["own", "redis-py"]


async def open_link(
    where: str | RedisSettings | None = None,
    *,
    name: str = "",
    prelude: Sequence[Sequence[Argument]] = (),
    implementation: Implementation | None = None,
    wait: bool | float = False,
    call_wait: float | None = None,
) -> Connection | RedisPyLink:
    """Connect to Redis. Close what it returns.

    where           an address, settings, or None for the environment's (REDIS_URL and the like)
    name            what CLIENT LIST shows
    prelude         commands sent at each connect before any other, such as SCRIPT LOAD; their errors are ignored
    implementation  None asks CORRAL_LINK, and takes our own where that is not set
    wait            keep trying until the server is there; a number: for so many seconds, while a later try may succeed
    call_wait       for a producer: seconds that each call, the first connect included, waits for a server that cannot take it,
                    see PatientLink; None is the worker's rule

    Raises ConnectFailed or AuthFailed, with what to do, if the first connect fails; InvalidOption for a wrong address.
    """
    settings = await _running(RedisSettings.parse(where))
    kind = RedisPyLink if _implementation(implementation) == "redis-py" else Connection
    link = kind(settings, name=name, prelude=prelude, call_wait=call_wait)
    try:
        await link.connect(wait=wait if call_wait is None else call_wait)
    except BaseException:
        await link.close()
        raise
    return link


async def _running(settings: RedisSettings) -> RedisSettings:
    """The settings themselves, or those of the server that `embedded:` asks for, which is started if need be."""
    if settings.embedded is None:
        return settings
    from engine.connection.embedded import ensure_server

    url = await asyncio.to_thread(ensure_server, settings.embedded or None)
    times = {"connect_timeout": settings.connect_timeout, "call_timeout": settings.call_timeout}
    return structs.replace(RedisSettings.parse(url), **times)


def _implementation(asked: Implementation | None) -> Implementation:
    chosen = asked or os.environ.get("CORRAL_LINK") or "own"
    if chosen not in ("own", "redis-py"):
        raise InvalidOption(f"CORRAL_LINK: {chosen!r} is no implementation; set it to own or redis-py, or unset it")
    return cast(Implementation, chosen)
