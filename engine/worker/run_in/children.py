"""A pool of child processes for processors with run_in="process": the worker's side. What is said is in child.py."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.errors import CorralError, InvalidInput, LockLost, RateLimited, Retry, Snooze, WaitForChildren
from engine.job import Job
from engine.model import codec
from engine.model.keys import Keys
from engine.model.records import Claimed
from engine.processor import Processor
from engine.worker.error_text import ErrorElsewhere
from engine.worker.run_in.child import LENGTH, Answer, Ask, Done, Hello, Raised, Say, frame, from_child, resolve

RECYCLE_AFTER = 1_000
"""Jobs after which a child is replaced, lest what it leaks grows for ever."""


class ProcessDied(CorralError):
    """The child process that ran a job ended before the job did."""


class Children:
    """At most `size` processes, started when needed and kept. A job that has to wait for one has not started."""

    def __init__(self, size: int, recycle_after: int = RECYCLE_AFTER) -> None:
        self.size = size
        self._recycle_after = recycle_after
        self._free: list[_Child] = []
        self._all: set[_Child] = set()
        self._places = asyncio.Semaphore(size)

    def __repr__(self) -> str:
        return f"<Children {len(self._all) - len(self._free)} busy, {len(self._free)} free, {self.size} at most>"

    async def run(
        self,
        processor: Processor[Any, Any],
        claimed: Claimed,
        keys: Keys,
        job: Job[Any, Any],
        started: Callable[[], None],
    ) -> bytes:
        """The job's result as JSON. Raises ErrorElsewhere, Retry, RateLimited, or ProcessDied. Cancelling it kills the process."""
        module, qualname = reference(processor)
        async with self._places:
            child = await self._take()
            try:
                started()
                value = await child.run(Ask(module, qualname, keys.queue, keys.prefix, claimed), job)
            except (ErrorElsewhere, Retry, RateLimited, WaitForChildren):
                self._give_back(child)
                raise
            except BaseException:
                self._all.discard(child)
                child.kill()
                raise
            self._give_back(child)
            return value

    async def stop(self) -> None:
        """End every child, whatever it does."""
        children = list(self._all)
        self._free.clear()
        self._all.clear()
        for child in children:
            child.kill()
        await asyncio.gather(*(child.ended() for child in children))

    async def _take(self) -> _Child:
        while self._free:
            child = self._free.pop()
            if child.alive:
                return child
            self._all.discard(child)
            child.kill()
        child = await _Child.start()
        self._all.add(child)
        return child

    def _give_back(self, child: _Child) -> None:
        if child.jobs < self._recycle_after and child in self._all:
            self._free.append(child)
        else:
            self._all.discard(child)
            child.kill()


class _Child:
    """One child process and the socket to it."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.jobs = 0
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            # Takes about a millisecond; asyncio's own way needs a child watcher, and no pipe but the socket is wanted.
            process = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-c", _program(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(frame(Hello([path for path in sys.path if isinstance(path, str)], _main_file())))
        return cls(process, reader, writer)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def run(self, ask: Ask, job: Job[Any, Any]) -> bytes:
        self.jobs += 1
        try:
            self._writer.write(frame(ask))
            while True:
                match await self._next():
                    case Done(value=value):
                        return value
                    case Raised() as raised if raised.snooze and raised.delay is not None:
                        raise Snooze(raised.delay, raised.said)
                    case Raised(limited=True) as raised:
                        raise RateLimited(raised.delay or 0, raised.said)
                    case Raised(waits=True):
                        raise WaitForChildren()
                    case Raised() as raised if raised.retry:
                        raise Retry(raised.delay, raised.said)
                    case Raised() as raised:
                        raise ErrorElsewhere(raised.said, raised.name, raised.trace, raised.final)
                    case Say() as said:
                        self._writer.write(frame(await _carry_out(said, job)))
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self.ended()
            raise ProcessDied(f"the process running the job died ({_ending(code)})") from None

    async def _next(self) -> Done | Raised | Say:
        head = await self._reader.readexactly(LENGTH)
        return from_child.decode(await self._reader.readexactly(int.from_bytes(head, "big")))

    def kill(self) -> None:
        self._writer.transport.abort()
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            # Reaped in a thread of its own, so that nobody waits and nothing stays behind.
            asyncio.get_running_loop().run_in_executor(None, self._process.wait)

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        return await asyncio.get_running_loop().run_in_executor(None, self._process.wait)


def reference(processor: Processor[Any, Any]) -> tuple[str, str]:
    """Module and name by which a child finds the processor. Raises InvalidInput where it could not."""
    function = processor.function
    module, qualname = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    try:
        found = resolve(module, qualname)
    except (AttributeError, ImportError, ValueError):
        found = None
    if found is not function and not (isinstance(found, Processor) and found.function is function):
        raise InvalidInput(
            f"run_in: {processor!r} runs in a child process, which finds it by name: define it at the top of a module"
        )
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return (spec.name if module == "__main__" and spec is not None else module), qualname


def _main_file() -> str | None:
    """The file of `__main__`, where it cannot be imported by a name of its own."""
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:
        return None
    file = getattr(main, "__file__", None)
    return os.path.abspath(file) if file and os.path.exists(file) else None


def _program(descriptor: int) -> str:
    path = [entry for entry in sys.path if isinstance(entry, str)]
    # The package first, by its own place: the path may begin with a folder that has an engine.py of the user's.
    root = str(Path(__file__).parents[3])
    return (
        f"import sys; sys.path[:] = [{root!r}, *{path!r}]; import engine; sys.path[:] = {path!r}; "
        f"from engine.worker.run_in.child import main; main({descriptor})"
    )


async def _carry_out(said: Say, job: Job[Any, Any]) -> Answer:
    try:
        if said.what == "heartbeat":
            job.heartbeat()
            return Answer()
        if said.what == "log":
            return Answer(await job.log(said.value.decode()))
        value = codec.decode(said.what, said.value)
        await (job.update_progress(value) if said.what == "progress" else job.update_data(value))
        return Answer()
    except LockLost as error:
        return Answer(error=str(error), lost=True)
    except Exception as error:
        return Answer(error=f"{type(error).__name__}: {error}")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
