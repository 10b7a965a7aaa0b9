"""Claim waiting jobs for a worker (lua/claim.lua)."""

from __future__ import annotations

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import Claimed
from engine.scripting.loader import Now, Script
from engine.scripting.rows import read_claimed

_claim = Script(
    "claim",
    keys="meta wait paused active prioritized pc delayed marker events limiter smoothed jobs",
    args="now token lock worker count worker_limit",
)


class ClaimReply(Struct, frozen=True):
    """Claimed jobs, and when to claim again."""

    jobs: list[Claimed]
    next_due: int | None
    """Milliseconds until the next delayed job is due; None without one."""
    more: bool
    """More jobs wait that may be claimed now."""
    limited_ms: int = 0
    """Milliseconds until a rate limit lets a waiting job start; 0 if no limit stops one."""


async def claim(
    link: Link, keys: Keys, *, token: str, lock_ms: int, worker: str, count: int, worker_limit: str = "", now: Now = ""
) -> ClaimReply:
    """Claim up to `count` jobs, each locked with `token` for `lock_ms`. `token` names this call and no other.

    own: the worker's own rate limit, MAX,MS.
    """
    rows, details, next_due, more, limited_ms = await _claim(
        link, keys, now, token, lock_ms, worker, count, worker_limit
    )
    return ClaimReply(read_claimed(rows, details, token), None if next_due < 0 else next_due, more == 1, limited_ms)
