"""WorkerGroup: workers of many queues in one process, over few connections."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import timedelta
from logging import getLogger
from types import TracebackType
from typing import Any, Self

from engine.errors import InvalidOption
from engine.worker.shared import SharedParts
from engine.worker.signals import stop_on_signals
from engine.worker.worker import CLOSE_TIMEOUT, Worker

logger = getLogger("engine.worker")

PartsByServer = dict[Any, SharedParts]
"""Shared parts by the server and by how it is checked."""


def share_parts(workers: Iterable[Worker], parts: PartsByServer) -> None:
    """Let these workers share their connections with each other, and with those that got theirs from `parts` before."""
    for worker in workers:
        options = worker._options
        if type(worker)._connect is not Worker._connect:
            continue  # its connections are special, as those of engine.testing
        server = (options.redis, options.allow, options.require_durable)
        if server not in parts:
            parts[server] = SharedParts(
                worker.name,
                f"corral:{worker.name}",
                worker._connect,
                allow=options.allow,
                require_durable=options.require_durable,
            )
        worker._shared = parts[server]


class WorkerGroup:
    """Runs workers of many queues in one process. They share the connections to Redis and the thread that renews locks.

    Use it for two queues or a thousand: `await WorkerGroup(Worker("sms", send_sms), Worker("email", send_email)).run()`. Each
    worker keeps its own options, listeners and counters. `corral worker` does the same. How many connections there are:
    docs/workers.md.
    Raises InvalidOption without a worker, and for two workers of one queue: raise `concurrency` instead.
    """

    def __init__(self, *workers: Worker) -> None:
        if not workers:
            raise InvalidOption(
                "WorkerGroup: no worker was given; pass them, such as WorkerGroup(Worker('sms', send_sms))"
            )
        queues: set[Any] = set()
        for worker in workers:
            queue = worker._options.redis, worker._options.keys.jobs
            if queue in queues:
                raise InvalidOption(
                    f"WorkerGroup: two workers have the queue {worker.queue_name!r}; give one, with more concurrency"
                )
            queues.add(queue)
        self.workers = workers
        self._task: asyncio.Task[None] | None = None
        share_parts(workers, {})

    def __repr__(self) -> str:
        return f"<WorkerGroup of {len(self.workers)} workers>"

    async def run(self, *, handle_signals: bool = True) -> None:
        """Run every worker until `close` or `stop_now`, or until the process gets SIGTERM or SIGINT: see `Worker.run`.

        If one cannot start, or ends with an error, the others are closed and the error is raised.
        """
        with stop_on_signals(self._signalled) if handle_signals else nullcontext():
            runs = [asyncio.create_task(worker.run(handle_signals=False)) for worker in self.workers]
            try:
                await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
                if not all(run.done() for run in runs):
                    await self.close()
                await asyncio.gather(*runs)
            except asyncio.CancelledError:
                for run in runs:
                    run.cancel()
                await asyncio.wait(runs)
                raise

    def _signalled(self, number: signal.Signals, count: int) -> None:
        if count == 1:
            running = sum(len(worker.running_jobs()) for worker in self.workers)
            logger.info(
                "%s: %d running jobs have %g s to finish; a second signal stops at once",
                number.name,
                running,
                CLOSE_TIMEOUT / 1000,
            )
        else:
            logger.warning("%s again: stopping at once; running jobs are released", number.name)
        for worker in self.workers:
            if count == 1:
                worker._request.ask(CLOSE_TIMEOUT / 1000)
            else:
                worker._request.ask_at_once()

    async def close(self, timeout: int | timedelta = CLOSE_TIMEOUT) -> None:
        """Close every worker, at the same time: see `Worker.close`."""
        await asyncio.gather(*(worker.close(timeout) for worker in self.workers))

    async def stop_now(self) -> None:
        """Stop every worker at once: see `Worker.stop_now`."""
        await asyncio.gather(*(worker.stop_now() for worker in self.workers))

    async def __aenter__(self) -> Self:
        """Run in the background until the block ends. Returns once every worker claims jobs. Signals are the program's."""
        self._task = asyncio.create_task(self.run(handle_signals=False), name="worker group")
        ready = asyncio.create_task(self._all_ready())
        await asyncio.wait([self._task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task
        return self

    async def _all_ready(self) -> None:
        for worker in self.workers:
            await worker.ready.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        if self._task is not None:
            await self._task
