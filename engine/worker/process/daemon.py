"""`python -m engine.worker`: one process that works on one or more queues until it is told to stop.

Knows signals, exit codes and what is said at the start and the end; how jobs are run is the Worker's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Collection, Coroutine, Iterator, Sequence
from typing import Any

from engine.connection import open_link
from engine.errors import ConnectFailed, CorralError, InvalidInput, ServerUnfit
from engine.middleware import AroundRun
from engine.model.clock import read_duration
from engine.processor import Processor
from engine.worker.active_jobs import ActiveJob
from engine.worker.process.arguments import PASSWORD_SHOWN, Options, for_children, read_arguments
from engine.worker.process.discovery import load_list, load_processors
from engine.worker.process.from_settings import worker_options
from engine.worker.process.health import HealthServer, Report
from engine.worker.process.logs import set_up_logging
from engine.worker.process.parent import Lifeline
from engine.worker.process.stack_dump import Running, dump_on_signal
from engine.worker.process.supervisor import UNFIT, Supervisor
from engine.worker.worker import Worker

logger = logging.getLogger("engine.worker")

_HEALTH_AGE = "15s"
_MARGIN = 8.0
"""Seconds beyond the grace time after which the process ends itself, though its event loop be blocked."""


def main(argv: Sequence[str] | None = None) -> int:
    """Work until told to stop; the exit code."""
    options = read_arguments(argv)
    set_up_logging(options.log_level, as_json=options.log_json)
    if options.redis_is_given and options.redis.password is not None:
        logger.warning("%s", PASSWORD_SHOWN)
    try:
        if options.processes > 1 and options.supervised is None:
            return _supervise(sys.argv[1:] if argv is None else argv, options)
        processors = load_processors(options.target)
        dependencies = load_list(options.target, "DEPENDENCIES")
        middleware = load_list(options.target, "MIDDLEWARE")
        return _run(Daemon(options, processors, dependencies, middleware).run())
    except InvalidInput as error:
        return _say(error, 2, options)
    except ServerUnfit as error:
        return _say(error, UNFIT, options)
    except CorralError as error:
        return _say(error, 1, options)
    except KeyboardInterrupt:
        return 1
    except Exception as error:
        traceback.print_exc()
        return _say(f"{type(error).__name__}: {error}", 1, options)


def _supervise(arguments: Sequence[str], options: Options) -> int:
    supervisor = Supervisor(
        *for_children(arguments, options), options.processes, grace=options.grace / 1000, health=options.health
    )
    return asyncio.run(supervisor.run())


def _run(main: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def _say(error: object, code: int, options: Options) -> int:
    """Say what went wrong, as one line; the exit code again."""
    if options.log_json:
        logger.error("%s", error)
    else:
        print(f"python -m engine.worker: {error}", file=sys.stderr)
    return code


class Daemon:
    """Workers for some queues on one event loop, from the start to the last job."""

    def __init__(
        self,
        options: Options,
        processors: Sequence[Processor[Any, Any]],
        dependencies: Sequence[Any] = (),
        middleware: Sequence[AroundRun] = (),
    ) -> None:
        self._options = options
        self._dependencies = dependencies
        self._middleware = middleware
        self._began = time.monotonic()
        self._signals = 0
        self._cut_off = False
        self._is_up = False
        self._stopping = False
        self._awaited: asyncio.Task[None] | None = None
        self._max_age = _health_age()
        self._workers = {queue: self._worker(queue, processors) for queue in _queues(options, processors)}
        supervised = options.supervised
        self._lifeline = None if supervised is None else Lifeline(supervised, self.report)
        place = options.health if supervised is None else None
        self._health = HealthServer(place, self.report) if place else None

    def _worker(self, queue: str, processors: Sequence[Processor[Any, Any]]) -> Worker:
        options = self._options
        return Worker(
            queue,
            *processors,
            redis=options.redis,
            prefix=options.prefix,
            concurrency=options.concurrency_of(queue),
            name=options.name,
            lock_duration=options.lock_duration,
            stalled_interval=options.stalled_interval,
            max_stalled=options.max_stalled,
            limiter=options.limiter,
            allow=options.allow,
            require_durable=options.require_durable,
            middleware=self._middleware,
            dependencies=self._dependencies,
            **worker_options(options.settings),
        )

    async def run(self) -> int:
        """Work until a signal. Raises what kept a worker from starting or ended it."""
        self._watch_signals(asyncio.get_running_loop())
        dump_on_signal(self._running)
        if self._lifeline:
            self._lifeline.start()
        if self._health:
            logger.info("Health at %s", await self._health.start())
        runs: list[asyncio.Task[None]] = []
        try:
            if await self._redis_is_there():
                runs += [asyncio.create_task(worker.run(handle_signals=False)) for worker in self._workers.values()]
                await self._come_up(runs)
                await asyncio.gather(*runs)
        finally:
            await self._end(runs)
        return 1 if self._cut_off or any(worker.left_behind for worker in self._workers.values()) else 0

    async def _redis_is_there(self) -> bool:
        """Wait for Redis, which may have been started at the same time; False after a signal. Raises what kept it away."""
        self._awaited = asyncio.create_task(self._wait_for_redis())
        await asyncio.wait([self._awaited])
        if not self._awaited.cancelled():
            self._awaited.result()
        return not self._stopping

    async def _wait_for_redis(self) -> None:
        redis, patience = self._options.redis, self._options.wait_for_redis / 1000
        try:
            link = await open_link(redis)
        except ConnectFailed as failure:
            if not patience or not failure.transient:
                raise
            logger.warning("Waiting up to %g s for Redis (--wait-for-redis): %s", patience, failure)
            began = time.monotonic()
            link = await open_link(redis, wait=patience)
            logger.info("Redis is there after %.1f s", time.monotonic() - began)
        await link.close()

    async def _come_up(self, runs: Sequence[asyncio.Task[None]]) -> None:
        """Wait until every worker is ready, one has failed, or a signal has come."""
        ready = asyncio.create_task(self._all_ready())
        await asyncio.wait((ready, *runs), return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not self._stopping:
            self._is_up = True
            queues = ", ".join(f"{queue} ({self._options.concurrency_of(queue)})" for queue in self._workers)
            logger.info("Working on %s", queues)
        ready.cancel()

    async def _all_ready(self) -> None:
        for worker in self._workers.values():
            await worker.ready.wait()

    async def _end(self, runs: Sequence[asyncio.Task[None]]) -> None:
        """After a failure of one worker the others are closed too; after a stop there is nothing left to do."""
        self._stopping = True
        if not all(run.done() for run in runs):
            await self._close()
        await asyncio.gather(*runs, return_exceptions=True)
        if self._health:
            await self._health.close()

    def _close(self) -> asyncio.Future[Any]:
        return asyncio.gather(*(worker.close(timeout=self._options.grace) for worker in self._workers.values()))

    # --- signals ------------------------------------------------------------------------------------------------------

    def _watch_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not loop.add_signal_handler: that waits for the loop, and this must also end a process whose loop is blocked.
        def note(*_: object) -> None:
            self._signals += 1
            if self._signals > 2:
                os._exit(1)
            _end_after(_MARGIN if self._signals == 2 else self._options.grace / 1000 + _MARGIN)
            loop.call_soon_threadsafe(self._stop, self._signals)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, note)

    def _stop(self, count: int) -> None:
        self._stopping = True
        if self._awaited is not None:
            self._awaited.cancel()
        if count == 1:
            running = sum(1 for _ in self._running())
            logger.info("Stopping; %s running jobs have %g s to end", running, self._options.grace / 1000)
            # Set before the workers' own timers, so that it sees the jobs that these are about to cut off.
            asyncio.get_running_loop().call_later(self._options.grace / 1000, self._look_for_the_late)
            self._closing = self._close()
        else:
            logger.warning("Stopping now; jobs that are running will be taken over by other workers")
            self._look_for_the_late()
            self._closing = asyncio.gather(*(worker.stop_now() for worker in self._workers.values()))

    def _look_for_the_late(self) -> None:
        self._cut_off = self._cut_off or any(_held(worker) for worker in self._workers.values())

    # --- what can be asked --------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """How it goes. Safe to call from any thread."""
        now = time.monotonic()
        ages = {queue: now - (worker.last_turn or self._began) for queue, worker in self._workers.items()}
        queues = {
            queue: {"running": len(_held(worker)), "lastTurn": round(ages[queue], 3)}
            for queue, worker in self._workers.items()
        }
        if self._stopping:
            return Report(status="draining", queues=queues)
        if not self._is_up:
            waits = self._awaited is not None and not self._awaited.done()
            return Report(status="failing", reason="waiting for Redis" if waits else "starting", queues=queues)
        late = [f"{queue}: no turn for {age:.0f} s" for queue, age in ages.items() if age > self._max_age]
        return Report(status="failing" if late else "ok", reason="; ".join(late), queues=queues)

    def _running(self) -> Iterator[Running]:
        now = time.monotonic()
        for worker in self._workers.values():
            for active in list(_held(worker)):
                on_loop = active.run_in == "loop"
                title = f"{active.claimed.name} job {active.claimed.id} of {worker.queue_name}, for {now - active.since:.1f} s"
                yield Running(title, active.task if on_loop else None)


def _held(worker: Worker) -> Collection[ActiveJob]:
    # Not running_jobs(): that is for the loop's own thread, and has no tasks.
    return worker._runtime.slots.running if worker._runtime else ()


def _queues(options: Options, processors: Sequence[Processor[Any, Any]]) -> list[str]:
    """The queues asked for, else one for each processor that has a name."""
    if options.queues:
        return list(options.queues)
    names = [processor.name for processor in processors if processor.name]
    if not names:
        raise InvalidInput(f"{options.target}: its processors have no names to make queues of; say --queue NAME")
    return [f"{name}-queue" for name in dict.fromkeys(names)]


def _health_age() -> float:
    """Seconds after which a worker without a turn is failing."""
    return read_duration("CORRAL_HEALTH_AGE", os.environ.get("CORRAL_HEALTH_AGE") or _HEALTH_AGE) / 1000


def _end_after(seconds: float) -> None:
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
