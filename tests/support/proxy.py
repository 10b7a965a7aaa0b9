"""A TCP proxy that breaks lines on purpose: latency, cuts, lost replies, black holes, resets, and TLS in front.

Knows bytes only. Faults are attributes and hold from the moment they are set, on lines that are up as on later ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Proxy:
    """`async with Proxy(host, port) as proxy:` listens on a loopback port, `proxy.port`, and passes everything on.

    latency         seconds before each piece is passed on, in either direction
    drop_replies    the server's bytes are read and thrown away
    hold_requests   the client's bytes are not read: a black hole towards the server
    hold_replies    the server's bytes are not read: a black hole towards the client
    refuse          new lines are closed at once
    cut_after       cut every line by a reset once that many bytes of requests have been passed on in all
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._target = (host, port)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._lines: set[_ProxiedLine] = set()
        self.port = 0
        self.latency = 0.0
        self.drop_replies = False
        self.hold_requests = False
        self.hold_replies = False
        self.refuse = False
        self.cut_after: int | None = None
        self.accepted = 0
        self.requests = bytearray()
        """Every byte that clients sent and the server was given."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self.reset()

    async def reset(self) -> None:
        """Cut every line with a reset, as a crashed host or a firewall does."""
        lines = list(self._lines)
        for line in lines:
            line.reset()
        for line in lines:
            await line.over.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refuse:
            writer.transport.abort()
            return
        line = _ProxiedLine(self, reader, writer)
        self._lines.add(line)
        try:
            await line.run(*self._target)
        finally:
            # Here, so that whoever waits for the end of a line hears of it even if ending it failed.
            line.over.set()
            self._lines.discard(line)


class _ProxiedLine:
    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._cut = asyncio.Event()
        self.over = asyncio.Event()

    def reset(self) -> None:
        self._cut.set()

    async def run(self, host: str, port: int) -> None:
        writers = [self._client[1]]
        try:
            server = await asyncio.open_connection(host, port)
            writers.append(server[1])
            await self._pass_until_cut(server)
        except OSError:
            pass
        finally:
            await _abort(writers)

    async def _pass_until_cut(self, server: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        tasks = [
            asyncio.create_task(self._requests(self._client[0], server[1])),
            asyncio.create_task(self._replies(server[0], self._client[1])),
            asyncio.create_task(self._cut.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy = self._proxy
        while data := await reader.read(65536):
            await self._wait_while(lambda: proxy.hold_requests)
            if proxy.cut_after is not None:
                data = data[: max(0, proxy.cut_after - len(proxy.requests))]
            proxy.requests += data
            writer.write(data)
            await writer.drain()
            if proxy.cut_after is not None and len(proxy.requests) >= proxy.cut_after:
                return

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy = self._proxy
        while data := await reader.read(65536):
            await self._wait_while(lambda: proxy.hold_replies)
            if not proxy.drop_replies:
                writer.write(data)
                await writer.drain()

    async def _wait_while(self, held: Callable[[], bool]) -> None:
        if self._proxy.latency:
            await asyncio.sleep(self._proxy.latency)
        # The faults are plain attributes, so that a test sets them at will; hence looked at, not waited for.
        while held():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def _abort(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        # None once uvloop has closed it, which the peer may have brought about first.
        sock = writer.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                # Linger of zero seconds: the close is a reset.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    for writer in writers:
        with contextlib.suppress(OSError):
            await writer.wait_closed()
