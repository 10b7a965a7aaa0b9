"""`Link` over redis-py, to compare our own connection with. The only module that catches redis-py's errors.

One redis-py connection used by turns, so that commands keep their order; slower than our own, and it says so: no
pipelining across callers. Replies are RESP2's, as our own connection gives them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from engine.connection.address import RedisSettings
from engine.connection.connection import BLOCKING_GRACE, Hook
from engine.connection.dial import connect_failed
from engine.connection.link import Argument, Reply, Waiter
from engine.connection.login import greeting, is_turned_away, refusal
from engine.connection.retries import keep_trying, send_again, silence
from engine.connection.stream import MOVED_AWAY, error_reply, pack
from engine.errors import ConnectFailed, InvalidOption, LinkClosed, OutcomeUnknown, ServerBusy, ServerError


class RedisPyLink:
    """A Link over one redis-py connection. A call that is cancelled or times out drops it; the next call reconnects."""

    def __init__(
        self,
        settings: RedisSettings,
        *,
        name: str = "",
        prelude: Sequence[Sequence[Argument]] = (),
        call_wait: float | None = None,
    ) -> None:
        self.settings = settings
        self.name = name
        self.call_wait = call_wait
        self._patience = settings.call_seconds if call_wait is None else silence(settings, call_wait)
        self._connect_timeout = min(settings.connect_seconds, self._patience)
        self._refused = 0  # calls that wait to be sent again
        self.on_connect: list[Hook] = []
        self.on_disconnect: list[Hook] = []
        self._greeting = greeting(settings, name)
        self._prelude = list(prelude)
        self._connection: Any = _connection(settings, self._connect_timeout)
        self._turn = asyncio.Lock()
        self._posts: set[asyncio.Task[None]] = set()
        self._is_up = False
        self._closed = False
        self._failure: ConnectFailed | None = None
        self._begun = False

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        state = (
            "closed" if self._closed else "connected" if self.connected else "reconnecting" if self._begun else "new"
        )
        return f"<RedisPyLink{name} {self.settings.shown} {state}>"

    @property
    def connected(self) -> bool:
        return self._is_up

    @property
    def serving(self) -> bool:
        """Whether the last call found a connection, and no call waits to be sent again."""
        return self.connected and not self._refused

    async def connect(self, *, wait: bool | float = False) -> None:
        """Connect. Raises ConnectFailed or AuthFailed. wait: retry until it succeeds; a number: for that many seconds, while a
        later try can succeed.
        """
        async with self._turn:
            await keep_trying(self._connect_once, wait)

    async def call(self, *command: Argument) -> Reply:
        """Send one command and return its reply. Raises as `Link` says."""
        try:
            return await self._call(command)
        except ServerBusy as error:
            if self.call_wait is None:
                raise
            return await self.call_again(error, command)

    async def _call(self, command: Sequence[Argument]) -> Reply:
        (reply,) = await self._send([command], self._patience)
        if isinstance(reply, ServerError):
            raise reply
        return reply

    async def call_again(self, error: ServerBusy, command: Sequence[Argument]) -> Reply:
        """Send a command that the server refused with `error` again, until it is accepted; see ProducerLink."""
        self._refused += 1
        try:
            return await send_again(lambda: self._call(command), error, self.settings, self.call_wait or 0.0)
        finally:
            self._refused -= 1

    def post(self, waiter: Waiter, *command: Argument) -> None:
        """Send one command. Sets the waiter's result, or as its exception what `call` would raise."""
        task = asyncio.create_task(self._tell_reply(waiter, command))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _tell_reply(self, waiter: Waiter, command: Sequence[Argument]) -> None:
        try:
            reply = await self._call(command)
        except Exception as error:
            waiter.set_exception(error)
        else:
            waiter.set_result(reply)

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Send commands in one write; their replies, in order. An error reply is a ServerError in the list, not raised."""
        return await self._send(commands, self._patience) if commands else []

    async def call_blocking(self, *command: Argument, timeout: float) -> Reply:
        """Send a command that blocks at the server for up to `timeout` seconds, more than 0."""
        if not timeout > 0:
            raise InvalidOption(
                f"timeout: {timeout!r} would block forever; give the command's own timeout, in seconds, over 0"
            )
        (reply,) = await self._send([command], timeout + BLOCKING_GRACE)
        if isinstance(reply, ServerError):
            raise reply
        return reply

    async def close(self) -> None:
        """Close the connection. Calls in flight raise OutcomeUnknown, later ones LinkClosed."""
        self._closed = True
        self._gone()
        await self._connection.disconnect()

    # --------------------------------------------------------------------------------------------------------------

    async def _send(self, commands: Sequence[Sequence[Argument]], patience: float) -> list[Reply]:
        self._refuse_closed()
        packed = _pack(commands)
        async with self._connected():
            try:
                with _sent():
                    async with asyncio.timeout(patience):
                        replies = await self._exchange(packed, len(commands))
            except BaseException:
                await self._throw_away()
                raise
            if any(isinstance(reply, ServerError) and reply.code in MOVED_AWAY for reply in replies):
                await self._throw_away()
        return replies

    async def _exchange(self, packed: bytes, count: int) -> list[Reply]:
        await self._connection.send_packed_command(packed, check_health=False)
        return [_reply(await _read(self._connection)) for _ in range(count)]

    async def _greet(self) -> list[Reply]:
        """Send the greeting; its replies, up to one after which the server closes the connection."""
        await self._connection.send_packed_command(_pack(self._greeting), check_health=False)
        replies: list[Reply] = []
        for _ in self._greeting:
            replies.append(_reply(await _read(self._connection)))
            if is_turned_away(replies[-1]):
                break
        return replies

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        """The connection, for one call at a time. Raises ConnectFailed if it is not free or not up in time."""
        limit = self.settings.call_seconds
        if self.call_wait is not None and not self.connected:
            limit = max(self.call_wait, self._connect_timeout)  # at least one try: nobody else reconnects
        try:
            async with asyncio.timeout(limit):
                await self._turn.acquire()
                await self._prepare()
        except TimeoutError:
            waited = f"nothing was sent in {limit:g} s"
            if self._failure is None:
                raise ConnectFailed(f"Redis at {self.settings.shown} is busy with other calls ({waited})") from None
            raise type(self._failure)(f"{self._failure} ({waited})") from None
        try:
            yield
        finally:
            self._turn.release()

    async def _prepare(self) -> None:
        try:
            self._refuse_closed()
            if self.connected and await self._is_broken():
                await self._throw_away()
            if not self.connected:
                await keep_trying(self._connect_once, True if self.call_wait is None else self.call_wait)
        except BaseException:
            self._turn.release()
            raise

    async def _is_broken(self) -> bool:
        # Bytes before any command: the end of the stream, or a reply without a call. A reset shows only in the writer, for
        # which redis-py has no public name.
        return bool(self._connection._writer.is_closing() or await self._connection.can_read())

    async def _connect_once(self) -> None:
        try:
            with _not_reached(self.settings):
                await self._connection.connect()
                async with asyncio.timeout(self._connect_timeout):
                    replies = await self._greet()
            if failure := refusal(self.settings, self._greeting, replies):
                raise failure
            # After the greeting: servers refuse scripts over 16 KB from a client that has not logged in.
            if self._prelude:
                with _not_reached(self.settings):
                    async with asyncio.timeout(self._connect_timeout):
                        await self._exchange(_pack(self._prelude), len(self._prelude))
        except BaseException as error:
            if isinstance(error, ConnectFailed):
                self._failure = error
            await self._connection.disconnect(nowait=True)
            raise
        self._begun = True
        self._failure = None
        self._is_up = True
        _tell(self.on_connect)

    async def _throw_away(self) -> None:
        self._gone()
        await self._connection.disconnect(nowait=True)

    def _gone(self) -> None:
        if self._is_up:
            self._is_up = False
            _tell(self.on_disconnect)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise LinkClosed(
                f"the connection to {self.settings.shown} was closed by this process; the command was not sent"
            )
        if not self._begun:
            raise LinkClosed(f"the connection to {self.settings.shown} is not open; await connect() first")


def _tell(hooks: list[Hook]) -> None:
    for hook in hooks:
        asyncio.get_running_loop().call_soon(hook)


def _connection(settings: RedisSettings, connect_timeout: float) -> Any:
    """A redis-py connection that only opens the socket; the handshake is ours."""
    from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    common: dict[str, Any] = {
        "protocol": 2,
        "decode_responses": False,
        "driver_info": None,
        "socket_connect_timeout": connect_timeout,
        # The deadline of a call is ours; theirs, with their retries, would send a slow command again.
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
    }
    if settings.unix_socket is not None:
        return UnixDomainSocketConnection(path=settings.unix_socket, **common)
    place: dict[str, Any] = {"host": settings.host, "port": settings.port}
    if not settings.tls:
        return Connection(**place, **common)
    return SSLConnection(
        **place,
        **common,
        ssl_ca_certs=settings.tls_ca,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ssl_cert_reqs="required" if settings.tls_verify else "none",
        ssl_check_hostname=settings.tls_verify,
    )


def _pack(commands: Sequence[Sequence[Argument]]) -> bytes:
    """Packed as our own connection does it, so that both refuse the same arguments."""
    return b"".join([pack(command) for command in commands])


async def _read(connection: Any) -> Any:
    """The next reply; an error reply comes back as redis-py's exception, a broken connection is raised."""
    from redis.exceptions import RedisError, ResponseError

    try:
        return await connection.read_response(disconnect_on_error=False)
    except RedisError as error:
        # Some error replies are ConnectionErrors there; the server's code tells them from a broken connection.
        if error.status_code or isinstance(error, ResponseError):
            return error
        raise


def _reply(value: Any) -> Reply:
    """The reply as our own connection gives it."""
    if isinstance(value, list):
        return [_reply(item) for item in value]
    if isinstance(value, Exception):
        code = getattr(value, "status_code", None)
        return error_reply(f"{code} {value}" if code else str(value))
    return value


@contextlib.contextmanager
def _sent() -> Iterator[None]:
    """Translate redis-py's errors after a command was sent: its reply may be lost."""
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError) as error:
        why = "no reply came within the timeout" if isinstance(error, TimeoutError) else str(error)
        raise OutcomeUnknown(f"{why}; the command was sent and may have been carried out") from error


@contextlib.contextmanager
def _not_reached(settings: RedisSettings) -> Iterator[None]:
    """Translate redis-py's errors while connecting: no command of the caller was sent."""
    from redis.exceptions import RedisError
    from redis.exceptions import TimeoutError as TheirTimeout

    try:
        yield
    except TheirTimeout as error:
        raise connect_failed(settings, TimeoutError()) from error
    except (RedisError, OSError) as error:
        # redis-py wraps the operating system's reason, which says more.
        wrapped = error.__cause__ or error.__context__
        raise connect_failed(settings, wrapped if isinstance(wrapped, OSError) else error) from error
