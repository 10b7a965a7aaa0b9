"""`corral worker`: one process with a Worker for each of its queues, until a signal stops it.

Handles signals, exit codes, and the log lines of start and stop; the Worker runs the jobs.
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
from contextlib import AsyncExitStack
from typing import Any

from engine.connection import Connection, RedisPyLink, RedisSettings, open_link
from engine.errors import ConnectFailed, CorralError, InvalidInput, ServerUnfit
from engine.model.clock import read_duration
from engine.processor import Processor
from engine.queue import Queue
from engine.worker.active_jobs import ActiveJob
from engine.worker.group import share_parts
from engine.worker.process.arguments import PASSWORD_SHOWN, PROG, Options, for_children, read_arguments
from engine.worker.process.discovery import Target, load_target
from engine.worker.process.from_settings import worker_options
from engine.worker.process.health import HealthServer, Report
from engine.worker.process.logs import set_up_logging
from engine.worker.process.parent import Lifeline
from engine.worker.process.reloader import Reloader
from engine.worker.process.stack_dump import Running, dump_on_signal
from engine.worker.process.supervisor import UNFIT, Supervisor
from engine.worker.worker import Worker

logger = logging.getLogger("engine.worker")

_HEALTH_AGE = "15s"
_MARGIN = 8.0
"""Seconds beyond the grace time after which the process ends itself, even if its event loop is blocked."""
_BURST_LOOK = 0.2
_BURST_LOOKS = 5
"""With --burst: seconds between two looks at the queues, and how many in a row must find them empty. A claim may be on its
way from Redis at any one of them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal; the exit code."""
    words = sys.argv[1:] if argv is None else argv
    options = read_arguments(words)
    set_up_logging(options.log_level, as_json=options.log_json)
    if options.redis_is_given and options.redis.password is not None:
        logger.warning("%s", PASSWORD_SHOWN)
    try:
        if options.reload:
            return asyncio.run(Reloader(*for_children(words, options)).run())
        if options.processes > 1 and options.supervised is None:
            return _supervise(words, options)
        return _run(Daemon(options, load_target(options.target)).run())
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
    """Report an error in one line; returns the exit code."""
    if options.log_json:
        logger.error("%s", error)
    else:
        print(f"{PROG}: {error}", file=sys.stderr)
    return code


class Daemon:
    """The workers of one process, on one event loop: starts them, stops them on signals, reports their health."""

    def __init__(self, options: Options, target: Target) -> None:
        self._options = options
        self._began = time.monotonic()
        self._signals = 0
        self._cut_off = False
        self._is_up = False
        self._stopping = False
        self._awaited: asyncio.Task[None] | None = None
        self._max_age = _health_age()
        self._workers = _given(options, target.workers) if target.workers else self._made(target)
        share_parts(self._workers.values(), {})
        supervised = options.supervised
        self._lifeline = None if supervised is None else Lifeline(supervised, self.report)
        place = options.health if supervised is None else None
        self._health = HealthServer(place, self.report) if place else None

    def _made(self, target: Target) -> dict[str, Worker]:
        return {queue: self._worker(queue, target) for queue in _queues(self._options, target.processors)}

    def _worker(self, queue: str, target: Target) -> Worker:
        options = self._options
        return Worker(
            queue,
            *target.processors,
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
            middleware=target.middleware,
            dependencies=target.dependencies,
            **worker_options(options.settings) | _retention(options),
        )

    async def run(self) -> int:
        """Run until a signal, or with --burst until the queues are empty. Raises what kept a worker from starting or ended it."""
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
                if self._options.burst:
                    runs.append(asyncio.create_task(self._until_empty()))
                await asyncio.gather(*runs)
        finally:
            await self._end(runs)
        return 1 if self._cut_off or any(worker.left_behind for worker in self._workers.values()) else 0

    async def _redis_is_there(self) -> bool:
        """Wait for Redis, which may have been started at the same time; False after a signal. Raises ConnectFailed and others."""
        self._awaited = asyncio.create_task(self._wait_for_redis())
        await asyncio.wait([self._awaited])
        if not self._awaited.cancelled():
            self._awaited.result()
        return not self._stopping

    async def _wait_for_redis(self) -> None:
        for redis in {worker._options.redis for worker in self._workers.values()}:
            await self._reach(redis, self._options.wait_for_redis / 1000)

    async def _reach(self, redis: RedisSettings, patience: float) -> None:
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
        """Wait until every worker is ready, one has failed, or a signal was received."""
        ready = asyncio.create_task(self._all_ready())
        await asyncio.wait((ready, *runs), return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not self._stopping:
            self._is_up = True
            queues = ", ".join(f"{queue} ({worker.concurrency})" for queue, worker in self._workers.items())
            logger.info("Working on %s", queues)
        ready.cancel()

    async def _all_ready(self) -> None:
        for worker in self._workers.values():
            await worker.ready.wait()

    async def _until_empty(self) -> None:
        """Close the workers once no job waits in their queues and none runs here."""
        async with AsyncExitStack() as stack:
            links = {redis: await _linked(redis, stack) for redis in {w._options.redis for w in self._workers.values()}}
            queues = [(worker, _queue_of(worker, links[worker._options.redis])) for worker in self._workers.values()]
            for _, queue in queues:
                await stack.enter_async_context(queue)
            empty = 0
            while empty < _BURST_LOOKS and not self._stopping:
                await asyncio.sleep(_BURST_LOOK)
                empty = empty + 1 if all([await _is_empty(worker, queue) for worker, queue in queues]) else 0
        if not self._stopping:
            self._stopping = True
            logger.info("The queues are empty")
            await self._close()

    async def _end(self, runs: Sequence[asyncio.Task[None]]) -> None:
        """Close the other workers after one has failed; after a stop they are closed already."""
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
        # Not loop.add_signal_handler, which waits for the loop: this must end a process whose loop is blocked, too.
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
            if running:
                jobs = "1 running job has" if running == 1 else f"{running} running jobs have"
                logger.info("Stopping; %s %g s to end (--grace)", jobs, self._options.grace / 1000)
            else:
                logger.info("Stopping; no job is running")
            # Set before the workers' own timers, so that it sees the jobs that they are about to cut off.
            asyncio.get_running_loop().call_later(self._options.grace / 1000, self._look_for_the_late)
            self._closing = self._close()
        else:
            logger.warning("Stopping now; jobs that are running will be taken over by other workers")
            self._look_for_the_late()
            self._closing = asyncio.gather(*(worker.stop_now() for worker in self._workers.values()))

    def _look_for_the_late(self) -> None:
        self._cut_off = self._cut_off or any(_held(worker) for worker in self._workers.values())

    # --- health and stacks --------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """The state for health checks. Safe to call from any thread."""
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


async def _linked(redis: RedisSettings, stack: AsyncExitStack) -> Connection | RedisPyLink:
    link = await open_link(redis)
    stack.push_async_callback(link.close)
    return link


def _queue_of(worker: Worker, link: Connection | RedisPyLink) -> Queue:
    return Queue(worker.queue_name, link=link, prefix=worker._options.keys.prefix)


async def _is_empty(worker: Worker, queue: Queue) -> bool:
    """Whether no job waits that this worker could take, and none runs here."""
    if _held(worker):
        return False
    try:
        counts = await queue.counts()
        return not counts.waiting + counts.prioritized or await queue.is_paused()
    except CorralError:  # Redis is away, which the worker itself lives through and reports
        return False


def _given(options: Options, workers: Sequence[Worker]) -> dict[str, Worker]:
    """Workers of the user's own, by their queues."""
    if options.for_workers:
        raise InvalidInput(
            f"{options.for_workers[0]}: {options.target} is a Worker, which has its own options; set it there"
        )
    names = [worker.queue_name for worker in workers]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"{options.target}: two workers have the queue {name!r}; one process runs one of each")
    return dict(zip(names, workers, strict=True))


def _retention(options: Options) -> dict[str, Any]:
    found = {"remove_on_complete": options.keep_completed, "remove_on_fail": options.keep_failed}
    return {name: keep for name, keep in found.items() if keep is not None}


def _queues(options: Options, processors: Sequence[Processor[Any, Any]]) -> list[str]:
    """The queues of --queue, else one for each processor that has a name."""
    if options.queues:
        return list(options.queues)
    names = [processor.name for processor in processors if processor.name]
    if not names:
        raise InvalidInput(f"{options.target}: its processors have no names to make queues of; give --queue NAME")
    return [f"{name}-queue" for name in dict.fromkeys(names)]


def _health_age() -> float:
    """Seconds after which a worker without a turn is failing."""
    return read_duration("CORRAL_HEALTH_AGE", os.environ.get("CORRAL_HEALTH_AGE") or _HEALTH_AGE) / 1000


def _end_after(seconds: float) -> None:
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
