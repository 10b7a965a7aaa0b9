"""Delivery of one message to each of many recipients: a result for each, and whether the job should be retried.

Knows nothing of mail or text messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct


class Refused(Exception):
    """The message to this recipient is refused for good; a retry does not help."""


class Unavailable(Exception):
    """The service cannot take the message now; a retry may help."""


class NothingSent(Exception):
    """No recipient got the message and a retry may help, so the job fails and is retried."""


class Delivery(Struct, frozen=True):
    """The result for one recipient: `receipt` if it was sent, else `error`."""

    recipient: str
    receipt: str = ""
    error: str | None = None
    temporary: bool = False


Send = Callable[[str], Awaitable[str]]
"""Sends to one recipient and returns a receipt. Raises Refused or Unavailable."""


async def deliver(
    recipients: Sequence[str], send: Send, report: Callable[[int], Awaitable[object]], *, at_once: int = 1
) -> list[Delivery]:
    """Send to every recipient, in order, `at_once` at a time; `report` gets the percentage done.

    Raises NothingSent if all failed for a temporary reason: then a repetition can send to nobody twice.
    """
    deliveries: list[Delivery] = []
    for start in range(0, len(recipients), at_once):
        group = recipients[start : start + at_once]
        deliveries += await asyncio.gather(*(_deliver_one(recipient, send) for recipient in group))
        await report(100 * len(deliveries) // len(recipients))
    if all(delivery.temporary for delivery in deliveries):
        raise NothingSent(f"none of {len(deliveries)} recipients could be reached: {deliveries[-1].error}")
    return deliveries


async def _deliver_one(recipient: str, send: Send) -> Delivery:
    try:
        return Delivery(recipient, receipt=await send(recipient))
    except Refused as error:
        return Delivery(recipient, error=str(error))
    except Unavailable as error:
        return Delivery(recipient, error=str(error), temporary=True)
