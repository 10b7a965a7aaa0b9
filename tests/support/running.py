"""A worker that runs for the length of a block, and waiting for a condition instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from engine import Worker


@asynccontextmanager
async def running(worker: Worker, *, timeout: float = 5) -> AsyncIterator[Worker]:
    """Run the worker until the block ends, then close it and see that it ended well."""
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.close(timeout=round(timeout * 1000))
        await task


async def until(condition: Callable[[], Any | Awaitable[Any]], what: str, *, timeout: float = 10) -> Any:
    """Wait until the condition is true and return what it gave; fail with `what` was waited for."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                found = condition()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {timeout} s in vain until {what}") from None
