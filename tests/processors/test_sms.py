"""SMS jobs: to the log, and to a server that speaks Twilio's REST API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import pytest
import pytest_asyncio

from engine import SmsJobData
from processors.delivery import NothingSent, Refused
from processors.settings import Twilio
from processors.sms import ConsoleProvider, SmsProcessor, SmsService, e164
from processors.twilio import TwilioProvider
from tests.processors.jobs import NotedJob
from tests.processors.twilio_fake import ACCOUNT, INVALID, NUMBER, TOKEN, TwilioFake, twilio_fake


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[TwilioFake]:
    async with twilio_fake() as running:
        yield running


def job(*numbers: str, message: str = "Hello") -> NotedJob[SmsJobData]:
    return NotedJob("sms", SmsJobData(sub_account_id="1", phone_numbers=list(numbers), message=message))


def by_twilio(fake: TwilioFake, **changes: Any) -> SmsProcessor:
    account = Twilio(**{"account_sid": ACCOUNT, "auth_token": TOKEN, "sender": NUMBER, "base_url": fake.url, **changes})
    return SmsProcessor(SmsService(TwilioProvider(account, timeout=5)), at_once=2)


async def test_the_console_provider_logs_each_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "processors.sms")
    sent = job("+1234567890", "+0987654321", message="two\nlines")
    result = await SmsProcessor(SmsService(ConsoleProvider())).process(sent)
    assert (result.total, result.successful, result.failed) == (2, 2, 0)
    assert [outcome.phone_number for outcome in result.results] == ["+1234567890", "+0987654321"]
    assert all(outcome.message_id for outcome in result.results)
    assert [record.getMessage() for record in caplog.records] == [
        "sms to +1234567890: 'two\\nlines'", "sms to +0987654321: 'two\\nlines'",
    ]  # fmt: skip
    assert sent.reports == [100]


@pytest.mark.parametrize("number", ["+1 (555) 123-4567", "+1.555.123.4567", "+15551234567", " +1-555-123-4567 "])
def test_spaces_dashes_dots_and_brackets_do_not_count(number: str) -> None:
    assert e164(number) == "+15551234567"


@pytest.mark.parametrize(
    "number",
    [
        "15551234567",
        "+123456",
        "+1234567890123456",
        "+1555CALLNOW",
        "+١٢٣٤٥٦٧٨",
        "",
        "++15551234567",
        "+1555123\x004567",
    ],
)
def test_what_is_not_a_number_with_country_code_is_refused(number: str) -> None:
    with pytest.raises(Refused, match="not a phone number"):
        e164(number)


async def test_twilio_gets_the_form_that_its_documentation_shows(fake: TwilioFake) -> None:
    result = await by_twilio(fake).process(job("+1 555 123 4567", message="Hällo & = +"))
    assert fake.sent == [{"To": "+15551234567", "From": NUMBER, "Body": "Hällo & = +"}]
    assert result.results[0].phone_number == "+1 555 123 4567"
    assert result.results[0].message_id == f"SM{1:032}"


async def test_a_messaging_service_takes_the_place_of_a_number(fake: TwilioFake) -> None:
    await by_twilio(fake, sender="MG123").process(job("+15551234567"))
    assert fake.sent == [{"To": "+15551234567", "MessagingServiceSid": "MG123", "Body": "Hello"}]


async def test_a_bad_number_does_not_fail_the_others_and_results_keep_their_order(fake: TwilioFake) -> None:
    sent = job("+15551111111", INVALID, "nonsense", "+15552222222", "+15553333333")
    result = await by_twilio(fake).process(sent)
    assert [outcome.status for outcome in result.results] == ["sent", "failed", "failed", "sent", "sent"]
    assert (result.total, result.successful, result.failed) == (5, 3, 2)
    assert result.results[1].error == f"Twilio 21211: Invalid 'To' Phone Number: {INVALID}"
    assert sent.reports == [40, 80, 100]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_trouble_at_twilio_fails_the_job_so_that_it_is_retried(fake: TwilioFake, status: int) -> None:
    fake.trouble = status
    with pytest.raises(NothingSent, match="Twilio 20429: Too Many Requests"):
        await by_twilio(fake).process(job("+15551111111", "+15552222222"))


async def test_a_wrong_token_says_what_to_check(fake: TwilioFake) -> None:
    with pytest.raises(NothingSent, match="TWILIO_AUTH_TOKEN"):
        await by_twilio(fake, auth_token="wrong").process(job("+15551111111"))


async def test_no_connection_fails_the_job_so_that_it_is_retried() -> None:
    async with twilio_fake() as gone:
        pass
    with pytest.raises(NothingSent, match="Cannot connect"):
        await by_twilio(gone).process(job("+15551111111"))


async def test_the_official_sdk_takes_the_fake_for_twilio(fake: TwilioFake) -> None:
    pytest.importorskip("twilio")
    sid, refusal, code = await asyncio.to_thread(_by_sdk, fake.url)
    assert sid == f"SM{1:032}"
    assert refusal.startswith("HTTP 400 error: Unable to create record: Invalid 'To' Phone Number")
    assert code == 21211
    assert fake.sent == [{"To": "+15551234567", "From": NUMBER, "Body": "Hello"}]


def _by_sdk(url: str) -> tuple[str, str, int]:
    exceptions: Any = import_module("twilio.base.exceptions")
    http_client: Any = import_module("twilio.http.http_client")
    rest: Any = import_module("twilio.rest")

    class Local(http_client.TwilioHttpClient):  # type: ignore[misc]
        def request(self, method: str, uri: str, *args: Any, **kwargs: Any) -> Any:
            return super().request(method, uri.replace("https://api.twilio.com", url), *args, **kwargs)

    transport = Local()
    try:
        client = rest.Client(ACCOUNT, TOKEN, http_client=transport)
        sent = client.messages.create(to="+15551234567", from_=NUMBER, body="Hello")
        with pytest.raises(exceptions.TwilioRestException) as caught:
            client.messages.create(to=INVALID, from_=NUMBER, body="Hello")
        return str(sent.sid), str(caught.value), caught.value.code
    finally:
        transport.session.close()
