"""Middleware around adding and running jobs, and the context of the running job. Knows neither workers nor Redis."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from copy import copy
from typing import Any, Protocol, TypeVar

from msgspec import UNSET

from engine.errors import InvalidInput, InvalidOption
from engine.job import Job
from engine.model.options import JobOptions
from engine.model.records import NewJob, check_new

T = TypeVar("T")
R = TypeVar("R")
M = TypeVar("M", bound=Callable[..., Awaitable[Any]])


class AroundAdd(Protocol):
    """Middleware of a Queue: `async def m(new_job, call_next)`, called for each job before it is sent.

    It can change the job's name, data and options. `return await call_next(new_job)` sends the job and returns its Job.
    An exception is raised in the caller of `add`; if `call_next` was not called, nothing was sent.
    """

    async def __call__(
        self, new_job: NewJob, call_next: Callable[[NewJob], Awaitable[Job[Any, Any]]], /
    ) -> Job[Any, Any]: ...


class AroundRun(Protocol):
    """Middleware of a Worker: `async def m(job, call_next)`, called for each run of a job.

    `await call_next(job)` runs the processor, returns its result and raises its exception. The middleware's return value is
    the job's result, its exception fails the attempt. If it does not call `call_next`, the processor does not run.
    Context variables that it sets are visible to the processor, on the event loop and in a thread.
    """

    async def __call__(self, job: Job[Any, Any], call_next: Callable[[Job[Any, Any]], Awaitable[Any]], /) -> Any: ...


current_tenant: ContextVar[str | None] = ContextVar("current_tenant", default=None)
"""The `subAccountId` of the running job, set by the middleware `job_context`."""

_current_job: ContextVar[Job[Any, Any] | None] = ContextVar("current_job", default=None)


def current_job() -> Job[Any, Any] | None:
    """The job that the calling code runs for, in a worker with the middleware `job_context`; None elsewhere."""
    return _current_job.get()


async def job_context(job: Job[Any, Any], call_next: Callable[[Job[Any, Any]], Awaitable[Any]]) -> Any:
    """Worker middleware that sets `current_job()` and `current_tenant` for the code that the processor calls."""
    _current_job.set(job)
    current_tenant.set(job.tenant)
    return await call_next(job)


def check_middleware(given: Sequence[M] | None) -> tuple[M, ...]:
    """The middleware as a tuple, the first outermost. Raises InvalidInput for anything but coroutine functions."""
    if given is None:
        return ()
    if not isinstance(given, list | tuple):
        raise InvalidInput(f"middleware: {given!r} is not a list; write middleware=[...], the outermost first")
    checked = tuple(given)
    for one in checked:
        function = one if inspect.isroutine(one) else type(one).__call__
        if not inspect.iscoroutinefunction(function):
            raise InvalidInput(f"middleware: {one!r} is not a coroutine function; write `async def m(job, call_next)`")
        try:
            inspect.signature(one).bind("job", "call_next")
        except TypeError:
            raise InvalidInput(f"middleware: {one!r} does not take two arguments, (job, call_next)") from None
    return checked


def around(
    middleware: Sequence[Callable[[T, Callable[[T], Awaitable[R]]], Awaitable[R]]],
    call: Callable[[T], Awaitable[R]],
) -> Callable[[T], Awaitable[R]]:
    """`call` with the middleware around it, the first outermost."""
    for one in reversed(middleware):
        call = functools.partial(_pass, one, call)
    return call


def _pass(
    middleware: Callable[[T, Callable[[T], Awaitable[R]]], Awaitable[R]],
    call_next: Callable[[T], Awaitable[R]],
    subject: T,
) -> Awaitable[R]:
    return middleware(subject, call_next)


class HookedAdds:
    """A queue's `add` and `add_many` with middleware around each job. A changed job is checked again."""

    def __init__(
        self,
        middleware: Sequence[AroundAdd],
        add: Callable[..., Awaitable[Job[Any, Any]]],
        add_many: Callable[[Iterable[NewJob]], Awaitable[list[Job[Any, Any]]]],
    ) -> None:
        self._middleware = middleware
        self._add = add
        self._add_many = add_many

    async def add(self, name: Any, data: Any = UNSET, **options: Any) -> Job[Any, Any]:
        new = NewJob(name, data, **options)
        first = new.options

        async def send(changed: NewJob) -> Job[Any, Any]:
            own = options if _is_new(changed).options is first else _given(changed)
            target = name if changed.signature is not None and changed.signature is new.signature else changed.name
            return await self._add(target, changed.data, **own)

        return await around(self._middleware, send)(new)

    async def add_many(self, jobs: Iterable[NewJob]) -> list[Job[Any, Any]]:
        """Jobs are sent together once the middleware has passed all of them on; none is sent if the middleware of one raises."""
        new = list(jobs)
        check_new(new)
        return await _Together(new, self).run()

    async def through(self, new: NewJob, send: Callable[[NewJob], Awaitable[Job[Any, Any]]]) -> Job[Any, Any]:
        first = new.options

        async def checked(changed: NewJob) -> Job[Any, Any]:
            if _is_new(changed).options is not first:
                given, changed = _given(changed), copy(changed)
                changed.options = JobOptions.check(given)
            return await send(changed)

        return await around(self._middleware, checked)(new)

    async def send(self, jobs: Iterable[NewJob]) -> list[Job[Any, Any]]:
        return await self._add_many(jobs)


class _Together:
    """One `add_many` call: each job passes the middleware in a task of its own and waits at the end for the others."""

    def __init__(self, jobs: Sequence[NewJob], adds: HookedAdds) -> None:
        self._jobs = jobs
        self._adds = adds
        self._left = len(jobs)
        self._waiting: dict[int, tuple[NewJob, asyncio.Future[Job[Any, Any]]]] = {}
        self._all_arrived = asyncio.Event()

    async def run(self) -> list[Job[Any, Any]]:
        tasks = [asyncio.create_task(self._one(number, job)) for number, job in enumerate(self._jobs)]
        if not tasks:
            return []
        try:
            await self._all_arrived.wait()
            for task in tasks:
                if task.done():
                    task.result()  # raises the exception of a middleware
            await self._send()
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, number: int, job: NewJob) -> Job[Any, Any]:
        arrived = False

        async def arrive(new: NewJob) -> Job[Any, Any]:
            nonlocal arrived
            if arrived:  # the middleware retries
                return (await self._adds.send([new]))[0]
            arrived = True
            self._waiting[number] = new, asyncio.get_running_loop().create_future()
            self._count()
            return await self._waiting[number][1]

        try:
            return await self._adds.through(job, arrive)
        except BaseException:
            self._all_arrived.set()
            raise
        finally:
            if not arrived:
                self._count()

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            self._all_arrived.set()

    async def _send(self) -> None:
        waiting = [self._waiting[number] for number in sorted(self._waiting)]
        try:
            made = await self._adds.send([new for new, _ in waiting])
        except Exception as error:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), job in zip(waiting, made, strict=True):
            if not future.done():
                future.set_result(job)


def _is_new(given: Any) -> NewJob:
    if not isinstance(given, NewJob):
        raise InvalidInput(f"middleware: call_next got {given!r}; pass it a NewJob, the same or another")
    return given


def _given(new: NewJob) -> dict[str, Any]:
    if not isinstance(new.options, JobOptions):
        raise InvalidOption(f"options: {new.options!r} are not JobOptions; write new_job.change(delay=5_000)")
    return new.options.given()
