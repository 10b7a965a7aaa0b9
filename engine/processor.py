"""The face of a processor: a function or class that does the jobs of one type. Knows nothing of workers and Redis."""

from __future__ import annotations

import inspect
import logging
import typing
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache, reduce
from operator import or_
from types import NoneType, UnionType
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Literal,
    Never,
    NoReturn,
    Protocol,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    overload,
)

from msgspec import Struct

from engine.errors import InvalidInput, InvalidOption, Retry, UnrecoverableError
from engine.job import Job
from engine.model.backoff import Backoff, BackoffOption
from engine.model.checks import whole_number
from engine.model.clock import duration_ms
from engine.model.options import limit_ms
from engine.model.records import Addable, D, JobSignature, R

RunIn = Literal["loop", "thread", "process"]
ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]
RetryIf = Callable[[BaseException, int], bool]
"""Whether an attempt that raised this error is followed by another; the number says which attempt it was, 1 for the first."""
Results = Sequence[Any] | Mapping[str, Any] | None
"""What a batch came to: a result or an exception for each job in order, or by job id; None where there is nothing to say."""

MAX_BATCH = 10_000
MAX_BATCH_WAIT = 600_000
logger = logging.getLogger("engine.jobs")


class JobLog:
    """The log lines of a job's life. The worker calls them around each run; override one in a processor to log otherwise."""

    def log_start(self, job: Job[Any, Any]) -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.info("🔄 Processing %s job %s", job.name, job.id, extra=_fields(job, "processing"))

    def log_success(self, job: Job[Any, Any], result: Any = None) -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.info("✅ %s job %s completed", job.name, job.id, extra=_fields(job, "completed"))

    def log_error(self, job: Job[Any, Any], error: BaseException | str, *, retry: bool = False) -> None:
        """A failure for good is an error, one that will be retried a warning."""
        level = logging.WARNING if retry else logging.ERROR
        if not logger.isEnabledFor(level):
            return
        reason = _one_line(str(error) or type(error).__name__)
        logger.log(level, "❌ %s job %s failed: %s", job.name, job.id, reason, extra=_fields(job, "failed", reason))


class Batch(Struct, frozen=True):
    """How jobs are gathered: `size` at most, and the first waits `wait` milliseconds at most for others."""

    size: int
    wait: int

    @classmethod
    def check(cls, size: Any, wait: Any) -> Batch:
        whole_number("size", size, 1, MAX_BATCH)
        ms = duration_ms("wait", wait)
        if ms > MAX_BATCH_WAIT:
            raise InvalidOption(
                f"wait: {ms:,} ms is more than {MAX_BATCH_WAIT:,}; jobs that wait hold slots of the worker"
            )
        return cls(size, ms)


