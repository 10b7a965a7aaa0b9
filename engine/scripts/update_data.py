"""Replace the data of a job (lua/update_data.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.errors import JobNotFound, LockLost, PayloadTooLarge, ScriptError
from engine.model.codec import DEFAULT_MAX_PAYLOAD
from engine.model.keys import Keys
from engine.model.records import Claimed
from engine.scripting.loader import Now, Script

_update_data = Script("update_data", keys="active jobs", args="now id token fence data cap")


async def update_data(
    link: Link,
    keys: Keys,
    *,
    id: str,
    data: bytes,
    claim: Claimed | None = None,
    cap: int = DEFAULT_MAX_PAYLOAD,
    now: Now = "",
) -> None:
    """Replace the data (JSON); with `claim`, only while that claim holds the job.

    Raises JobNotFound, LockLost, or PayloadTooLarge if `data` exceeds `cap` bytes; then nothing is written.
    """
    token, fence = (claim.token, claim.fence) if claim else ("", 0)
    match await _update_data(link, keys, now, id, token, fence, data, cap):
        case 0:
            return
        case 1 | 3:
            raise LockLost(id)
        case 2:
            raise JobNotFound(id, keys.queue)
        case 4:
            raise PayloadTooLarge(f"data: {len(data):,} bytes are over the queue's limit of {cap:,}")
        case other:
            raise ScriptError(f"update_data.lua returned {other!r}")
