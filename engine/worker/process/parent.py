"""The line between a worker process and the parent that keeps it: reports go up, and its end tells that one is gone.

Knows reports and processes; knows neither jobs nor Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from engine.worker.process.health import Report

_INTERVAL = 1.0  # seconds between two reports
_IMPATIENT = 0.1  # between those that are not good: somebody waits for better news
SILENCE = 5.0
"""Seconds after which a child that has not reported counts as stuck."""

_decode = msgspec.json.Decoder(Report).decode
_UNHEARD = Report(status="failing", reason="starting")


class Lifeline:
    """The child's end: a thread that reports each second, and sends this process SIGTERM when the parent is gone.

    A thread, because an event loop that is blocked must neither keep the process alive nor look well.
    """

    def __init__(self, descriptor: int, report: Callable[[], Report]) -> None:
        os.set_inheritable(descriptor, False)  # else a grandchild would hold the line when this process is gone
        self._line = socket.socket(fileno=descriptor)
        self._report = report

    def start(self) -> None:
        threading.Thread(target=self._run, name="lifeline", daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while self._is_held():
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    def _is_held(self) -> bool:
        """Report, then wait a second for the end of the line. Raises OSError if it has broken."""
        report = self._report()
        self._line.settimeout(_INTERVAL if report.is_good else _IMPATIENT)
        with contextlib.suppress(TimeoutError):
            self._line.sendall(msgspec.json.encode(report) + b"\n")
        try:
            return self._line.recv(64) != b""
        except TimeoutError:
            return True


class WorkerProcess:
    """The parent's end, and the worker process behind it. Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self.began = time.monotonic()
        self.report = _UNHEARD
        self._heard = self.began
        self._came_up = asyncio.Event()
        self._process = process
        self._listener = asyncio.create_task(self._listen(line))

    @classmethod
    async def start(
        cls, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, output: Path | None = None
    ) -> WorkerProcess:
        """Start `python -m engine.worker` with these arguments. `output`, a file, takes what it prints."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [sys.executable, "-m", "engine.worker", *arguments, "--supervised", str(theirs.fileno())]
        with theirs, contextlib.ExitStack() as files:
            target = None if output is None else files.enter_context(output.open("ab"))
            # In a session of its own, where a Ctrl-C does not reach it: it would get that and our signal, which is two.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=target,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=env,
            )
        return cls(process, ours)

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.pid}: {self.current().status}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    async def came_up(self) -> bool:
        """Wait until it works or has ended; whether it works."""
        up = asyncio.create_task(self._came_up.wait())
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait((up, ended), return_when=asyncio.FIRST_COMPLETED)
            return self._came_up.is_set() and not ended.done()
        finally:
            up.cancel()
            ended.cancel()

    async def wait(self) -> int:
        """Wait until it has ended; its exit code, negative if a signal ended it."""
        code = await self._process.wait()
        self._listener.cancel()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def current(self) -> Report:
        """What it last said, or that it has gone silent."""
        silence = time.monotonic() - self._heard
        if self._process.returncode is not None:
            return Report(status="failing", reason="ended")
        if silence > SILENCE:
            return Report(status="failing", reason=f"has not reported for {silence:.0f} s")
        return self.report

    async def _listen(self, line: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=line)
        try:
            while said := await reader.readline():
                self._hear(said)
        except (OSError, ValueError):
            pass  # it is gone, or talks nonsense: in the end its silence will be seen
        finally:
            writer.close()

    def _hear(self, said: bytes) -> None:
        self.report = _decode(said)
        self._heard = time.monotonic()
        if self.report.is_good:
            self._came_up.set()
