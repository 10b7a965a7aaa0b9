"""SMS jobs: one text to each number, through an SmsService. Twilio itself is in twilio.py."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, Protocol

from msgspec import Struct

from engine import BaseProcessor, Job, SmsJobData
from processors.delivery import Delivery, Refused, deliver

logger = logging.getLogger("processors.sms")

# Leading zeros pass: the provider knows which country codes exist, and the specification's own example has one.
_E164 = re.compile(r"\+[0-9]{7,15}")
_PUNCTUATION = re.compile(r"[\s().-]")


class Sender(Protocol):
    """Sends to one number in E.164 form and returns the message's id. Raises Refused or Unavailable."""

    async def __call__(self, to: str, text: str) -> str: ...


class SmsProvider(Protocol):
    """A way to send text messages; `connect` is a context manager that yields a Sender."""

    def connect(self) -> AbstractAsyncContextManager[Sender]: ...


class ConsoleProvider:
    """Writes messages to the log instead of sending them."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Sender]:
        yield self._send

    async def _send(self, to: str, text: str) -> str:
        logger.info("sms to %s: %r", to, text)
        return f"console-{uuid.uuid4().hex}"


class SmsService:
    """Sends text messages through a provider; normalizes phone numbers first."""

    def __init__(self, provider: SmsProvider) -> None:
        self._provider = provider

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Sender]:
        """Yields a Sender that keeps its connections until the block ends, and refuses invalid phone numbers."""
        async with self._provider.connect() as send:

            async def send_sms(to: str, text: str) -> str:
                return await send(e164(to), text)

            yield send_sms


class SmsOutcome(Struct, rename="camel", omit_defaults=True, frozen=True):
    """The result for one number, spelled as in the job."""

    phone_number: str
    status: Literal["sent", "failed"]
    message_id: str | None = None
    error: str | None = None


class SmsResult(Struct, rename="camel", frozen=True):
    """The result of an SMS job."""

    total: int
    successful: int
    failed: int
    results: Sequence[SmsOutcome]


class SmsProcessor(BaseProcessor[SmsJobData, SmsResult]):
    """Sends by `service`, `at_once` numbers at a time. A number that fails does not fail the others.

    If no number could be served for a reason that may pass, the job fails and is retried.
    """

    name = "sms"

    def __init__(self, service: SmsService, *, at_once: int = 10) -> None:
        super().__init__()
        self._service = service
        self._at_once = at_once

    async def process(self, job: Job[SmsJobData]) -> SmsResult:
        """Send to every number of the job."""
        async with self._service.connect() as send:

            async def send_one(number: str) -> str:
                return await send(number, job.data.message)

            deliveries = await deliver(job.data.phone_numbers, send_one, job.update_progress, at_once=self._at_once)
        return _result(deliveries)


def e164(number: str) -> str:
    """`number` without spaces, dashes, dots and brackets. Raises Refused if it is then not + and 7 to 15 digits."""
    plain = _PUNCTUATION.sub("", number)
    if not _E164.fullmatch(plain):
        raise Refused(f"{number!r} is not a phone number with country code; write it like +15551234567")
    return plain


def _result(deliveries: Sequence[Delivery]) -> SmsResult:
    outcomes = [
        SmsOutcome(delivery.recipient, "sent", message_id=delivery.receipt)
        if delivery.error is None
        else SmsOutcome(delivery.recipient, "failed", error=delivery.error)
        for delivery in deliveries
    ]
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    return SmsResult(len(outcomes), len(outcomes) - failed, failed, outcomes)
