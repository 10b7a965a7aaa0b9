"""Checks `expires_in` of a claimed job, by the server's clock alone: clocks of hosts differ."""

from __future__ import annotations

import asyncio

from engine.connection import Link
from engine.errors import ConnectFailed, JobExpired, OutcomeUnknown, ServerBusy
from engine.model.keys import Keys
from engine.worker.active_jobs import ActiveJob
from engine.worker.retry_delay import RetryDelay


async def check_expiry(link: Link, keys: Keys, active: ActiveJob) -> None:
    """Raise JobExpired if the claim is later than the job allows. Retries while the server does not answer."""
    options, claimed = active.options, active.claimed
    assert options.expires_in is not None
    latest = claimed.timestamp + options.delay + options.expires_in
    retry_delay = RetryDelay()
    while True:
        try:
            stored = await link.call("HGET", keys.job(claimed.id), "processedOn")
            break
        except (ConnectFailed, OutcomeUnknown, ServerBusy):
            # An attempt must not be lost to an outage.
            await asyncio.sleep(retry_delay.wait())
    late = int(stored or 0) - latest
    if late > 0:
        raise JobExpired(f"expired: it was to start within {options.expires_in:,} ms and was claimed {late:,} ms later")