class Processor(Addable[D, R]):
    """How the jobs of one name are done. Made by `@processor` or from a `BaseProcessor`; calling it calls the function.

    It stands for its name where jobs are added, and checks their data: `await queue.add(greet, Greeting("Ada"))`.

    name: the job name it takes; None takes every name.
    data_type: what `job.data` is decoded as, from the annotation of the first parameter; Any without one.
    result_type: what the function returns, from its annotation; Any without one.
    run_in: "loop" (coroutine functions), "thread" (plain functions), "process" (only if asked).
    attempts, backoff, timeout: for jobs that say nothing themselves.
    retry_on: if given, other exceptions fail the job at once. give_up_on: these do. retry_if(error, attempt): asked last,
    where the types allow another attempt; False fails the job at once. A `Retry` passes all three.
    heartbeat: ms that a run may go without `job.heartbeat()`, `update_progress` or `log` before it counts as hung.
    batch: if given, the function takes a list of jobs.
    """

    def __init__(
        self,
        function: Callable[..., Awaitable[R] | R],
        name: str | None = None,
        *,
        attempts: int = 0,
        backoff: BackoffOption | None = None,
        retry_on: ErrorTypes = (),
        give_up_on: ErrorTypes = (),
        retry_if: RetryIf | None = None,
        timeout: int | timedelta | None = None,
        heartbeat: int | timedelta | None = None,
        run_in: RunIn | None = None,
        data_type: Any = None,
        result_type: Any = None,
        log: JobLog | None = None,
        batch: Batch | None = None,
    ) -> None:
        is_async = inspect.iscoroutinefunction(function)
        self.function = function
        self.name = name
        self.attempts = attempts
        self.backoff = None if backoff is None else Backoff.check(backoff)
        self.retry_on = _error_types("retry_on", retry_on)
        self.give_up_on = _error_types("give_up_on", give_up_on)
        self.retry_if = None if retry_if is None else _retry_if(retry_if)
        self.timeout = None if timeout is None else limit_ms("timeout", timeout)
        self.heartbeat = None if heartbeat is None else limit_ms("heartbeat", heartbeat)
        self.is_timed = timeout is not None or heartbeat is not None
        self.run_in: RunIn = run_in or ("loop" if is_async else "thread")
        self.data_type = _data_type(function, batch is not None) if data_type is None else data_type
        self.result_type = _result_type(function, batch is not None) if result_type is None else result_type
        self.signature = JobSignature(name or "", self.data_type, self.result_type)
        self.decode: Callable[[bytes], D] = self.signature.decode
        """A job's stored data as this processor takes it. Raises InvalidData with the path of what does not fit."""
        self.log = log or JobLog()
        self.batch = batch
        if batch is not None and self.run_in == "process":
            raise InvalidInput(
                f"run_in: {self!r} takes batches, which run on the loop or in a thread, not in a process"
            )
        if is_async and self.run_in == "thread":
            raise InvalidInput(
                f"run_in: {self!r} is a coroutine function and runs on the loop; make it a plain `def` for a thread"
            )
        if not is_async and self.run_in == "loop":
            raise InvalidInput(f"run_in: {self!r} is a plain function and would block the loop; make it `async def`")
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __repr__(self) -> str:
        return f"<processor {self.name or '*'}: {getattr(self.function, '__qualname__', self.function)}>"

    def __call__(self, job: Any, /, *others: Any, **named: Any) -> Any:
        return self.function(job, *others, **named)

    def __job_signature__(self) -> JobSignature:
        return self.signature

    def gives_up(self, error: BaseException, attempt: int) -> bool:
        """Whether no further attempt may follow this one, the `attempt`-th, however many are left."""
        if isinstance(error, Retry):
            return False
        if isinstance(error, (UnrecoverableError, *self.give_up_on)):
            return True
        if self.retry_on and not isinstance(error, self.retry_on):
            return True
        return self.retry_if is not None and not self.retry_if(error, attempt)


class Wrap(Protocol):
    """Makes a function a processor."""

    @overload
    def __call__(self, function: Callable[Concatenate[Job[D, Any], ...], Awaitable[R]], /) -> Processor[D, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Job[D, Any], ...], R], /) -> Processor[D, R]: ...


def processor(
    name: str | None = None,
    *,
    attempts: int = 0,
    backoff: BackoffOption | None = None,
    retry_on: ErrorTypes = (),
    give_up_on: ErrorTypes = (),
    retry_if: RetryIf | None = None,
    timeout: int | timedelta | None = None,
    heartbeat: int | timedelta | None = None,
    run_in: RunIn | None = None,
) -> Wrap:
    """Make a function the processor of the jobs called `name`, a chosen word that stays the same when code moves. Without
    a name it takes jobs of every name, and is then the only one of its worker.

    `async def` runs on the worker's loop, `def` in a thread, `run_in="process"` in a process pool. `attempts` counts
    runs in all. `backoff` is what `Backoff` says, or a list of milliseconds. With `retry_on` only those exceptions are tried
    again, those of `give_up_on` never, and others if `retry_if(error, attempt)` says so.
    `timeout`: how long a run may take; `heartbeat`: how long it may go without `job.heartbeat()`, progress or log (ms or
    timedelta); past either it fails with JobTimeout. What the function takes beside the job is filled with the worker's
    `dependencies`, by type. Raises InvalidInput.
    """
    if name is not None:
        _check_name("processor", name)

    def wrap(function: Callable[[Job[Any, Any]], Any], /) -> Processor[Any, Any]:
        return Processor(
            function,
            name,
            attempts=attempts,
            backoff=backoff,
            retry_on=retry_on,
            give_up_on=give_up_on,
            retry_if=retry_if,
            timeout=timeout,
            heartbeat=heartbeat,
            run_in=run_in,
        )

    return wrap


