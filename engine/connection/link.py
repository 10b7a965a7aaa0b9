"""`Link`, the interface of every connection to Redis: our own and redis-py's implement it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from engine.errors import ServerBusy

Argument = bytes | str | int | float | memoryview
Reply = Any
"""A RESP2 reply: bytes, int, None, or a list of those."""


class Waiter(Protocol):
    """Receives a reply; an asyncio.Future is one."""

    def done(self) -> bool:
        """Whether the caller has stopped waiting. An unsent command is then never sent."""

    def set_result(self, reply: Reply, /) -> None: ...

    def set_exception(self, error: Exception, /) -> None: ...


class Link(Protocol):
    """Commands go out in the order of the calls; each call waits for its own reply.

    Raises ServerError for an error reply (ServerBusy if nothing was done and the same command may succeed later),
    ConnectFailed if nothing could be sent, OutcomeUnknown if a command was sent and no reply came. No command is sent
    twice, except by a producer's link (see ProducerLink) after a reply of ServerBusy.
    """

    async def call(self, *command: Argument) -> Reply:
        """Send one command and return its reply."""

    def post(self, waiter: Waiter, *command: Argument) -> None:
        """Send one command now. Sets the waiter's result or exception (what `call` would raise) as soon as the reply is read."""

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Send commands in one write; their replies, in order. An error reply is a ServerError in the list, not raised."""

    async def close(self) -> None:
        """Close the connection. Calls in flight raise OutcomeUnknown, later ones LinkClosed."""


@runtime_checkable
class ProducerLink(Protocol):
    """A link that may serve a producer: its calls wait for a server that is down or refuses them, up to `call_wait`."""

    @property
    def call_wait(self) -> float | None:
        """Seconds that `call` waits while there is no connection, and while the server refuses the command. None for a worker:
        `call` waits for a connection up to the call timeout, and raises ServerBusy at once.
        """

    async def call_again(self, error: ServerBusy, command: Sequence[Argument]) -> Reply:
        """Send a command that the server refused with `error` again, until it is accepted; the reply.

        Raises ServerBusy with the server's state after `call_wait` seconds.
        """

    @property
    def serving(self) -> bool:
        """Whether there is a connection and no call waits to be sent again."""
