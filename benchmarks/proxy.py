"""A program that puts distance between clients and a server: python -m benchmarks.proxy URL MICROSECONDS.

Every piece of bytes is passed on so many microseconds after it came, in either direction, however many are under way: the
line is longer, not narrower. Says {"ready": {"url": its own}}, and ends when its input is closed. What is under way lies in
memory without a bound, since the clients of a benchmark wait for replies.

One thread and `select`, whose timeouts have microseconds. Those of epoll, and so of every event loop here, are whole
milliseconds: the line would be up to twice as long as it was asked to be.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Collection
from urllib.parse import unquote, urlsplit

_PIECE = 1 << 18  # bytes of one read


class _AckQueue:
    """One direction of a line: what came from `source` and is not yet with `sink`."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float) -> None:
        self.source = source
        self.sink = sink
        self._delay = delay
        self._under_way: deque[tuple[float, memoryview]] = deque()
        self.over = False
        """The source has hung up. The empty piece that said so travels behind the others."""

    def due(self) -> float | None:
        """When the next piece is to be passed on."""
        return self._under_way[0][0] if self._under_way else None

    def take(self, now: float) -> None:
        piece = self.source.recv(_PIECE)
        self.over = not piece
        self._under_way.append((now + self._delay, memoryview(piece)))

    def give(self, now: float) -> None:
        """Pass on what is due, as far as the sink takes it. Raises EOFError where the source hung up."""
        while self._under_way and self._under_way[0][0] <= now:
            due, piece = self._under_way.popleft()
            if not piece:
                raise EOFError
            try:
                sent = self.sink.send(piece)
            except BlockingIOError:
                sent = 0
            if sent < len(piece):
                self._under_way.appendleft((due, piece[sent:]))
                return


class _Line:
    """A client's connection and the one to the server that was made for it."""

    def __init__(self, client: socket.socket, server: socket.socket, delay: float) -> None:
        for end in (client, server):
            end.setblocking(False)
            if end.family == socket.AF_INET:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lanes = (_AckQueue(client, server, delay), _AckQueue(server, client, delay))

    def pass_on(self, readable: Collection[object], now: float) -> bool:
        """False once an end has hung up: the line is closed."""
        try:
            for lane in self.lanes:
                if lane.source in readable:
                    lane.take(now)
                lane.give(now)
        except (EOFError, OSError):
            self.close()
            return False
        return True

    def close(self) -> None:
        for lane in self.lanes:
            lane.source.close()


def run(url: str, delay: float) -> None:
    """Serve until the standard input is closed."""
    lines: list[_Line] = []
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        own = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        print(json.dumps({"ready": {"url": own}}), flush=True)
        while True:
            lanes = [lane for line in lines for lane in line.lanes]
            sources = [lane.source for lane in lanes if not lane.over]
            dues = [(due, lane.sink) for lane in lanes if (due := lane.due()) is not None]
            now = time.monotonic()
            # What is due already was not taken by its sink; for the rest there is nothing to do before its time.
            full = [sink for due, sink in dues if due <= now]
            wait = min((due - now for due, _ in dues if due > now), default=None)
            readable, _, _ = select.select([sys.stdin, listener, *sources], full, [], wait)
            if sys.stdin in readable:
                break
            now = time.monotonic()
            lines = [line for line in lines if line.pass_on(readable, now)]
            if listener in readable:
                lines.append(_Line(listener.accept()[0], _connect(url), delay))
    for line in lines:
        line.close()


def _connect(url: str) -> socket.socket:
    place = urlsplit(url)
    if place.scheme == "unix":
        server = socket.socket(socket.AF_UNIX)
        server.connect(unquote(place.path))
        return server
    return socket.create_connection((place.hostname or "127.0.0.1", place.port or 6379))


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]) / 1e6)
