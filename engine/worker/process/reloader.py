"""`corral worker --reload`: a worker process that is started again when a Python file of the current folder changes.

For development. Needs the package watchfiles, of the extra `reload`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from engine.errors import MissingExtra
from engine.worker.process.parent import WorkerProcess

logger = logging.getLogger("engine.worker")


class Reloader:
    """Runs one worker process with these arguments and this environment, until SIGTERM or SIGINT.

    A process that ends by itself, such as one with a syntax error in its module, is started again at the next change.
    Raises MissingExtra without watchfiles.
    """

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        if find_spec("watchfiles") is None:
            raise MissingExtra("--reload", "reload")
        self._arguments = arguments
        self._env = env
        self._stopping = asyncio.Event()
        self._child: WorkerProcess | None = None
        self._code = 0

    async def run(self) -> int:
        """Run until a signal; the exit code of the last worker process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        life = await self._start()
        try:
            async for name in _changes(str(Path.cwd()), self._stopping):
                logger.info("%s changed; the worker is started again", name)
                self._end(signal.SIGTERM)
                await life
                life = await self._start()
        finally:
            if not self._stopping.is_set():  # else the signal has been passed on, and a second one would cut jobs off
                self._end(signal.SIGTERM)
            await life
        return self._code if self._code >= 0 else 1

    async def _start(self) -> asyncio.Task[None]:
        """Start a worker process; the task ends when the process has ended."""
        self._child = await WorkerProcess.start(self._arguments, env=self._env)
        if self._stopping.is_set():
            self._end(signal.SIGTERM)
        return asyncio.create_task(self._wait(self._child))

    async def _wait(self, child: WorkerProcess) -> None:
        self._code = await child.wait()
        self._child = None
        if self._code and not self._stopping.is_set():
            logger.warning("The worker has ended with exit code %s; it starts again when a file changes", self._code)

    def _end(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.signal(number)

    def _stop(self, number: signal.Signals) -> None:
        self._stopping.set()
        self._end(number)


async def _changes(folder: str, stop: asyncio.Event) -> AsyncIterator[str]:
    """The name of a changed file, for each group of changes, until `stop` is set."""
    from watchfiles import PythonFilter, awatch

    async for changed in awatch(folder, watch_filter=PythonFilter(), stop_event=stop, debounce=400, step=100):
        yield min(path for _, path in changed).removeprefix(f"{folder}/")
