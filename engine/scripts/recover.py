"""Find the jobs of a claim whose reply was lost (lua/recover.lua)."""

from __future__ import annotations

from engine.job import Claimed
from engine.keys import Keys
from engine.link import Link
from engine.script import Now, Script
from engine.scripts.pace import PER_CALL
from engine.scripts.rows import read_claimed

_recover = Script("recover", keys="active jobs", args="now token lock skip count")


async def recover(
    link: Link, keys: Keys, *, token: str, lock_ms: int, count: int = PER_CALL, now: Now = ""
) -> list[Claimed]:
    """The jobs that a claim sent with `token` took, in the order in which it took them; their locks are prolonged."""
    found: list[Claimed] = []
    skip = 0
    while skip >= 0:
        rows, skip = await _recover(link, keys, now, token, lock_ms, skip, count)
        found[:0] = read_claimed(rows, token)
    return found
