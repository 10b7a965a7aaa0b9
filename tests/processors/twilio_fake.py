"""A small server with the Messages resource of Twilio's REST API. test_sms.py checks it with the official SDK."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

ACCOUNT, TOKEN, NUMBER = "AC" + "0" * 32, "token", "+15005550006"
INVALID = "+15005550001"
"""Twilio's own magic number for an invalid receiver."""


class TwilioFake:
    """`sent` are the forms that were taken; `trouble` is a status that is answered in place of taking one."""

    def __init__(self) -> None:
        self.url = ""
        self.sent: list[dict[str, str]] = []
        self.trouble: int | None = None
        self.lines = 0

    async def messages(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if request.headers.get("Authorization") != _basic():
            return _problem(401, 20003, "Authenticate")
        if self.trouble is not None:
            return _problem(self.trouble, 20429, "Too Many Requests")
        if form["To"] == INVALID:
            return _problem(400, 21211, f"Invalid 'To' Phone Number: {INVALID}")
        self.sent.append(form)
        message = {"sid": f"SM{len(self.sent):032}", "status": "queued", "to": form["To"], "body": form["Body"]}
        return web.json_response(message, status=201)


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()


def _problem(status: int, code: int, message: str) -> web.Response:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return web.json_response({"code": code, "message": message, "more_info": more, "status": status}, status=status)


@asynccontextmanager
async def twilio_fake() -> AsyncIterator[TwilioFake]:
    """A running fake; it stops with the block."""
    fake = TwilioFake()
    app = web.Application()
    app.router.add_post(f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json", fake.messages)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
