"""Our own connection to Redis: many callers share one line, which comes back by itself when it is lost.

Knows when to write, what to keep back and when to try again; the bytes are line.py's, the sockets dial.py's, the login
login.py's.
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
from engine.connection.login import greeting, refusal, turned_away
from engine.connection.port import Argument, Reply, Waiter
from engine.connection.stream import Batch, Line, misfit, pack, pack_tuple
from engine.connection.waiting import PRODUCER_DELAY, backoff, keep_trying, send_again, silence
from engine.errors import ConnectFailed, InvalidOption, LinkClosed, OutcomeUnknown, ServerBusy, ServerError
from engine.model.clock import monotonic

BLOCKING_GRACE = 5.0
"""Seconds that a blocking command may answer after its own timeout before the line counts as dead."""

Hook = Callable[[], None]


class _Kept:
    """A command that could not be written yet."""

    __slots__ = ("count", "data", "ends", "waiter")

    def __init__(self, data: bytes, waiter: Waiter, ends: float) -> None:
        self.data = data
        self.waiter = waiter
        self.count = waiter.missing if isinstance(waiter, Batch) else 1
        self.ends = ends


class Connection:
    """A Link over one multiplexed connection.

    States, as `repr` tells them: *new* before `connect`; *connected*; *reconnecting* after a loss, when calls wait for
    the line up to `call_timeout` and then raise ConnectFailed; *closed*, when they raise LinkClosed.

    call_wait: a producer's link, see PatientLink. Seconds, instead of `call_timeout`, that calls wait for a line or for a server
    that refuses them, and, at least LEAST_SILENCE, that a server may be silent before it counts as hung.

    `on_connect` and `on_disconnect` hold plain callables, called from the loop soon after each change. `prelude` holds
    commands sent at each connect before any other; their errors are ignored.
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
        self._greeting = greeting(settings, name)
        self._prelude = [pack(command) for command in prelude]
        self._resolver = resolver
        self._tls: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop
        self._line: Line | None = None
        self._lines: set[Line] = set()
        self._closed = False
        self._since: float | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._failure: ConnectFailed | None = None
        self._patience = self._usual_patience = patience
        self._refused = 0  # calls that wait to be sent again
        self._past_writes = 0
        # The commands of this tick, and whether calls may join them: not while others are kept, which go first.
        self._open = False
        self._chunks: list[bytes] = []
        self._waiters: list[Waiter] = []
        self._extra = 0  # commands beyond one for each waiter
        self._flushing = False
        # Commands that wait for a line or for room on it, oldest first.
        self._kept: deque[_Kept] = deque()
        self._kept_timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Connection{name} {self.settings.shown} {self._state()}>"

    def _state(self) -> str:
        if self._closed:
            return "closed"
        if self._line is not None:
            return f"connected, {self._line.in_flight} in flight, {len(self._kept)} kept"
        return f"reconnecting, {len(self._kept)} kept" if self._reconnecting else "new"

    @property
    def connected(self) -> bool:
        return self._line is not None

    @property
    def serving(self) -> bool:
        """Whether the line is up and no call waits to be sent again."""
        return self._line is not None and not self._refused

    @property
    def connected_since(self) -> float | None:
        """When the line came up, in monotonic seconds; None while there is none."""
        return self._since

    @property
    def writes(self) -> int:
        """Writes to the transport so far, over all lines."""
        return self._past_writes + (self._line.writes if self._line else 0)

    # -- calls -----------------------------------------------------------------------------------------------------

    async def call(self, *command: Argument) -> Reply:
        """Send one command and return its reply; see Link for what it raises."""
        try:
            data = pack_tuple(command)
        except (TypeError, UnicodeEncodeError):
            raise misfit(command) from None
        if not self._open:
            future = self._future()
            self._keep(data, future)
        else:
            # The hot path: no timer, no clock, nothing per command but its bytes and its future.
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
        """Send a command that the server refused with `error` until it takes it; see PatientLink."""

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
        """Send one command now, and tell the waiter its reply, or what `call` would raise, the moment it is read."""
        try:
            data = pack_tuple(command)
            if not self._open:
                self._refuse_unconnected()
                self._keep(data, waiter)
                return
        except (TypeError, UnicodeEncodeError):
            waiter.set_exception(misfit(command))
        except LinkClosed as error:
            waiter.set_exception(error)
        else:
            self._chunks.append(data)
            self._waiters.append(waiter)
            self._flush()

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Send commands in one write. Error replies stand in the list as ServerError instances, in their places."""
        if not commands:
            return []
        data = b"".join([pack(command) for command in commands])
        batch = Batch(self._future(), len(commands))
        if not self._open:
            self._keep(data, batch)
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
        """Send a command that waits at the server for up to `timeout` seconds, over 0. For a connection used for such
        calls only, one at a time. Cancelling it drops the line, lest the server hand something to nobody.
        """
        if not timeout > 0:
            raise InvalidOption(f"timeout: {timeout!r} would wait for ever; give the command's own timeout in seconds")
        self._patience = timeout + BLOCKING_GRACE
        try:
            return await self.call(*command)
        except asyncio.CancelledError:
            if self._line is not None:
                self._line.drop("a blocking call was cancelled")
            raise
        finally:
            self._patience = self._usual_patience

    def _future(self) -> asyncio.Future[Any]:
        self._refuse_unconnected()
        return self._loop.create_future()

    def _refuse_unconnected(self) -> None:
        if self._closed:
            raise LinkClosed(self._was_closed())
        if self._line is None and self._reconnecting is None:
            raise LinkClosed(f"the link to {self.settings.shown} is not connected; await connect() first")

    def _was_closed(self) -> str:
        return f"the link to {self.settings.shown} was closed; the command was not sent"

    def _flush(self) -> None:
        """Write what this tick has gathered, in one write."""
        self._flushing = False
        chunks, waiters = self._chunks, self._waiters
        if not chunks:
            return
        count = len(waiters) + self._extra
        self._chunks, self._waiters, self._extra = [], [], 0
        line = self._line
        if line is None or count > line.room:
            self._keep_all(chunks, waiters)
            return
        line.write(chunks, waiters, count, self._patience)
        if not line.room:
            self._open = False
            line.hold()

    # -- commands that have to wait --------------------------------------------------------------------------------

    def _keep(self, data: bytes, waiter: Waiter) -> None:
        self._kept.append(_Kept(data, waiter, self._loop.time() + self._keep_time))
        self._watch_kept()

    @property
    def _keep_time(self) -> float:
        """Seconds for which a command is kept from now on."""
        return self.settings.call_seconds if self._line is not None or self.call_wait is None else self.call_wait

    def _keep_all(self, chunks: list[bytes], waiters: list[Waiter]) -> None:
        ends = self._loop.time() + self._keep_time
        # What was kept while this tick gathered came later.
        self._kept.extendleft([_Kept(*pair, ends) for pair in zip(chunks, waiters, strict=True)][::-1])
        self._open = False
        self._watch_kept()
        self._write_kept()

    def _write_kept(self) -> None:
        """Write kept commands, oldest first, as far as the line has room. Cancelled ones were never sent: they fall."""
        line, kept = self._line, self._kept
        if line is None:
            return
        chunks: list[bytes] = []
        waiters: list[Waiter] = []
        count, room = 0, line.room
        # A batch larger than all the room there ever is goes alone.
        while kept and (count + kept[0].count <= room or (not count and room and not line.in_flight)):
            entry = kept.popleft()
            if not entry.waiter.done():
                chunks.append(entry.data)
                waiters.append(entry.waiter)
                count += entry.count
        if chunks:
            line.write(chunks, waiters, count, self._patience)
        self._open = not kept and line.room > 0
        if not self._open:
            line.hold()

    def _watch_kept(self) -> None:
        if self._kept and self._kept_timer is None:
            self._kept_timer = self._loop.call_at(self._kept[0].ends, self._give_up_kept)

    def _give_up_kept(self) -> None:
        self._kept_timer = None
        now = self._loop.time()
        while self._kept and (self._kept[0].ends <= now or self._kept[0].waiter.done()):
            waiter = self._kept.popleft().waiter
            if not waiter.done():
                waiter.set_exception(self._why_not_sent())
        self._watch_kept()

    def _why_not_sent(self) -> ConnectFailed:
        waited = f"nothing was sent in {self._keep_time:g} s"
        if self._failure is None:
            return ConnectFailed(f"Redis at {self.settings.shown} takes no more commands ({waited}); is it overloaded?")
        return type(self._failure)(f"{self._failure} ({waited})")

    # -- connecting ------------------------------------------------------------------------------------------------

    async def connect(self, *, wait: bool | float = False) -> None:
        """Connect. Raises ConnectFailed or AuthFailed when that fails; with `wait` tries until it succeeds, or, where it is a
        number, for so many seconds while a later try may succeed.
        """
        self._loop = asyncio.get_running_loop()
        self._tls = tls_context(self.settings)
        await keep_trying(self._connect_once, wait)

    async def _connect_once(self) -> None:
        try:
            line = await dial(self._dialled, self._new_line, self._tls, self._resolver)
            self._lines.add(line)
            line.gone.add_done_callback(lambda _: self._lines.discard(line))
            if line.over:
                raise self._no_greeting(line)
            await self._log_in(line)
        except ConnectFailed as failure:
            self._failure = failure
            raise
        self._failure = None
        self._line = line
        self._since = monotonic()
        self._tell(self.on_connect)
        self._write_kept()

    def _new_line(self) -> Line:
        silence = self._usual_patience
        return Line(self._on_lost, self._write_kept, silence=silence, slack=self.settings.call_seconds - silence)

    async def _log_in(self, line: Line) -> None:
        """Send the greeting, judge its replies, then send the prelude."""
        failure = refusal(self.settings, self._greeting, await self._open_with(line, [*map(pack, self._greeting)]))
        if failure is None and self._prelude and not line.over:
            # Not along with the greeting: from a client that is not logged in, servers take no script of over 16 KB.
            await self._open_with(line, self._prelude)
        if failure is None and line.over:
            failure = self._no_greeting(line)
        if failure is not None:
            line.drop("the greeting was refused")
            raise failure

    async def _open_with(self, line: Line, commands: list[bytes]) -> list[Reply]:
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        batch = Batch(future, len(commands))
        line.write(commands, [batch], len(commands), self._dialled.connect_seconds)
        try:
            return await future
        except OutcomeUnknown:
            raise self._no_greeting(line, batch.replies) from None
        except asyncio.CancelledError:
            line.drop("connecting was cancelled")
            raise

    def _no_greeting(self, line: Line, replies: Sequence[Reply] = ()) -> ConnectFailed:
        for reply in (line.refused, *replies):
            if isinstance(reply, ServerError):
                return turned_away(self.settings, reply)
        remedy = "check that it is a Redis, and whether it wants TLS (rediss://)"
        return ConnectFailed(f"Redis at {self.settings.shown} did not answer the greeting: {line.over}; {remedy}")

    def _on_lost(self, line: Line, reason: str) -> None:
        if line is not self._line:
            return
        self._line = None
        self._since = None
        self._open = False
        self._past_writes += line.writes
        self._failure = ConnectFailed(f"the connection to Redis at {self.settings.shown} was lost: {reason}")
        if not self._closed:
            self._reconnecting = self._loop.create_task(self._reconnect(), name=f"reconnect {self.settings.shown}")
        self._tell(self.on_disconnect)
        if self._kept and self.call_wait is not None:
            # Kept for want of room until now; from now on they wait for a line.
            ends = self._loop.time() + self.call_wait
            for kept in self._kept:
                kept.ends = min(kept.ends, ends)
            if self._kept_timer is not None:
                self._kept_timer.cancel()
                self._kept_timer = None
            self._watch_kept()

    async def _reconnect(self) -> None:
        for delay in backoff() if self.call_wait is None else backoff(PRODUCER_DELAY):
            await asyncio.sleep(delay)
            with contextlib.suppress(ConnectFailed):
                await self._connect_once()
                return

    def _tell(self, hooks: list[Hook]) -> None:
        # By way of the loop, so that a hook's error reaches the loop's handler and not whoever reconnects.
        for hook in hooks:
            self._loop.call_soon(hook)

    async def close(self) -> None:
        """Close the connection; calls under way end with OutcomeUnknown, unsent and later ones with LinkClosed."""
        self._closed = True
        self._open = False
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.wait([self._reconnecting])
        lines = list(self._lines)
        for line in lines:
            line.drop("the link was closed by this process")
        self._refuse_unsent()
        for line in lines:
            await line.gone

    def _refuse_unsent(self) -> None:
        if self._kept_timer is not None:
            self._kept_timer.cancel()
        unsent = [*self._waiters, *(kept.waiter for kept in self._kept)]
        self._kept.clear()
        self._chunks, self._waiters, self._extra = [], [], 0
        for waiter in unsent:
            if not waiter.done():
                waiter.set_exception(LinkClosed(self._was_closed()))
