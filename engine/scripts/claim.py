"""Take jobs in line for a worker (lua/claim.lua)."""

from __future__ import annotations

from msgspec import Struct

from engine.job import Claimed
from engine.keys import Keys
from engine.link import Link
from engine.script import Now, Script
from engine.scripts.rows import read_claimed

_claim = Script(
    "claim",
    keys="meta wait paused active prioritized pc delayed marker events jobs",
    args="now token lock worker count",
)


class Claims(Struct, frozen=True):
    jobs: list[Claimed]
    next_due: int | None
    """Milliseconds until the next delayed job is due; None without one."""
    more: bool
    """Further jobs wait."""


async def claim(link: Link, keys: Keys, *, token: str, lock_ms: int, worker: str, count: int, now: Now = "") -> Claims:
    """Claim up to `count` jobs, each locked with `token` for `lock_ms`. `token` names this call and no other."""
    rows, next_due, more = await _claim(link, keys, now, token, lock_ms, worker, count)
    return Claims(read_claimed(rows, token), None if next_due < 0 else next_due, more == 1)
