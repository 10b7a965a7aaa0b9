"""Whether a claimed job that must not start late is late. By the server's clock alone: those of hosts differ."""

from __future__ import annotations

import asyncio

from engine.connection import Link
from engine.errors import ConnectFailed, JobExpired, OutcomeUnknown, ServerBusy
from engine.model.keys import Keys
from engine.worker.active_jobs import ActiveJob
from engine.worker.retry_delay import RetryDelay


async def check_expiry(link: Link, keys: Keys, hold: ActiveJob) -> None:
    """Raise JobExpired if the claim came later than the job allows. Waits as long as the server cannot be asked."""
    options, claimed = hold.options, hold.claimed
    assert options.expires_in is not None
    latest = claimed.timestamp + options.delay + options.expires_in
    setbacks = RetryDelay()
    while True:
        try:
            stored = await link.call("HGET", keys.job(claimed.id), "processedOn")
            break
        except (ConnectFailed, OutcomeUnknown, ServerBusy):
            # An attempt must not be lost to an outage.
            await asyncio.sleep(setbacks.wait())
    late = int(stored or 0) - latest
    if late > 0:
        raise JobExpired(f"expired: it was to start within {options.expires_in:,} ms and was claimed {late:,} ms later")
