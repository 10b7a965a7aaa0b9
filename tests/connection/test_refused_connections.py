"""Servers that close a connection before any command: protected mode, maxclients reached."""

from __future__ import annotations

import asyncio

import pytest

from engine.connection.embedded import EmbeddedServer
from engine.errors import ConnectFailed
from tests.connection.conftest import OpenLink

_DENIED = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set.\r\n"


async def test_a_full_server_is_named_as_full(opened: OpenLink, server: EmbeddedServer) -> None:
    admin = await opened(server.url)
    await admin.call("CONFIG", "SET", "maxclients", 1)
    try:
        with pytest.raises(ConnectFailed, match=r"has reached its maxclients; raise maxclients"):
            await opened(server.url)
    finally:
        await admin.call("CONFIG", "SET", "maxclients", 10_000)


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after the greeting"])
async def test_protected_mode_is_named_with_its_remedy(opened: OpenLink, waits: bool) -> None:
    # By a server of ours: a real one refuses only what comes from another machine.
    async def deny(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if waits:
            await reader.readuntil(b"PING\r\n")
        writer.write(_DENIED)
        await writer.drain()
        writer.write_eof()
        await reader.read()  # what was sent meanwhile: unread, it would reset the connection
        writer.close()

    async with await asyncio.start_server(deny, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed, match=r"in protected mode.*requirepass.*protected-mode no"):
            await opened(f"redis://127.0.0.1:{port}")
