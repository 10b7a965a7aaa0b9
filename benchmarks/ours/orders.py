"""How our programs hear orders and answer; side.py has the words."""

from __future__ import annotations

import asyncio
import json
import platform
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from importlib.metadata import version
from typing import Any

import uvloop

Order = dict[str, Any]


def run(main: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Run a program's main with the URL that it was given."""
    uvloop.run(main(sys.argv[1]))


async def orders() -> AsyncIterator[Order]:
    """Say ready, then each order until the input is closed."""
    libraries = ("hiredis", "msgspec", "uvloop")
    say(ready={"python": platform.python_version(), **{name: version(name) for name in libraries}})
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield json.loads(line)


def say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def data(number: int, order: Order) -> dict[str, Any]:
    """The data of a job of this order."""
    return {"n": number, "text": "x" * 80, **order.get("data", {})}


def now_us() -> int:
    return time.monotonic_ns() // 1000
