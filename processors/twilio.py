"""Text messages by Twilio's REST API. Knows nothing of jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from engine import errors
from processors.delivery import Refused, Unavailable
from processors.settings import Twilio
from processors.sms import Sender

if TYPE_CHECKING:
    import aiohttp


class _Message(Struct):
    sid: str


class _Problem(Struct):
    code: int | None = None
    message: str = ""


class TwilioProvider:
    """Sends text messages from the account's number or messaging service."""

    def __init__(self, account: Twilio, *, timeout: float = 20.0) -> None:
        """timeout: seconds for one message, including the connect."""
        self._account = account
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"TwilioProvider({self._account!r})"

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Sender]:
        """Keeps its connections open until the block ends."""
        try:
            import aiohttp
        except ImportError:
            raise errors.MissingExtra("sending text messages by Twilio", "sms") from None
        async with aiohttp.ClientSession(
            headers={"Authorization": aiohttp.encode_basic_auth(self._account.account_sid, self._account.auth_token)},
            timeout=aiohttp.ClientTimeout(total=self._timeout),
        ) as session:
            yield partial(self._send, session)

    async def _send(self, session: aiohttp.ClientSession, to: str, text: str) -> str:
        import aiohttp

        account = self._account
        url = f"{account.base_url}/2010-04-01/Accounts/{account.account_sid}/Messages.json"
        source = "MessagingServiceSid" if account.sender.startswith("MG") else "From"
        try:
            async with session.post(url, data={"To": to, source: account.sender, "Body": text}) as response:
                return _read(response.status, await response.read())
        except TimeoutError:
            # It may have been sent all the same; as everywhere in the engine, twice is better than never.
            raise Unavailable(f"Twilio did not answer within {self._timeout:g} s") from None
        except aiohttp.ClientError as error:
            raise Unavailable(f"Twilio at {account.base_url}: {error}") from None


def _read(status: int, body: bytes) -> str:
    if status == 201:
        return _message_id(body)
    problem = _problem(status, body)
    if status == 401:
        raise Unavailable(f"{problem}; check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN")
    if status == 429 or status >= 500:
        raise Unavailable(problem)
    raise Refused(problem)


def _message_id(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Message).sid
    except msgspec.DecodeError:
        raise Refused("Twilio accepted the message but its reply cannot be read; check TWILIO_BASE_URL") from None


def _problem(status: int, body: bytes) -> str:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError:
        return f"Twilio answered {status}"
    return f"Twilio {problem.code or status}: {problem.message}"
