"""The health endpoint: a minimal HTTP server that answers with a report of whether the worker makes progress."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from engine.errors import InvalidInput

_HEAD_LIMIT = 8192
_HEAD_TIMEOUT = 5.0
_PHRASES = {200: "OK", 400: "Bad Request", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Endpoint(Struct, frozen=True):
    """The address of the health endpoint."""

    host: str
    port: int


class Report(Struct, frozen=True, omit_defaults=True):
    """The state of a worker process. `status` is ok, draining, or failing with the reason."""

    status: str
    reason: str = ""
    queues: dict[str, dict[str, Any]] = {}
    processes: list[dict[str, Any]] = []

    @property
    def is_good(self) -> bool:
        return self.status != "failing"


class HealthServer:
    """Answers GET and HEAD of any path: 200 with the report while it is good, else 503."""

    def __init__(self, place: Endpoint, report: Callable[[], Report]) -> None:
        self._host, self._port = place.host, place.port
        self._report = report
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen, and return the URL; port 0 takes a free one. Raises InvalidInput if it cannot."""
        try:
            self._server = await asyncio.start_server(self._answer, self._host, self._port, limit=_HEAD_LIMIT)
        except OSError as error:
            raise InvalidInput(
                f"--health {self._host}:{self._port}: {error.strerror or error}; choose another port or address"
            ) from None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening; open requests are dropped."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                writer.write(await self._reply(reader))
                await writer.drain()
        finally:
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(_HEAD_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(400, b"")
        method = head.split(b" ", 1)[0]
        if method not in (b"GET", b"HEAD"):
            return _response(405, b"")
        report = self._report()
        return _response(200 if report.is_good else 503, msgspec.json.encode(report), with_body=method == b"GET")


def _response(code: int, body: bytes, *, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {code} {_PHRASES[code]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
