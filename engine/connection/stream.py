"""One connection's life, from connected to lost: commands out, replies in, each reply to its waiter.

Knows neither addresses nor reconnecting; what a lost line means for those who wait is said in one place, `_lose`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

from engine.connection.port import Argument, Reply, Waiter
from engine.errors import InvalidData, OutcomeUnknown, ServerBusy, ServerError

BUSY = frozenset(
    ("LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "OOM")
)
MOVED_AWAY = frozenset(("READONLY", "MASTERDOWN"))
"""What a server says that is no longer the one to write to: behind its name another may answer by now."""

# hiredis' own annotations are narrower than what it takes.
pack_tuple: Callable[[tuple[Argument, ...]], bytes] = cast(Any, hiredis.pack_command)

HIGH_WATER = 4096
"""Replies awaited at once before further commands are kept back; it bounds what the server buffers for us."""
_WRITE_BUFFER = 1 << 20
_READ_BUFFER = 1 << 17


class Batch:
    """The replies of several commands, gathered for one waiter."""

    __slots__ = ("future", "missing", "replies")

    def __init__(self, future: asyncio.Future[Any], count: int) -> None:
        self.future = future
        self.missing = count
        self.replies: list[Reply] = []

    def done(self) -> bool:
        return self.future.done()

    def set_result(self, reply: Reply) -> None:
        self.replies.append(reply)
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result(self.replies)

    def set_exception(self, error: Exception) -> None:
        self.future.set_exception(error)


def pack(command: Sequence[Argument]) -> bytes:
    """The bytes of a command. Raises InvalidData, naming the argument, for what Redis has no form for."""
    try:
        return pack_tuple(tuple(command))
    except (TypeError, UnicodeEncodeError):
        raise misfit(command) from None


def error_reply(message: str) -> ServerError:
    """The exception of an error reply; its first word decides."""
    return ServerBusy(message) if message.partition(" ")[0] in BUSY else ServerError(message)


class Line(asyncio.BufferedProtocol):
    """A connected line. `lost` is called once, with the reason, when it is over; `roomy` when it takes commands again.

    slack: seconds by which a deadline moves at most while other replies come, at least one in `silence` seconds: the server is
    slow, not hung.

    What is sent within one tick of the loop leaves in one write. Only `in_flight` commands were written: what the
    caller hands to `write` is on its way, and is never handed over again.
    """

    def __init__(
        self, lost: Callable[[Line, str], None], roomy: Callable[[], None], *, silence: float = 0.0, slack: float = 0.0
    ) -> None:
        self._lost = lost
        self._roomy = roomy
        self._silence = silence
        self._slack = slack
        self._heard = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader: Any = hiredis.Reader(replyError=error_reply)
        self._buffer = bytearray(_READ_BUFFER)
        self._view = memoryview(self._buffer)
        self._waiters: deque[Waiter] = deque()
        self._written = 0
        self._answered = 0
        # (commands written up to then, loop time by which the last of them has its reply), one for each write.
        self._deadlines: deque[tuple[int, float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.over = ""
        """Why the line is over; empty while it lives."""
        self.refused: ServerError | None = None
        """The error with which the server turned the line away before anything was asked."""
        self._held = False
        self.choked = False
        """The peer reads more slowly than we write."""
        self.leaving = False
        """No more commands; the line is dropped once the last reply is in."""
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self.writes = 0

    @property
    def in_flight(self) -> int:
        """Commands that were written and have no reply yet."""
        return self._written - self._answered

    @property
    def room(self) -> int:
        """How many more commands may be written now."""
        if self.choked or self.leaving or self._transport is None:
            return 0
        return max(0, HIGH_WATER - self.in_flight)

    def write(self, chunks: list[bytes], waiters: Sequence[Waiter], count: int, patience: float) -> None:
        """Write commands; replies go to the waiters in order. Without one in `patience` s the line is dropped."""
        if self._transport is None or self.over:
            raise RuntimeError(f"write on a line that is not up ({self.over})")
        self._waiters.extend(waiters)
        self._written += count
        deadline = self._loop.time() + patience
        self._deadlines.append((self._written, deadline))
        if self._timer is None or self._timer.when() > deadline:
            self._arm(deadline)
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.writes += 1
        self._transport.write(data)

    def hold(self) -> None:
        """Ask for `roomy` once there is room again."""
        self._held = True

    def drop(self, reason: str) -> None:
        """End the line now; those who wait for a reply get OutcomeUnknown."""
        self._lose(reason)
        if self._transport is not None:
            self._transport.abort()

    # -- what the loop calls ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        reader, waiters = self._reader, self._waiters
        answered = 0
        reply: Reply = None
        try:
            reader.feed(self._view, 0, nbytes)
            while (reply := reader.gets()) is not False:
                waiter = waiters[0]
                answered += 1
                if isinstance(reply, ServerError) and reply.code in MOVED_AWAY:
                    self.leaving = True
                if waiter.__class__ is Batch:
                    waiter.set_result(reply)
                    if not waiter.missing:
                        waiters.popleft()
                    continue
                waiters.popleft()
                # A cancelled waiter has kept its place until now; its reply is let fall.
                if waiter.done():
                    continue
                if isinstance(reply, ServerError):
                    waiter.set_exception(reply)
                else:
                    waiter.set_result(reply)
        except (hiredis.HiredisError, IndexError) as error:
            # A stream that cannot be read, or a reply nobody asked for: every later reply would go to the wrong waiter.
            self._answered += answered
            if isinstance(error, IndexError) and isinstance(reply, ServerError):
                self.refused = reply
                self.drop(f"the server said {reply}")
            else:
                self.drop(f"the server sent what is not a reply ({error})")
            return
        self._answered += answered
        self._after_replies()

    def eof_received(self) -> bool:
        self._lose("the server closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"the connection broke ({exc})" if exc else "the connection was closed")
        if not self.gone.done():
            self.gone.set_result(None)

    def pause_writing(self) -> None:
        self.choked = True

    def resume_writing(self) -> None:
        self.choked = False
        self._tell_room()

    # --------------------------------------------------------------------------------------------------------------

    def _after_replies(self) -> None:
        answered, deadlines = self._answered, self._deadlines
        if self._slack:
            self._heard = self._loop.time()
        while deadlines and deadlines[0][0] <= answered:
            deadlines.popleft()
        if self.leaving and not self.in_flight:
            self.drop("the server is not the one to write to any more")
        elif self._held:
            self._tell_room()

    def _tell_room(self) -> None:
        # Half empty before more is let in, so that the line does not stop and start for every single command.
        if self._held and self.room >= HIGH_WATER // 2:
            self._held = False
            self._roomy()

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if not self._deadlines:
            return
        deadline = self._deadlines[0][1]
        if self._slack:
            deadline = max(deadline, min(deadline + self._slack, self._heard + self._silence))
        if self._loop.time() >= deadline:
            self.drop("no reply came in time")
        else:
            self._arm(deadline)

    def _lose(self, reason: str) -> None:
        """The line is over, whoever noticed it first."""
        if self.over:
            return
        self.over = reason
        self.leaving = True
        if self._timer is not None:
            self._timer.cancel()
        waiters = list(self._waiters)
        self._waiters.clear()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(OutcomeUnknown(f"{reason}; the command was sent and may have been carried out"))
        self._lost(self, reason)


def misfit(command: Sequence[Argument]) -> InvalidData:
    """Which argument Redis has no form for."""
    for place, argument in enumerate(command):
        try:
            pack_tuple((argument,))
        except (TypeError, UnicodeEncodeError) as error:
            kind = type(argument).__name__
            what = f"argument {place} is {kind} ({error})"
            return InvalidData(f"{command[0]!r}: {what}; give bytes, str, int, float or memoryview")
    return InvalidData(f"{command!r} is not a command; give its name and arguments")