class WrapBatch(Protocol):
    """Makes a function of a list of jobs a processor."""

    def __call__(
        self, function: Callable[Concatenate[list[Job[D]], ...], Awaitable[Results] | Results], /
    ) -> Processor[D, Any]: ...


def batch_processor(
    name: str,
    *,
    size: int,
    wait: int | timedelta = 50,
    attempts: int = 0,
    backoff: BackoffOption | None = None,
    retry_on: ErrorTypes = (),
    give_up_on: ErrorTypes = (),
    retry_if: RetryIf | None = None,
    run_in: RunIn | None = None,
) -> WrapBatch:
    """Make a function of a list of jobs the processor of the jobs called `name`.

    It is called with up to `size` jobs, at the latest `wait` ms after the first of them came. It returns a result or an
    exception for each job, as a list in their order or a dict by job id; None where there is nothing to say. What it
    raises fails the attempt of all. A list of another length fails all of them for good: WrongResults.
    Each job of a batch takes a slot of the worker, whose `concurrency` must be `size` at least.
    The other options are those of `processor`; batches do not run in processes.
    """
    _check_name("batch_processor", name)
    batch = Batch.check(size, wait)

    def wrap(function: Callable[..., Any], /) -> Processor[Any, Any]:
        return Processor(
            function,
            name,
            attempts=attempts,
            backoff=backoff,
            retry_on=retry_on,
            give_up_on=give_up_on,
            retry_if=retry_if,
            run_in=run_in,
            batch=batch,
        )

    return wrap


class BaseProcessor(JobLog, ABC, Addable[D, R]):
    """The class form of a processor, for one that is given what it uses in its constructor.

    Where jobs are added the class stands for its name too: `await queue.add(SmsProcessor, SmsJobData(...))`.

    `name` is the job name it takes; without one it takes what it is registered for.
    """

    name: ClassVar[str | None] = None
    attempts: ClassVar[int] = 0
    backoff: ClassVar[BackoffOption | None] = None
    retry_on: ClassVar[ErrorTypes] = ()
    give_up_on: ClassVar[ErrorTypes] = ()
    timeout: ClassVar[int | timedelta | None] = None
    heartbeat: ClassVar[int | timedelta | None] = None

    @classmethod
    def __job_signature__(cls) -> JobSignature:
        return JobSignature(cls.name or "", *_class_types(cls))

    @abstractmethod
    def process(self, job: Job[D]) -> Any:
        """Do the job and return its result: `async def` on the loop, `def` in a thread."""

    def retry_if(self, error: BaseException, attempt: int) -> bool:
        """Whether an attempt that raised this error, the `attempt`-th, is followed by another. Override it to choose."""
        return True


def as_processor(given: Any, name: str | None = None) -> Processor[Any, Any]:
    """The Processor of what a user gave: a Processor, a BaseProcessor instance, or a plain function.

    `name` names what has no name of its own. Raises InvalidInput for anything else.
    """
    if isinstance(given, Processor):
        return given
    if isinstance(given, BaseProcessor):
        return Processor(
            given.process,
            given.name or name,
            attempts=given.attempts,
            backoff=given.backoff,
            retry_on=given.retry_on,
            give_up_on=given.give_up_on,
            retry_if=None if type(given).retry_if is BaseProcessor.retry_if else given.retry_if,
            timeout=given.timeout,
            heartbeat=given.heartbeat,
            data_type=_class_types(type(given))[0],
            result_type=_class_types(type(given))[1],
            log=given,
        )
    if isinstance(given, type):
        raise InvalidInput(f"processor: {given.__name__} is a class; give an instance, such as {given.__name__}(...)")
    if callable(given):
        return Processor(given, name)
    raise InvalidInput(f"processor: {given!r} is neither a function nor a BaseProcessor")


