"""A child process that runs jobs, one at a time, and the messages between it and its worker. It has no Redis connection.

Over one socket, each message after its length: the worker says Hello once and Ask for each job; the child says Say
while it runs (answered by Answer), and Done or Raised at its end. The worker names functions, a payload never does.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import inspect
import os
import queue
import runpy
import signal
import socket
import sys
import threading
from typing import Any, Literal, NoReturn

import msgspec
from msgspec import Struct

from engine.connection import Waiter
from engine.errors import CorralError, InvalidOption, LockLost, RateLimited, Retry, Snooze, WaitForChildren
from engine.job import Job, claimed_job
from engine.model import codec, error_text
from engine.model.clock import duration_ms
from engine.model.flow_rows import FlowJob
from engine.model.keys import Keys
from engine.model.limits import limited_outcome
from engine.model.options import read_options
from engine.model.records import Claimed, Delayed, Limited
from engine.processor import Processor

LENGTH = 4
"""Bytes of a message's length, big end first."""


class Hello(Struct, tag=True):
    path: list[str]
    """sys.path of the worker."""
    main: str | None
    """The file of the worker's `__main__`, if a processor is defined there."""


class Ask(Struct, tag=True):
    module: str
    qualname: str
    queue: str
    prefix: str
    job: Claimed


class Answer(Struct, tag=True):
    value: int = 0
    error: str | None = None
    lost: bool = False


class Say(Struct, tag=True):
    what: Literal["progress", "log", "data", "heartbeat"]
    value: bytes


class Done(Struct, tag=True):
    value: bytes


class Raised(Struct, tag=True):
    message: str
    name: str
    trace: str
    final: bool = False
    """No retry would help, or the processor allows none."""
    retry: bool = False
    """The processor asked for another run, after `delay` ms or the job's own backoff."""
    delay: int | None = None
    snooze: bool = False
    """That run is to use no attempt."""
    limited: bool = False
    """A rate limit was met: the queue is to be paused for `delay` ms."""
    waits: bool = False
    """The job is to wait for its children."""


ToChild = Hello | Ask | Answer
ToWorker = Say | Done | Raised

_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
from_child: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)


def frame(message: ToChild | ToWorker) -> bytes:
    encoded = msgspec.msgpack.encode(message)
    return len(encoded).to_bytes(LENGTH, "big") + encoded


def resolve(module: str, qualname: str) -> Any:
    """The object of that name in a module. Raises AttributeError or ImportError."""
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def main(descriptor: int) -> NoReturn:
    """Serve the worker at the other end of a socket until it is gone."""
    # Ctrl-C reaches the whole terminal; when to end is the worker's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    line = _Line(socket.socket(fileno=descriptor))
    hello = line.next()
    assert isinstance(hello, Hello)
    sys.path[:] = hello.path
    if hello.main is not None:
        module = type(sys)("__main__")
        module.__dict__.update(runpy.run_path(hello.main, run_name="__corral_child__"))
        sys.modules["__main__"] = module
    with asyncio.Runner() as runner:
        while True:
            ask = line.next()
            assert isinstance(ask, Ask)
            line.send(_run(ask, line, runner))


def _die_with_parent() -> None:
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


class _Line:
    """The socket to the worker. A thread reads it, so that the worker's death is seen while a job runs."""

    def __init__(self, line: socket.socket) -> None:
        self._socket = line
        self._received: queue.SimpleQueue[ToChild] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="worker's line", daemon=True).start()

    def next(self) -> ToChild:
        return self._received.get()

    def send(self, message: ToWorker) -> None:
        self._socket.sendall(frame(message))

    def ask(self, what: Literal["progress", "log", "data", "heartbeat"], value: bytes, job_id: str) -> int:
        self.send(Say(what, value))
        answer = self.next()
        assert isinstance(answer, Answer)
        if answer.lost:
            raise LockLost(job_id)
        if answer.error is not None:
            raise CorralError(answer.error)
        return answer.value

    def _read(self) -> None:
        with self._socket.makefile("rb") as stream:
            while len(head := stream.read(LENGTH)) == LENGTH:
                self._received.put(_to_child.decode(stream.read(int.from_bytes(head, "big"))))
        os._exit(1)


class ChildJob(Job[Any, Any]):
    """A `Job` in a child process. Its methods send to the worker and block until Redis has confirmed."""

    __slots__ = ("_line",)

    _line: _Line

    def update_progress(self, value: Any) -> None:  # type: ignore[override]
        self._line.ask("progress", codec.encode("progress", value), self.id)
        self.progress = value

    def log(self, row: str) -> int:  # type: ignore[override]
        return self._line.ask("log", row.encode(errors="replace"), self.id)

    def heartbeat(self) -> None:
        self._line.ask("heartbeat", b"", self.id)

    def update_data(self, data: Any) -> None:  # type: ignore[override]
        self._line.ask("data", codec.encode("data", data), self.id)
        self.data = data

    def add_child(self, child: FlowJob) -> None:
        raise _no_link()


def _run(ask: Ask, line: _Line, runner: asyncio.Runner) -> Done | Raised:
    processor: Processor[Any, Any] | None = None
    try:
        found = resolve(ask.module, ask.qualname)
        processor = found if isinstance(found, Processor) else Processor(found)
        result = processor.function(_job(ask, line, processor))
        if inspect.iscoroutine(result):
            result = runner.run(result)
        if isinstance(result, (Retry, RateLimited)):
            return _raised(result, processor, ask.job)
        return Done(codec.encode("result", result))
    except BaseException as error:
        return _raised(error, processor, ask.job)


def _job(ask: Ask, line: _Line, processor: Processor[Any, Any]) -> ChildJob:
    keys = Keys(ask.queue, ask.prefix)
    data = processor.decode(ask.job.data)
    whole = claimed_job(_NoLink(), keys, ask.job, data, read_options(ask.job.opts))
    job = ChildJob.__new__(ChildJob)
    for name in Job.__slots__:
        setattr(job, name, getattr(whole, name))
    job._line = line
    return job


class _NoLink:
    """The link of a job in a child process: every call raises."""

    async def call(self, *command: Any) -> Any:
        raise _no_link()

    def post(self, waiter: Waiter, *command: Any) -> None:
        waiter.set_exception(_no_link())

    async def call_many(self, commands: Any) -> list[Any]:
        return [await self.call()]

    async def close(self) -> None:
        pass


def _no_link() -> CorralError:
    return CorralError("a job in a child process can report progress, log and update its data; ask the queue elsewhere")


def _raised(error: BaseException, processor: Processor[Any, Any] | None, job: Claimed) -> Raised:
    if isinstance(error, RateLimited):
        try:
            match limited_outcome(error):
                case Limited(ms):
                    return Raised(error.reason, "", "", delay=ms, limited=True)
                case Delayed(ms):
                    return Raised(error.reason, "", "", delay=ms, snooze=True)
        except InvalidOption as problem:
            error = problem
    message = error_text.message(error)
    try:
        final = processor is None or processor.gives_up(error, job.attempts_made + 1)
    except Exception as problem:
        message, final = f"{message} (no retry: {problem})", True
    retry = isinstance(error, Retry)
    delay = error.delay if isinstance(error, Retry) else None
    try:
        wait = None if delay is None else duration_ms("Retry.delay", delay)
    except ValueError as problem:
        return Raised(str(problem), type(problem).__name__, "", final=True)
    trace, snooze = error_text.trace(error), isinstance(error, Snooze)
    waits = isinstance(error, WaitForChildren)
    return Raised(message, error_text.error_name(error), trace, final, retry, wait, snooze, waits=waits)
