"""Batches: gathers jobs of one processor, runs them together, and gives each job its own result."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from engine.errors import WrongResults
from engine.job import Job
from engine.processor import Processor
from engine.worker.active_jobs import ActiveJob, StopReason
from engine.worker.run_in.threads import Threads, thread_job


class Batches:
    """The batches of one worker. A job that joins a batch waits for its own result.

    Each batch runs as a task of its own, in a context of its own, so a slow batch delays no other. `begin` is
    called for each job of a batch when the batch begins.
    """

    def __init__(self, threads: Threads, begin: Callable[[ActiveJob], None]) -> None:
        self._threads = threads
        self._begin = begin
        self._gathering: dict[Processor[Any, Any], _Batch] = {}
        self._context = contextvars.copy_context()  # a batch must not inherit a job's
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        waiting = sum(len(batch.places) for batch in self._gathering.values())
        return f"<Batches {len(self._gathering)} gathering, {waiting} jobs wait>"

    async def join(self, active: ActiveJob, job: Job[Any, Any]) -> Any:
        """The result of this job, or the exception of its batch, raised.

        A cancelled job leaves a batch that still gathers. It cannot leave one that runs: a batch is cancelled when all
        its jobs are, and each stays until the function has returned.
        """
        processor = active.processor
        assert processor is not None
        assert processor.batch is not None
        batch = self._gathering.get(processor)
        if batch is None:
            batch = self._gathering[processor] = _Batch(processor)
            self._later(processor.batch.wait, batch)
        place = _Place(active, job, self._loop.create_future())
        batch.places.append(place)
        if len(batch.places) == processor.batch.size:
            self._close(batch)
        while True:
            try:
                result, error, stack = await asyncio.shield(place.outcome)
                break
            except asyncio.CancelledError:
                if batch.task is None or place not in batch.places:
                    self._leave(batch, place)
                    raise
                batch.cancelled(place)
        if error is not None:
            # The jobs of a batch may share one exception, whose stack would grow with each that raises it.
            raise error.with_traceback(stack)
        return result

    def _later(self, wait: int, batch: _Batch) -> None:
        if wait:
            batch.timer = self._loop.call_later(wait / 1000, self._close, batch, context=self._context)
        else:
            # Two ticks: jobs of one claim come within the next.
            self._loop.call_soon(
                lambda: self._loop.call_soon(self._close, batch, context=self._context), context=self._context
            )

    def _leave(self, batch: _Batch, place: _Place) -> None:
        if place in batch.places:
            batch.places.remove(place)
            if not batch.places:
                self._forget(batch)

    def _close(self, batch: _Batch) -> None:
        """Admit no more jobs; begin at the end of this tick."""
        if self._forget(batch):
            self._loop.call_soon(self._start, batch, context=self._context)

    def _forget(self, batch: _Batch) -> bool:
        """Whether it was still gathering."""
        if self._gathering.get(batch.processor) is not batch:
            return False
        del self._gathering[batch.processor]
        if batch.timer is not None:
            batch.timer.cancel()
        return True

    def _start(self, batch: _Batch) -> None:
        # Jobs that were lost or given up meanwhile are about to be cancelled.
        batch.places = [
            place for place in batch.places if place.active.stop_reason is None and place.active.outcome is None
        ]
        if batch.places:
            for place in batch.places:
                self._begin(place.active)
            batch.task = self._loop.create_task(self._run(batch))

    async def _run(self, batch: _Batch) -> None:
        jobs = [place.job for place in batch.places]
        try:
            parts = read_results(await self._call(batch.processor, jobs), jobs, batch.processor)
        except BaseException as error:  # each job's runner judges it
            parts = [error] * len(jobs)
        for place, part in zip(batch.places, parts, strict=True):
            if isinstance(part, BaseException):
                place.outcome.set_result((None, part, part.__traceback__))
            else:
                place.outcome.set_result((part, None, None))

    async def _call(self, processor: Processor[Any, Any], jobs: list[Job[Any, Any]]) -> Any:
        if processor.run_in == "loop":
            return await processor.function(jobs)
        result = await self._threads.run(processor.function, [thread_job(job) for job in jobs])
        return await result if inspect.isawaitable(result) else result


class _Place:
    """A job in a batch. `outcome`: result, exception, the exception's stack; it is never cancelled."""

    __slots__ = ("active", "is_cancelled", "job", "outcome")

    def __init__(
        self,
        active: ActiveJob,
        job: Job[Any, Any],
        outcome: asyncio.Future[tuple[Any, BaseException | None, TracebackType | None]],
    ) -> None:
        self.active = active
        self.job = job
        self.outcome = outcome
        self.is_cancelled = False


class _Batch:
    """Jobs of one processor. It gathers until it is closed, and runs once it has a task."""

    def __init__(self, processor: Processor[Any, Any]) -> None:
        self.processor = processor
        self.places: list[_Place] = []
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None

    def cancelled(self, place: _Place) -> None:
        """This job is cancelled; the batch too, if all its jobs are."""
        place.is_cancelled = True
        if self.task is None or not all(place.is_cancelled for place in self.places):
            return
        # A thread cannot be stopped: while its jobs are lost, their slots stay taken until it returns.
        if self.processor.run_in == "loop" or any(
            place.active.stop_reason is not StopReason.LOST for place in self.places
        ):
            self.task.cancel()


def read_results(answer: Any, jobs: list[Job[Any, Any]], processor: Processor[Any, Any]) -> list[Any]:
    """A result or an exception for each job, from the return value of a batch processor. Raises WrongResults."""
    if isinstance(answer, BaseException):  # Retry may be returned as well as raised
        raise answer
    if answer is None:
        return [None] * len(jobs)
    if isinstance(answer, Mapping):
        return [answer[job.id] if job.id in answer else _missing(answer, job, jobs, processor) for job in jobs]
    if not isinstance(answer, list | tuple):
        raise WrongResults(
            f"{processor!r} returned {type(answer).__name__} for a batch; return a list with a result or an exception for "
            "each job, a dict of them by job.id, or None"
        )
    if len(answer) != len(jobs):
        raise WrongResults(
            f"{processor!r} returned {len(answer)} results for {len(jobs)} jobs; return one for each job, in their order, or "
            "a dict of them by job.id"
        )
    return list(answer)


def _missing(
    answer: Mapping[Any, Any], job: Job[Any, Any], jobs: list[Job[Any, Any]], processor: Processor[Any, Any]
) -> WrongResults:
    strangers = sorted(repr(key) for key in answer.keys() - {job.id for job in jobs})
    besides = f"; it has {', '.join(strangers[:3])}, no ids of this batch" if strangers else ""
    return WrongResults(f"{processor!r} returned a dict without this job's id {job.id!r}{besides}")
