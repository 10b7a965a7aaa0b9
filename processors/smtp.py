"""Sends mail through an SMTP server. Knows nothing of jobs or templates."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from types import ModuleType
from typing import TYPE_CHECKING

from engine import errors
from processors.delivery import Refused, Unavailable
from processors.settings import Smtp

if TYPE_CHECKING:
    import aiosmtplib


class Mailer:
    """A mail server, with at most `connections` open at a time. Raises the errors of `Connection.post`."""

    def __init__(self, server: Smtp, *, connections: int = 10) -> None:
        self._server = server
        self._free = asyncio.Semaphore(connections)

    def __repr__(self) -> str:
        return f"Mailer({self._server!r})"

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """Yields a connection, opened at the first message and reopened after it broke."""
        async with self._free:
            connection = Connection(self._server)
            try:
                yield connection
            finally:
                await connection.close()


class Connection:
    """One connection to the server; not for concurrent use."""

    def __init__(self, server: Smtp) -> None:
        self._server = server
        self._library = _library()
        self._client: aiosmtplib.SMTP | None = None

    async def post(self, message: EmailMessage, sender: str, recipient: str) -> str:
        """Send `message` to one recipient; returns the server's reply.

        Raises Refused if the server will not have it, Unavailable if it cannot be reached or says to come again later.
        """
        smtp = self._library
        try:
            client = await self._open()
            _, words = await client.send_message(message, sender=sender, recipients=[recipient])
        except smtp.SMTPRecipientsRefused as error:
            raise _verdict(error.recipients[0].code, error.recipients[0].message) from None
        except smtp.SMTPAuthenticationError as error:
            raise Unavailable(
                f"the mail server refused the login ({error.code} {error.message}); check the user and password in SMTP_URL"
            ) from None
        except smtp.SMTPResponseException as error:
            raise _verdict(error.code, error.message) from None
        except (smtp.SMTPException, OSError) as error:
            await self.close()
            raise Unavailable(f"mail server {self._server.host}:{self._server.port}: {error}") from None
        return words

    async def close(self) -> None:
        """Send QUIT if still connected; never raises."""
        client, self._client = self._client, None
        if client is not None and client.is_connected:
            with contextlib.suppress(self._library.SMTPException, OSError):
                await client.quit(timeout=5)
            client.close()

    async def _open(self) -> aiosmtplib.SMTP:
        if self._client is None or not self._client.is_connected:
            client = self._library.SMTP(
                hostname=self._server.host,
                port=self._server.port,
                username=self._server.username,
                password=self._server.password,
                use_tls=self._server.tls == "tls",
                start_tls=_start_tls(self._server),
                timeout=self._server.timeout,
            )
            await client.connect()
            self._client = client
        return self._client


def _start_tls(server: Smtp) -> bool | None:
    """For STARTTLS: None uses it if the server offers it. Required with a password, which must not be sent unencrypted."""
    match server.tls:
        case "auto":
            return True if server.password else None
        case chosen:
            return chosen == "starttls"


def _verdict(code: int, message: str) -> Refused | Unavailable:
    text = f"{code} {message}"
    return Unavailable(text) if 400 <= code < 500 else Refused(text)


def _library() -> ModuleType:
    try:
        import aiosmtplib
    except ImportError:
        raise errors.MissingExtra("sending e-mail", "email") from None
    return aiosmtplib
