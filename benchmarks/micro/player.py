"""Sends the commands of a tape over a bare socket: one after the other, or all in one write."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import unquote

import hiredis

from benchmarks.micro.tapes import Command, Recording, Tape, same_shape

_PATIENCE = 300.0


class Player:
    """A connection to the server of a `unix://` URL. Raises RuntimeError for an error reply."""

    def __init__(self, url: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_PATIENCE)
        self._socket.connect(unquote(url.removeprefix("unix://")))
        self._reader: Any = hiredis.Reader()
        self.scripts = 0
        """Scripts called so far, but for those of `send_all`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, command: Command) -> Any:
        """Send one command and wait for its reply."""
        self.scripts += command[0] in (b"EVAL", b"EVALSHA")
        self._socket.sendall(packed(command))
        return self._reply()

    def send_each(self, commands: Sequence[Command]) -> list[Any]:
        """One after the other."""
        return [self.send(command) for command in commands]

    def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """In one write, without waiting for a reply in between."""
        # The server reads on while its replies wait to be read.
        self._socket.sendall(b"".join(map(packed, commands)))
        return [self._reply() for _ in commands]

    def _reply(self) -> Any:
        while (reply := self._next()) is _NO_REPLY:
            self._read()
        return reply

    def _read(self) -> None:
        piece = self._socket.recv(1 << 16)
        if not piece:
            raise RuntimeError("the server closed the connection")
        self._reader.feed(piece)

    def _next(self) -> Any:
        reply = self._reader.gets() if self._reader.has_data() else False
        if isinstance(reply, hiredis.ReplyError):
            raise RuntimeError(f"the server answered {reply}")
        return _NO_REPLY if reply is False else reply

    def set_up(self, recording: Recording, tape: Tape) -> None:
        """Prepare an empty queue for the calls of the tape."""
        self.send_each([recording.clear, *tape.setup])


def packed(command: Command) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)


def check(name: str, tape: Tape, replies: Sequence[Any]) -> None:
    """Raise RuntimeError where the calls of a tape did not do what they did when they were recorded."""
    for reply, recorded in zip(replies, tape.replies, strict=False):
        if not same_shape(reply, recorded):
            raise RuntimeError(f"{name}: a call returned {reply!r:.300} where {recorded!r:.300} was recorded")


_NO_REPLY = object()
