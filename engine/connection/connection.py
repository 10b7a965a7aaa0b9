"""Our own connection to Redis: multiplexed over one socket, reconnects by itself.

Decides when to write, which commands wait, and when to reconnect. `stream` has the bytes, `dial` the sockets, `login` the
handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import structs

from engine.connection.address import RedisSettings
from engine.connection.dial import Resolver, dial, resolve, tls_context
from engine.connection.link import Argument, Reply, Waiter
from engine.connection.login import greeting, refusal, turned_away
from engine.connection.retries import PRODUCER_DELAY, backoff, keep_trying, send_again, silence
from engine.connection.stream import ReplyBatch, Stream, misfit, pack, pack_tuple
from engine.errors import ConnectFailed, InvalidOption, LinkClosed, OutcomeUnknown, ServerBusy, ServerError

BLOCKING_GRACE = 5.0
"""Seconds that a blocking command may answer after its own timeout before the connection counts as dead."""

Hook = Callable[[], None]


class _Unsent:
    """A command that waits for a connection, or for room on it."""

    __slots__ = ("count", "data", "ends", "waiter")

    def __init__(self, data: bytes, waiter: Waiter, ends: float) -> None:
        self.data = data
        self.waiter = waiter
        self.count = waiter.missing if isinstance(waiter, ReplyBatch) else 1
        self.ends = ends


class Connection:
    """A Link over one multiplexed connection.

    States, as `repr` shows them: *new* before `connect`; *connected*; *reconnecting* after a loss: calls wait for the
    connection up to `call_timeout` and then raise ConnectFailed; *closed*: calls raise LinkClosed.

    call_wait: for a producer, see ProducerLink. Seconds, instead of `call_timeout`, that a call waits for a connection or for a
    server that refuses it. Without any reply for so long, and for at least LEAST_SILENCE, the server counts as hung.

    on_connect, on_disconnect: functions that the event loop calls soon after each change. prelude: commands sent at each
    connect before any other; their errors are ignored.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        name: str = "",
        prelude: Sequence[Sequence[Argument]] = (),
        resolver: Resolver = resolve,
        call_wait: float | None = None,
    ) -> None:
        self.settings = settings
        self.name = name
        self.call_wait = call_wait
        patience = settings.call_seconds if call_wait is None else silence(settings, call_wait)
        self._dialled = settings
        if call_wait is not None:
            self._dialled = structs.replace(
                settings, connect_timeout=round(1000 * min(settings.connect_seconds, patience))
            )
        self.on_connect: list[Hook] = []
        self.on_disconnect: list[Hook] = []
        self.gathers_posts = False
        """Whether commands of `post` wait for those of the same loop iteration, as `call` does. For a connection on which many
        post at the same time: fewer writes, each a loop iteration later.
        """
        self._greeting = greeting(settings, name)
        self._prelude = [pack(command) for command in prelude]
        self._resolver = resolver
        self._tls: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stream: Stream | None = None
        self._streams: set[Stream] = set()
        self._closed = False
        self._reconnecting: asyncio.Task[None] | None = None
        self._failure: ConnectFailed | None = None
        self._patience = self._usual_patience = patience
        self._refused = 0  # calls that wait to be sent again
        self._past_writes = 0
        # The commands of this tick, and whether calls may join them: not while older ones are unsent.
        self._open = False
        self._chunks: list[bytes] = []
        self._waiters: list[Waiter] = []
        self._extra = 0  # commands beyond one for each waiter
        self._flushing = False
        # Commands that wait for a connection or for room on it, oldest first.
        self._unsent: deque[_Unsent] = deque()
        self._unsent_timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Connection{name} {self.settings.shown} {self._state()}>"

    def _state(self) -> str:
        if self._closed:
            return "closed"
        if self._stream is not None:
            return f"connected, {self._stream.in_flight} in flight, {len(self._unsent)} unsent"
        return f"reconnecting, {len(self._unsent)} unsent" if self._reconnecting else "new"

    @property
    def connected(self) -> bool:
        return self._stream is not None

    @property
    def serving(self) -> bool:
        """Whether there is a connection and no call waits to be sent again."""
        return self._stream is not None and not self._refused

    @property
    def writes(self) -> int:
        """Writes to the socket so far, over all connects."""
        return self._past_writes + (self._stream.writes if self._stream else 0)

    # -- calls -----------------------------------------------------------------------------------------------------

    async def call(self, *command: Argument) -> Reply:
        """Send one command and return its reply. Raises as `Link` says."""
        try:
            data = pack_tuple(command)
        except (TypeError, UnicodeEncodeError):
            raise misfit(command) from None
        if not self._open:
            future = self._future()
            self._defer(data, future)
        else:
            # The hot path: no timer, no clock, only the command's bytes and its future.
            future = self._loop.create_future()
            self._chunks.append(data)
            self._waiters.append(future)
            if not self._flushing:
                self._flushing = True
                self._loop.call_soon(self._flush)
        try:
            return await future
        except ServerBusy as error:
            if self.call_wait is None:
                raise
            return await self.call_again(error, command)

    async def call_again(self, error: ServerBusy, command: Sequence[Argument]) -> Reply:
        """Send a command that the server refused with `error` until it takes it; see ProducerLink."""

        async def send() -> Reply:
            waiter = self._loop.create_future()
            self.post(waiter, *command)
            return await waiter

        self._refused += 1
        try:
            return await send_again(send, error, self.settings, self.call_wait or 0.0)
        finally:
            self._refused -= 1

    def post(self, waiter: Waiter, *command: Argument) -> None:
        """Send one command now. Sets the waiter's result or exception (what `call` would raise) as soon as the reply is read."""
        try:
            data = pack_tuple(command)
            if not self._open:
                self._refuse_unconnected()
                self._defer(data, waiter)
                return
        except (TypeError, UnicodeEncodeError):
            waiter.set_exception(misfit(command))
        except LinkClosed as error:
            waiter.set_exception(error)
        else:
            self._chunks.append(data)
            self._waiters.append(waiter)
            if not self.gathers_posts:
                self._flush()
            elif not self._flushing:
                self._flushing = True
                self._loop.call_soon(self._flush)

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Send commands in one write; their replies, in order. An error reply is a ServerError in the list, not raised."""
        if not commands:
            return []
        data = b"".join([pack(command) for command in commands])
        batch = ReplyBatch(self._future(), len(commands))
        if not self._open:
            self._defer(data, batch)
            replies: list[Reply] = await batch.future
            return replies
        self._chunks.append(data)
        self._waiters.append(batch)
        self._extra += batch.missing - 1
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        gathered: list[Reply] = await batch.future
        return gathered

    async def call_blocking(self, *command: Argument, timeout: float) -> Reply:
        """Send a command that blocks at the server for up to `timeout` seconds, more than 0. For a connection that makes only
        blocking calls, one at a time. Cancelling it drops the connection, so that the server pops nothing for a caller that left.
        """
        if not timeout > 0:
            raise InvalidOption(
                f"timeout: {timeout!r} would block forever; give the command's own timeout, in seconds, over 0"
            )
        future = self._future()
        self._patience = timeout + BLOCKING_GRACE
        try:
            # Not `call`, whose commands leave an iteration of the event loop later: nothing could join this one.
            self.post(future, *command)
            return await future
        except asyncio.CancelledError:
            if self._stream is not None:
                self._stream.drop("a blocking call was cancelled")
            raise
        finally:
            self._patience = self._usual_patience

    def _future(self) -> asyncio.Future[Any]:
        self._refuse_unconnected()
        return self._loop.create_future()

    def _refuse_unconnected(self) -> None:
        if self._closed:
            raise LinkClosed(self._was_closed())
        if self._stream is None and self._reconnecting is None:
            raise LinkClosed(f"the connection to {self.settings.shown} is not open; await connect() first")

    def _was_closed(self) -> str:
        return f"the connection to {self.settings.shown} was closed by this process; the command was not sent"

    def _flush(self) -> None:
        """Send the commands of this loop iteration in one write."""
        self._flushing = False
        chunks, waiters = self._chunks, self._waiters
        if not chunks:
            return
        count = len(waiters) + self._extra
        self._chunks, self._waiters, self._extra = [], [], 0
        stream = self._stream
        if stream is None or count > stream.room:
            self._defer_all(chunks, waiters)
            return
        stream.write(chunks, waiters, count, self._patience)
        if not stream.room:
            self._open = False
            stream.call_when_room()

    # -- unsent commands ------------------------------------------------------------------------------------------

    def _defer(self, data: bytes, waiter: Waiter) -> None:
        self._unsent.append(_Unsent(data, waiter, self._loop.time() + self._unsent_timeout))
        self._arm_unsent_timer()

    @property
    def _unsent_timeout(self) -> float:
        """Seconds that a command deferred now waits before it fails with ConnectFailed."""
        return self.settings.call_seconds if self._stream is not None or self.call_wait is None else self.call_wait

    def _defer_all(self, chunks: list[bytes], waiters: list[Waiter]) -> None:
        ends = self._loop.time() + self._unsent_timeout
        # Commands deferred during this loop iteration came later.
        self._unsent.extendleft([_Unsent(*pair, ends) for pair in zip(chunks, waiters, strict=True)][::-1])
        self._open = False
        self._arm_unsent_timer()
        self._write_unsent()

    def _write_unsent(self) -> None:
        """Write unsent commands, oldest first, while there is room. Cancelled ones are dropped: they were never sent."""
        stream, unsent = self._stream, self._unsent
        if stream is None:
            return
        chunks: list[bytes] = []
        waiters: list[Waiter] = []
        count, room = 0, stream.room
        # A batch larger than HIGH_WATER is sent alone.
        while unsent and (count + unsent[0].count <= room or (not count and room and not stream.in_flight)):
            entry = unsent.popleft()
            if not entry.waiter.done():
                chunks.append(entry.data)
                waiters.append(entry.waiter)
                count += entry.count
        if chunks:
            stream.write(chunks, waiters, count, self._patience)
        self._open = not unsent and stream.room > 0
        if not self._open:
            stream.call_when_room()

    def _arm_unsent_timer(self) -> None:
        if self._unsent and self._unsent_timer is None:
            self._unsent_timer = self._loop.call_at(self._unsent[0].ends, self._expire_unsent)

    def _expire_unsent(self) -> None:
        self._unsent_timer = None
        now = self._loop.time()
        while self._unsent and (self._unsent[0].ends <= now or self._unsent[0].waiter.done()):
            waiter = self._unsent.popleft().waiter
            if not waiter.done():
                waiter.set_exception(self._why_not_sent())
        self._arm_unsent_timer()

    def _why_not_sent(self) -> ConnectFailed:
        waited = f"nothing was sent in {self._unsent_timeout:g} s"
        if self._failure is None:
            return ConnectFailed(
                f"Redis at {self.settings.shown} accepts no more commands ({waited}); check its load and SLOWLOG"
            )
        return type(self._failure)(f"{self._failure} ({waited})")

    # -- connecting ------------------------------------------------------------------------------------------------

    async def connect(self, *, wait: bool | float = False) -> None:
        """Connect. Raises ConnectFailed or AuthFailed. wait: retry until it succeeds; a number: for that many seconds, while a
        later try can succeed.
        """
        self._loop = asyncio.get_running_loop()
        self._tls = tls_context(self.settings)
        await keep_trying(self._connect_once, wait)

    async def _connect_once(self) -> None:
        try:
            stream = await dial(self._dialled, self._new_stream, self._tls, self._resolver)
            self._streams.add(stream)
            stream.closed.add_done_callback(lambda _: self._streams.discard(stream))
            if stream.lost_reason:
                raise self._no_greeting(stream)
            await self._log_in(stream)
        except ConnectFailed as failure:
            self._failure = failure
            raise
        self._failure = None
        self._stream = stream
        self._tell(self.on_connect)
        self._write_unsent()

    def _new_stream(self) -> Stream:
        silence = self._usual_patience
        return Stream(self._on_lost, self._write_unsent, silence=silence, slack=self.settings.call_seconds - silence)

    async def _log_in(self, stream: Stream) -> None:
        """Send the greeting, judge its replies, then send the prelude."""
        failure = refusal(self.settings, self._greeting, await self._open_with(stream, [*map(pack, self._greeting)]))
        if failure is None and self._prelude and not stream.lost_reason:
            # After the greeting: servers refuse scripts over 16 KB from a client that has not logged in.
            await self._open_with(stream, self._prelude)
        if failure is None and stream.lost_reason:
            failure = self._no_greeting(stream)
        if failure is not None:
            stream.drop("the greeting was refused")
            raise failure

    async def _open_with(self, stream: Stream, commands: list[bytes]) -> list[Reply]:
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        batch = ReplyBatch(future, len(commands))
        stream.write(commands, [batch], len(commands), self._dialled.connect_seconds)
        try:
            return await future
        except OutcomeUnknown:
            raise self._no_greeting(stream, batch.replies) from None
        except asyncio.CancelledError:
            stream.drop("connecting was cancelled")
            raise

    def _no_greeting(self, stream: Stream, replies: Sequence[Reply] = ()) -> ConnectFailed:
        for reply in (stream.refused, *replies):
            if isinstance(reply, ServerError):
                return turned_away(self.settings, reply)
        remedy = "check that this is a Redis server, and whether it needs TLS (rediss://)"
        return ConnectFailed(
            f"Redis at {self.settings.shown} did not answer the greeting: {stream.lost_reason}; {remedy}"
        )

    def _on_lost(self, stream: Stream, reason: str) -> None:
        if stream is not self._stream:
            return
        self._stream = None
        self._open = False
        self._past_writes += stream.writes
        self._failure = ConnectFailed(f"the connection to Redis at {self.settings.shown} was lost: {reason}")
        if not self._closed:
            self._reconnecting = self._loop.create_task(self._reconnect(), name=f"reconnect {self.settings.shown}")
        self._tell(self.on_disconnect)
        if self._unsent and self.call_wait is not None:
            # They waited for room until now, and wait for a connection from now on.
            ends = self._loop.time() + self.call_wait
            for entry in self._unsent:
                entry.ends = min(entry.ends, ends)
            if self._unsent_timer is not None:
                self._unsent_timer.cancel()
                self._unsent_timer = None
            self._arm_unsent_timer()

    async def _reconnect(self) -> None:
        for delay in backoff() if self.call_wait is None else backoff(PRODUCER_DELAY):
            await asyncio.sleep(delay)
            with contextlib.suppress(ConnectFailed):
                await self._connect_once()
                return

    def _tell(self, hooks: list[Hook]) -> None:
        # Through the loop, so that a hook's error reaches the loop's exception handler and does not stop the reconnect.
        for hook in hooks:
            self._loop.call_soon(hook)

    async def close(self) -> None:
        """Close the connection. Calls in flight raise OutcomeUnknown; unsent and later ones raise LinkClosed."""
        self._closed = True
        self._open = False
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.wait([self._reconnecting])
        streams = list(self._streams)
        for stream in streams:
            stream.drop("the connection was closed by this process")
        self._refuse_unsent()
        for stream in streams:
            await stream.closed

    def _refuse_unsent(self) -> None:
        if self._unsent_timer is not None:
            self._unsent_timer.cancel()
        unsent = [*self._waiters, *(entry.waiter for entry in self._unsent)]
        self._unsent.clear()
        self._chunks, self._waiters, self._extra = [], [], 0
        for waiter in unsent:
            if not waiter.done():
                waiter.set_exception(LinkClosed(self._was_closed()))
