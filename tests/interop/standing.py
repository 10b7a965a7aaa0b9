"""Node processes shared by several tests: starting one takes longer than most tests.

Between two tests a process closes all objects that it has, and tells nothing of them any more. One that does not manage that, or
that a test has killed, is replaced.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
from typing import IO, Any, cast

from tests.interop.side import NodeSide

_RESET = 5.0
"""Seconds that Node has to close its objects."""


class _Pipe:
    """Writes all of it: one write to a raw pipe may end early, when a signal comes, and an order cut off is never answered."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        self._pipe = pipe

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._pipe.write(left) :]


class _Standing:
    """What NodeSide uses of a process, of one that outlives the event loops which talk to it."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=os.environ | env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.stdin = _Pipe(self._process.stdin)
        self.stdout = asyncio.StreamReader()
        self._transport: asyncio.BaseTransport | None = None

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    async def attach(self) -> None:
        """Let the running loop read what it tells."""
        assert self._process.stdout is not None
        self.stdout = reader = asyncio.StreamReader(limit=2**24)
        pipe = os.fdopen(os.dup(self._process.stdout.fileno()), "rb", buffering=0)
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )

    def detach(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> None:
        self._process.wait()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


_idle: dict[tuple[str, str], _Standing] = {}
"""By BullMQ's version and the server's URL."""


@atexit.register
def _end_all() -> None:
    for process in _idle.values():
        process.end()


class StandingNodeSide(NodeSide):
    """A NodeSide on a process that may have served other tests."""

    async def __aenter__(self) -> NodeSide:
        standing = _idle.pop((self.version, self._url), None)
        if standing is None or standing.returncode is not None:
            standing = _Standing(*self._program())
        await standing.attach()
        self._process = cast(Any, standing)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        standing = cast(_Standing, self._process)
        is_fit = standing.returncode is None and await self._reset()
        standing.detach()
        assert self._reader is not None
        await self._reader
        if is_fit:
            _idle[self.version, self._url] = standing
        else:
            standing.end()

    async def _reset(self) -> bool:
        try:
            async with asyncio.timeout(_RESET):
                await self._ask(reset=True)
        except TimeoutError:
            return False
        return True
