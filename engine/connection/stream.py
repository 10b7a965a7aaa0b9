"""One connected socket: writes commands, reads replies, gives each reply to its waiter, enforces reply deadlines.

Knows neither addresses nor reconnecting. `_lose` fails every waiter when the socket is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

from engine.connection.link import Argument, Reply, Waiter
from engine.errors import InvalidData, OutcomeUnknown, ServerBusy, ServerError

BUSY = frozenset(
    ("LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "OOM")
)
MOVED_AWAY = frozenset(("READONLY", "MASTERDOWN"))
"""Replies of a server that is no longer the primary. After a failover its name may lead to another server."""

# hiredis' own annotations are narrower than what it takes.
pack_tuple: Callable[[tuple[Argument, ...]], bytes] = cast(Any, hiredis.pack_command)

HIGH_WATER = 4096
"""Commands in flight before further ones wait. It bounds the replies that the server buffers for us."""
_WRITE_BUFFER = 1 << 20
_READ_BUFFER = 1 << 17


class ReplyBatch:
    """A waiter for several commands: its future gets the list of their replies."""

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
    """A command's bytes on the wire. Raises InvalidData, naming the argument that is of no type that Redis takes."""
    try:
        return pack_tuple(tuple(command))
    except (TypeError, UnicodeEncodeError):
        raise misfit(command) from None


def error_reply(message: str) -> ServerError:
    """The exception for an error reply, chosen by the first word of its message."""
    return ServerBusy(message) if message.partition(" ")[0] in BUSY else ServerError(message)


class Stream(asyncio.BufferedProtocol):
    """A connected socket.

    on_lost: called once, with the reason, when the socket is lost or dropped. on_room: called when commands may be written again.
    slack: seconds by which a reply's deadline moves at most while other replies arrive, at least one in `silence` seconds: the
    server is slow, not hung.

    Never pass a command to `write` twice: it may have been carried out.
    """

    def __init__(
        self,
        on_lost: Callable[[Stream, str], None],
        on_room: Callable[[], None],
        *,
        silence: float = 0.0,
        slack: float = 0.0,
    ) -> None:
        self._on_lost = on_lost
        self._on_room = on_room
        self._silence = silence
        self._slack = slack
        self._last_reply = 0.0
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
        self.lost_reason = ""
        """Why the socket was lost; empty while it is connected."""
        self.refused: ServerError | None = None
        """The error with which the server refused the connection before any command."""
        self._wants_room = False
        self.write_paused = False
        """The socket's write buffer is full: the server reads more slowly than we write."""
        self.draining = False
        """No more commands are accepted; the socket is dropped after the last reply."""
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.writes = 0

    @property
    def in_flight(self) -> int:
        """Number of commands written that have no reply yet."""
        return self._written - self._answered

    @property
    def room(self) -> int:
        """How many more commands may be written now."""
        if self.write_paused or self.draining or self._transport is None:
            return 0
        return max(0, HIGH_WATER - self.in_flight)

    def write(self, chunks: list[bytes], waiters: Sequence[Waiter], count: int, patience: float) -> None:
        """Write commands; replies go to the waiters in order. Drops the socket if they take longer than `patience` seconds."""
        if self._transport is None or self.lost_reason:
            raise RuntimeError(f"write to a socket that is not connected ({self.lost_reason})")
        self._waiters.extend(waiters)
        self._written += count
        deadline = self._loop.time() + patience
        self._deadlines.append((self._written, deadline))
        if self._timer is None or self._timer.when() > deadline:
            self._arm(deadline)
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.writes += 1
        self._transport.write(data)

    def call_when_room(self) -> None:
        """Call `on_room` once there is room again."""
        self._wants_room = True

    def drop(self, reason: str) -> None:
        """Close the socket now; calls that wait for a reply raise OutcomeUnknown."""
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
                    self.draining = True
                if waiter.__class__ is ReplyBatch:
                    waiter.set_result(reply)
                    if not waiter.missing:
                        waiters.popleft()
                    continue
                waiters.popleft()
                # A cancelled waiter kept its place in the order; its reply is dropped.
                if waiter.done():
                    continue
                if isinstance(reply, ServerError):
                    waiter.set_exception(reply)
                else:
                    waiter.set_result(reply)
        except (hiredis.HiredisError, IndexError) as error:
            # Unreadable bytes, or a reply without a waiter: every later reply would go to the wrong waiter.
            self._answered += answered
            if isinstance(error, IndexError) and isinstance(reply, ServerError):
                self.refused = reply
                self.drop(f"the server replied {reply}")
            else:
                self.drop(f"the server sent bytes that are not a Redis reply ({error})")
            return
        self._answered += answered
        self._after_replies()

    def eof_received(self) -> bool:
        self._lose("the server closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"the connection broke ({exc})" if exc else "the connection was closed")
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self._report_room()

    # --------------------------------------------------------------------------------------------------------------

    def _after_replies(self) -> None:
        answered, deadlines = self._answered, self._deadlines
        if self._slack:
            self._last_reply = self._loop.time()
        while deadlines and deadlines[0][0] <= answered:
            deadlines.popleft()
        if self.draining and not self.in_flight:
            self.drop("the server is no longer the primary")
        elif self._wants_room:
            self._report_room()

    def _report_room(self) -> None:
        # Only when half empty, so that writing does not stop and start at every command.
        if self._wants_room and self.room >= HIGH_WATER // 2:
            self._wants_room = False
            self._on_room()

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
            deadline = max(deadline, min(deadline + self._slack, self._last_reply + self._silence))
        if self._loop.time() >= deadline:
            self.drop("no reply came within the timeout")
        else:
            self._arm(deadline)

    def _lose(self, reason: str) -> None:
        """Mark the socket as lost and fail its waiters. Only the first call has an effect."""
        if self.lost_reason:
            return
        self.lost_reason = reason
        self.draining = True
        if self._timer is not None:
            self._timer.cancel()
        waiters = list(self._waiters)
        self._waiters.clear()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(OutcomeUnknown(f"{reason}; the command was sent and may have been carried out"))
        self._on_lost(self, reason)


def misfit(command: Sequence[Argument]) -> InvalidData:
    """The error for a command with an argument of a type that Redis does not take."""
    for place, argument in enumerate(command):
        try:
            pack_tuple((argument,))
        except (TypeError, UnicodeEncodeError) as error:
            kind = type(argument).__name__
            what = f"argument {place} is {kind} ({error})"
            return InvalidData(f"{command[0]!r}: {what}; give bytes, str, int, float or memoryview")
    return InvalidData(f"{command!r} is not a command; give its name and arguments")
