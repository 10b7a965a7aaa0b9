"""E-mail jobs: one message to each recipient, from a template. SMTP is in smtp.py, templates are in templating.py."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import localtime
from typing import Literal

from msgspec import Struct

from engine import BaseProcessor, EmailJobData, Job, errors
from processors.address import parse_address
from processors.delivery import Delivery, Refused, deliver
from processors.smtp import Connection, Mailer
from processors.templating import Rendered, Templates
from processors.text import has_controls


class EmailOutcome(Struct, rename="camel", omit_defaults=True, frozen=True):
    """The result for one recipient."""

    recipient: str
    status: Literal["sent", "failed"]
    error: str | None = None


class EmailResult(Struct, rename="camel", frozen=True):
    """The result of an e-mail job."""

    total: int
    successful: int
    failed: int
    results: Sequence[EmailOutcome]


class EmailProcessor(BaseProcessor[EmailJobData, EmailResult]):
    """Sends through `mailer`, from `sender`. A recipient that fails does not fail the others.

    If nobody could be reached the job fails and is retried; a template that does not exist or does not fit the data
    fails it for good.
    """

    name = "email"

    def __init__(self, mailer: Mailer | None, templates: Templates, sender: str | None) -> None:
        """`mailer` or `sender` is None if mail is not configured: every job then fails, with the fix in its reason."""
        super().__init__()
        self._mailer = mailer
        self._templates = templates
        self._sender = _sender(sender) if sender else None

    async def process(self, job: Job[EmailJobData]) -> EmailResult:
        """Send to every recipient of the job."""
        mailer, sender = self._set_up()
        rendered = self._templates.render(job.data.template, job.data.template_data or {})
        async with mailer.connect() as connection:
            letters = _Letters(job, rendered, sender, connection)
            return _result(await deliver(job.data.to, letters.send, job.update_progress))

    def _set_up(self) -> tuple[Mailer, Address]:
        if self._mailer is None:
            raise errors.InvalidInput(
                "no mail server is configured; set SMTP_URL, such as smtp://user:password@host:587"
            )
        if self._sender is None:
            raise errors.InvalidInput("no sender is configured; set MAIL_FROM, such as 'Acme <hello@acme.example>'")
        return self._mailer, self._sender


class _Letters:
    """The messages of one job, one for each recipient."""

    def __init__(self, job: Job[EmailJobData], rendered: Rendered, sender: Address, connection: Connection) -> None:
        self._job = job
        self._rendered = rendered
        self._sender = sender
        self._connection = connection

    async def send(self, recipient: str) -> str:
        try:
            address = parse_address(recipient)
        except ValueError as error:
            raise Refused(f"{recipient!r} {error}") from None
        message = self._message(address)
        return await self._connection.post(message, self._sender.addr_spec, address.addr_spec)

    def _message(self, recipient: Address) -> EmailMessage:
        message = EmailMessage(policy=SMTP_POLICY)
        message["From"] = self._sender
        message["To"] = recipient
        message["Subject"] = self._subject()
        message["Date"] = localtime()
        message["Message-ID"] = self._message_id(recipient)
        message["Auto-Submitted"] = "auto-generated"
        self._fill(message)
        return message

    def _subject(self) -> str:
        subject = self._job.data.subject or self._rendered.subject or ""
        if has_controls(subject):
            raise errors.UnrecoverableError(f"subject {subject!r}: has a line break or another control character")
        return subject

    def _message_id(self, recipient: Address) -> str:
        """The Message-ID, equal in every attempt, so that a mail program can discard a duplicate. Includes the job's time."""
        job = self._job
        identity = "\n".join((job.queue_name, job.id, str(job.timestamp), recipient.addr_spec))
        return f"<{hashlib.sha256(identity.encode()).hexdigest()[:40]}@{self._sender.domain}>"

    def _fill(self, message: EmailMessage) -> None:
        text, html = self._rendered.text, self._rendered.html
        if text is not None:
            message.set_content(text)
        if html is None:
            return
        if text is None:
            message.set_content(html, subtype="html")
        else:
            message.add_alternative(html, subtype="html")


def _sender(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise errors.InvalidInput(
            f"sender {text!r} {error}: set MAIL_FROM, such as 'Acme <hello@acme.example>'"
        ) from None


def _result(deliveries: Sequence[Delivery]) -> EmailResult:
    outcomes = [
        EmailOutcome(delivery.recipient, "failed" if delivery.error is not None else "sent", delivery.error)
        for delivery in deliveries
    ]
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    return EmailResult(len(outcomes), len(outcomes) - failed, failed, outcomes)
