"""What every link to Redis can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from engine.errors import ServerBusy

Argument = bytes | str | int | float | memoryview
Reply = Any
"""A reply as RESP2 has it: bytes, int, None, or a list of those."""


class Waiter(Protocol):
    """Who a reply is told to; an asyncio.Future is one."""

    def done(self) -> bool:
        """Whether nobody waits any more. A command that was not sent yet is then not sent."""

    def set_result(self, reply: Reply, /) -> None: ...

    def set_exception(self, error: Exception, /) -> None: ...


class Link(Protocol):
    """Commands go out in the order of the calls; each call waits for its own reply.

    Raises ServerError for an error reply (ServerBusy where the same command may succeed later and nothing was done),
    ConnectFailed when nothing could be sent, OutcomeUnknown when a command was sent and no reply came. A link never
    sends a command twice, except a producer's link (see PatientLink) one that was answered by ServerBusy.
    """

    async def call(self, *command: Argument) -> Reply:
        """Send one command and return its reply."""

    def post(self, waiter: Waiter, *command: Argument) -> None:
        """Send one command now, and tell the waiter its reply, or what `call` would raise, the moment it is read."""

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Send commands in one write. Error replies stand in the list as ServerError instances, in their places."""

    async def close(self) -> None:
        """Close the connection; calls under way end with OutcomeUnknown, later ones with LinkClosed."""


@runtime_checkable
class PatientLink(Protocol):
    """What a link that may be a producer's has beside the commands."""

    @property
    def call_wait(self) -> float | None:
        """Seconds that `call` waits for a server that cannot take it: while there is no line, and while the server refuses it
        whole. None, a worker's: it waits for a line up to the call timeout, and raises ServerBusy at once.
        """

    async def call_again(self, error: ServerBusy, command: Sequence[Argument]) -> Reply:
        """Send a command that the server refused with `error` until it takes it; the reply. When `call_wait` is over, raises
        ServerBusy with the state of the server.
        """

    @property
    def serving(self) -> bool:
        """Whether the line is up and no call waits to be sent again."""
