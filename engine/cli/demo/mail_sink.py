"""An SMTP server that writes each mail into a file. Knows neither jobs nor the demo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any


@asynccontextmanager
async def mail_sink(folder: Path) -> AsyncIterator[int]:
    """An SMTP server on this event loop that writes each mail into a file; its port."""
    from aiosmtpd.smtp import SMTP

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(_Sink(folder), loop=loop, hostname="localhost"), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class _Sink:
    """Handler of aiosmtpd: writes each mail into a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        to = "-".join(address.replace("@", "-at-").replace("/", "-") for address in envelope.rcpt_tos)
        number = 1 + sum(1 for _ in self._folder.iterdir())
        (self._folder / f"{number:02}-{to[:100]}.eml").write_bytes(envelope.content)
        return "250 kept"
