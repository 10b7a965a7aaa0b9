"""Recover the jobs of a claim whose reply was lost (lua/recover_claim.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import Claimed
from engine.scripting.loader import Now, Script
from engine.scripting.pace import PER_CALL
from engine.scripting.rows import read_claimed

_recover_claim = Script("recover_claim", keys="active jobs", args="now token lock skip count")


async def recover_claim(
    link: Link, keys: Keys, *, token: str, lock_ms: int, count: int = PER_CALL, now: Now = ""
) -> list[Claimed]:
    """The jobs that the claim with this `token` took, in their order; their locks are renewed."""
    found: list[Claimed] = []
    skip = 0
    while skip >= 0:
        rows, details, skip = await _recover_claim(link, keys, now, token, lock_ms, skip, count)
        found[:0] = read_claimed(rows, details, token)
    return found
