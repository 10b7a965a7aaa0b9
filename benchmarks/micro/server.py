"""What a server says it spent, calls and time of each command; and that its log file is at rest."""

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
    """Time of the server's main thread, in it and in all that it called; reading, writing and the log file are outside."""

    def since(self, before: Spent) -> Spent:
        return Spent(self.calls - before.calls, self.us - before.us)

    def plus(self, other: Spent) -> Spent:
        return Spent(self.calls + other.calls, self.us + other.us)


async def spent_by_command(link: Link) -> dict[str, Spent]:
    """Since the server started, by command in small letters; those that scripts run are counted too."""
    said = await link.call("INFO", "commandstats")
    return {name.decode(): Spent(int(calls), int(us)) for name, calls, us in _LINE.findall(said)}


async def spent_on_scripts(link: Link) -> Spent:
    """On scripts called by digest."""
    return (await spent_by_command(link)).get("evalsha", Spent())


def wait_for_rewrite(redis: Any) -> None:
    """Until no rewrite of the append-only file is under way or due. Takes a client of redis-py."""
    while any(redis.info("persistence")[name] for name in ("aof_rewrite_in_progress", "aof_rewrite_scheduled")):
        time.sleep(0.02)
