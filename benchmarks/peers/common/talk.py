"""How a Python rival's programs hear orders and answer; side.py has the words. Runs in the rival's own environment, so it
needs nothing but the standard library, and is imported as `talk`: this folder is on the program's path."""

from __future__ import annotations

import asyncio
import json
import platform
import sys
import time
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from threading import Lock
from typing import Any

Order = dict[str, Any]


def url() -> str:
    """The server's, as the harness gave it."""
    return sys.argv[1]


def say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def orders(*libraries: str) -> Iterator[Order]:
    """Say ready with the versions of these libraries, then each order until the input is closed."""
    say(ready={"python": platform.python_version(), **{name: version(name) for name in libraries}})
    for line in iter(sys.stdin.readline, ""):
        yield json.loads(line)


async def orders_async(*libraries: str) -> AsyncIterator[Order]:
    """The same for a program with a loop, which goes on while it waits for the next order."""
    heard = orders(*libraries)
    while (order := await asyncio.to_thread(next, heard, None)) is not None:
        yield order


def data(number: int, order: Order) -> dict[str, Any]:
    """The data of a job of this order."""
    return {"n": number, "text": "x" * 80, **order.get("data", {})}


def now_us() -> int:
    return time.monotonic_ns() // 1000


class Tally:
    """What the handler of a job does, and what it has counted: `begun`, then the wait if it is to sleep, then `done`."""

    def __init__(self) -> None:
        self.wanted = -1
        self.handled = 0
        self.delays: list[int] = []
        self._alone = Lock()

    def begun(self, given: dict[str, Any]) -> None:
        for mark in ("sent", "due"):
            if mark in given:
                self.delays.append(now_us() - given[mark])
        if "burn" in given:
            ends = time.thread_time_ns() + given["burn"] * 1000
            while time.thread_time_ns() < ends:
                pass

    def done(self, given: dict[str, Any], tried: int = 0) -> None:
        """`tried`: how many times it ran before."""
        with self._alone:
            self.handled += 1
            last = self.handled == self.wanted
        if last:
            say(handled=self.wanted)
        if tried < given.get("fail", 0):
            raise RuntimeError("fails as ordered")

    def ended(self) -> None:
        say(ended={"handled": self.handled, "delays": self.delays})
