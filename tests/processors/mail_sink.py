"""A real SMTP server on loopback that keeps what it is sent and can be told to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from processors.settings import Smtp


class MailSink:
    """`answers`: recipient -> the reply to its RCPT, such as "550 no"; "drop" cuts the line, "silence" says nothing.

    password: asks for a login with it; `passwords` are those that were tried.
    """

    def __init__(self) -> None:
        self.port = 0
        self.answers: dict[str, str] = {}
        self.password: bytes | None = None
        self.passwords: list[bytes] = []
        self.envelopes: list[Envelope] = []

    @property
    def messages(self) -> list[EmailMessage]:
        """What arrived, parsed."""
        return [
            message_from_bytes(self.raw(n), _class=EmailMessage, policy=policy.SMTP) for n in range(len(self.envelopes))
        ]

    @property
    def recipients(self) -> list[str]:
        """Whom it arrived for, in order."""
        return [recipient for envelope in self.envelopes for recipient in envelope.rcpt_tos]

    def raw(self, number: int) -> bytes:
        content = self.envelopes[number].content
        assert isinstance(content, bytes)
        return content

    def settings(self, **changes: Any) -> Smtp:
        return Smtp(**{"host": "127.0.0.1", "port": self.port, "tls": "none", "timeout": 5.0, **changes})

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        answer = self.answers.get(address, "250 OK")
        if answer == "drop":
            cast(_Session, server).line.abort()
        if answer == "silence":
            await asyncio.Event().wait()
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 kept"

    def check(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.passwords.append(data.password)
        return AuthResult(success=data.password == self.password, handled=False)


class _Session(SMTP):
    """One line of the server; `gone` is set when it is closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.line, self.gone = cast(asyncio.WriteTransport, transport), asyncio.Event()  # uvloop's is no subclass
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.gone.set()


@asynccontextmanager
async def mail_sink(password: bytes | None = None) -> AsyncIterator[MailSink]:
    """A running server; it stops with the block."""
    sink = MailSink()
    sink.password = password
    sessions: list[_Session] = []

    def accept() -> SMTP:
        session = _Session(
            sink,
            hostname="sink.example",
            authenticator=sink.check if password else None,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )
        sessions.append(session)
        return session

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        for session in sessions:
            session.line.abort()
            await session.gone.wait()
