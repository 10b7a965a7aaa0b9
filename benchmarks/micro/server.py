"""Calls and time of each command as the server counts them; and waiting until its log file is not rewritten."""

from __future__ import annotations

import re
import time
from typing import Any

from msgspec import Struct

from engine.connection import Link

_LINE = re.compile(rb"^cmdstat_([\w|]+):calls=(\d+),usec=(\d+)", re.MULTILINE)


class Spent(Struct, frozen=True):
    calls: int = 0
    us: int = 0
    """Time of the server's main thread, including the commands that a script calls; without reading, writing and the log file."""

    def since(self, before: Spent) -> Spent:
        return Spent(self.calls - before.calls, self.us - before.us)

    def plus(self, other: Spent) -> Spent:
        return Spent(self.calls + other.calls, self.us + other.us)


async def spent_by_command(link: Link) -> dict[str, Spent]:
    """Calls and time since the server started, by command in lower case; commands that scripts call are counted too."""
    text = await link.call("INFO", "commandstats")
    return {name.decode(): Spent(int(calls), int(us)) for name, calls, us in _LINE.findall(text)}


async def spent_on_scripts(link: Link) -> Spent:
    """Calls and time of scripts called by digest."""
    return (await spent_by_command(link)).get("evalsha", Spent())


def wait_for_rewrite(redis: Any) -> None:
    """Wait until no rewrite of the append-only file is running or scheduled. Takes a client of redis-py."""
    while any(redis.info("persistence")[name] for name in ("aof_rewrite_in_progress", "aof_rewrite_scheduled")):
        time.sleep(0.02)
