"""The socket between a worker process and its parent: it carries health reports, and its end says that the other is gone.

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

_ROOT = Path(__file__).parents[3]  # where the package `engine` is
_INTERVAL = 1.0  # seconds between two reports
_IMPATIENT = 0.1  # between reports that are not good
SILENCE = 5.0
"""Seconds after which a child that has not reported counts as stuck."""

_decode = msgspec.json.Decoder(Report).decode
_UNHEARD = Report(status="failing", reason="starting")


def python_module(name: str) -> list[str]:
    """The command that runs a module of this installation, also in a folder with an `engine.py` of the user's own."""
    # -P leaves the current folder out of the path, unless it is where this package was found.
    return [sys.executable, *([] if Path.cwd() == _ROOT else ["-P"]), "-m", name]


class Lifeline:
    """The child's end: a thread that reports each second, and sends this process SIGTERM when the parent is gone.

    A thread, so that it works while the event loop is blocked, and reports that.
    """

    def __init__(self, descriptor: int, report: Callable[[], Report]) -> None:
        os.set_inheritable(descriptor, False)  # else a grandchild would keep the socket open after this process
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
        """Report, then wait a second for the end of the socket. Raises OSError if it is broken."""
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
        cls,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        output: Path | None = None,
    ) -> WorkerProcess:
        """Start a worker process with these arguments. `folder`: where, if not here; `output`: a file for what it prints."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [*python_module("engine.worker"), *arguments, "--supervised", str(theirs.fileno())]
        with theirs, contextlib.ExitStack() as files:
            target = None if output is None else files.enter_context(output.open("ab"))
            # In a session of its own: a Ctrl-C would reach it beside our signal, and the second signal cuts jobs off.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=target,
                cwd=folder,
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

    @property
    def has_come_up(self) -> bool:
        """Whether it has ever reported that it works."""
        return self._came_up.is_set()

    async def came_up(self) -> bool:
        """Wait until it works or has ended; True if it works."""
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
        """Its last report, or that it has ended or not reported for 5 s."""
        silence = time.monotonic() - self._heard
        if self._process.returncode is not None:
            return Report(status="failing", reason="ended")
        if silence > SILENCE:
            return Report(status="failing", reason=f"has not reported for {silence:.0f} s")
        return self.report

    async def _listen(self, line: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=line)
        try:
            while report := await reader.readline():
                self._hear(report)
        except (OSError, ValueError):
            pass  # gone, or not a report: `current` then says that it does not report
        finally:
            writer.close()

    def _hear(self, report: bytes) -> None:
        self.report = _decode(report)
        self._heard = time.monotonic()
        if self.report.is_good:
            self._came_up.set()