def _error_types(name: str, given: Any) -> tuple[type[BaseException], ...]:
    types = given if isinstance(given, tuple) else (given,)
    for one in types:
        if not isinstance(one, type) or not issubclass(one, BaseException):
            raise InvalidInput(
                f"{name}: {one!r} is not an exception class; write {name}=(TimeoutError, ConnectionError)"
            )
    return types


def _retry_if(given: Any) -> RetryIf:
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise InvalidInput(f"retry_if: {given!r} is not a plain function; give `def f(error, attempt) -> bool`")
    try:
        inspect.signature(given).bind(None, 1)
    except TypeError:
        raise InvalidInput(f"retry_if: {given!r} does not take two arguments, (error, attempt)") from None
    except ValueError:  # what is written in C may not say what it takes
        pass
    return cast(RetryIf, given)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The types that a function's parameters and result are annotated with. Raises InvalidInput for an unknown name."""
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(target)
    except NameError as error:
        raise InvalidInput(f"processor: an annotation of {function!r} cannot be resolved: {error}") from None


def _data_type(function: Callable[..., Any], in_batches: bool) -> Any:
    """X of a first parameter annotated Job[X], or list[Job[X]]; Any where nothing is said."""
    parameters = list(inspect.signature(function).parameters)
    if not parameters:
        raise InvalidInput(f"processor: {function!r} takes no job; write `async def f(job: Job[...])`")
    hint = hints_of(function).get(parameters[0])
    is_list = get_origin(hint) in (list, Sequence) or hint is list
    if in_batches:
        if get_origin(hint) is Job or hint is Job:
            raise InvalidInput(
                f"processor: {function!r} is given a list of jobs; write `async def f(jobs: list[Job[...]])`"
            )
        hint = get_args(hint)[0] if is_list and get_args(hint) else None
    elif is_list and _is_job(next(iter(get_args(hint)), None)):
        raise InvalidInput(
            f"processor: {function!r} takes a list of jobs; write @batch_processor('sms', size=100) above it"
        )
    return get_args(hint)[0] if get_origin(hint) is Job else Any


def _result_type(function: Callable[..., Any], in_batches: bool) -> Any:
    """What a function says it returns; Any where nothing is said, and for a batch, which returns many results."""
    hint = Any if in_batches else hints_of(function).get("return", Any)
    if get_origin(hint) in (Awaitable, Coroutine):  # of a plain function
        hint = get_args(hint)[-1]
    return _without_asked(hint)


def _without_asked(hint: Any) -> Any:
    """A result's type without what a processor may return instead, such as Retry."""
    if hint is None:
        return NoneType
    if hint in (Never, NoReturn, object) or isinstance(hint, TypeVar):
        return Any
    if get_origin(hint) in (Union, UnionType):
        kept = [one for one in get_args(hint) if not (isinstance(one, type) and issubclass(one, BaseException))]
        return reduce(or_, kept) if kept else Any
    return Any if isinstance(hint, type) and issubclass(hint, BaseException) else hint


def _is_job(hint: Any) -> bool:
    return hint is Job or get_origin(hint) is Job


def _check_name(what: str, name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"processor name: {name!r} is not a word; write @{what}('sms')")


@lru_cache(maxsize=512)
def _class_types(cls: type[BaseProcessor[Any, Any]]) -> tuple[Any, Any]:
    """D and R of the BaseProcessor[D, R] among the bases of a class; Any where nothing is said."""
    for parent in cls.__mro__:
        for base in getattr(parent, "__orig_bases__", ()):
            if get_origin(base) is BaseProcessor:
                data, result = get_args(base)
                return Any if isinstance(data, TypeVar) else data, _without_asked(result)
    return Any, Any


def _fields(job: Job[Any, Any], status: str, error: str | None = None) -> dict[str, Any]:
    return {
        "job_type": job.name,
        "job_id": job.id,
        "status": status,
        "attempt": job.attempts_made + 1,
        "error": error,
    }


def _one_line(text: str) -> str:
    """Text of a user's error, fit for one line of a log: control characters are escaped, the end is cut."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:1000])
