"""Processors: functions and classes that run the jobs of one name. Knows neither workers nor Redis."""

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
"""Called with the error and the number of the attempt that raised it, 1 for the first; True retries the job."""
Results = Sequence[Any] | Mapping[str, Any] | None
"""Results of a batch: a result or an exception for each job, in order or by job id; None if no job has a result."""

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
    """How jobs are collected into a batch: up to `size` jobs; the first waits at most `wait` milliseconds for others."""

    size: int
    wait: int

    @classmethod
    def check(cls, size: Any, wait: Any) -> Batch:
        whole_number("size", size, 1, MAX_BATCH)
        ms = duration_ms("wait", wait)
        if ms > MAX_BATCH_WAIT:
            raise InvalidOption(
                f"wait: {ms:,} ms is more than {MAX_BATCH_WAIT:,}; give less, because jobs that wait occupy slots of the worker"
            )
        return cls(size, ms)


class Processor(Addable[D, R]):
    """How the jobs of one name are done. Made by `@processor` or from a `BaseProcessor`; calling it calls the function.

    Add jobs with the processor itself to have their data checked: `await queue.add(greet, Greeting("Ada"))`.

    name: the job name that it runs; None runs jobs of every name.
    data_type: the type of `job.data`, from the annotation of the first parameter; Any without one.
    result_type: the type of the result, from the return annotation; Any without one.
    run_in: "loop" (coroutine functions), "thread" (plain functions) or "process" (plain functions, on request).
    attempts, backoff, timeout: defaults for jobs without these options.
    retry_on: only these exceptions are retried. give_up_on: these are never retried. retry_if(error, attempt): called last,
    if the types allow another attempt; False fails the job for good. `Retry` is always retried.
    heartbeat: ms that may pass without `job.heartbeat()`, `update_progress` or `log` before the run times out.
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
        """Decodes a job's stored data as `data_type`. Raises InvalidData with the path of the field that does not fit."""
        self.log = log or JobLog()
        self.batch = batch
        if batch is not None and self.run_in == "process":
            raise InvalidInput(f"run_in: {self!r} takes batches, which cannot run in a process; leave run_in= out")
        if is_async and self.run_in == "thread":
            raise InvalidInput(
                f"run_in: {self!r} is a coroutine function, which runs on the event loop; make it a plain `def` to run it in a thread"
            )
        if not is_async and self.run_in == "loop":
            raise InvalidInput(
                f"run_in: {self!r} is a plain function and would block the event loop; make it `async def`"
            )
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __repr__(self) -> str:
        return f"<processor {self.name or '*'}: {getattr(self.function, '__qualname__', self.function)}>"

    def __call__(self, job: Any, /, *others: Any, **named: Any) -> Any:
        return self.function(job, *others, **named)

    def __job_signature__(self) -> JobSignature:
        return self.signature

    def gives_up(self, error: BaseException, attempt: int) -> bool:
        """Whether this error, raised by attempt number `attempt`, fails the job for good even if attempts are left."""
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
    """Make a function the processor of jobs named `name`.

        @processor("sms", attempts=3)
        async def send_sms(job: Job[SmsJobData]) -> SmsResult: ...

    name: a word that stays the same when code moves. A processor without a name runs jobs of every name, and must be the
    only one of its worker.
    run_in: `async def` runs on the worker's event loop, `def` in a thread; "process" runs a `def` in a process pool.
    attempts: runs in all. backoff: a Backoff, a dict such as {"type": "exponential", "delay": 1_000}, or a list of ms.
    Both are defaults: a job's own options win.
    retry_on: only these exceptions are retried. give_up_on: these are never retried. retry_if(error, attempt): False fails
    the job for good.
    timeout: how long a run may take. heartbeat: how long it may go without `job.heartbeat()`, progress or log. Both are ms
    or timedelta; a run that exceeds one fails with JobTimeout and is retried like any failure.
    Further parameters of the function are filled from the worker's `dependencies`, by type. Raises InvalidInput.
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
    """Make a function of a list of jobs the processor of jobs named `name`.

        @batch_processor("row", size=100)
        async def insert(jobs: list[Job[Row]]) -> None: ...

    The function gets up to `size` jobs, at the latest `wait` (ms or timedelta) after the first of them was claimed. It
    returns a result or an exception for each job, as a list in their order or a dict by job id; None if no job has a result.
    An exception that it raises fails the attempt of every job. A list of another length fails them for good: WrongResults.
    Each job of a batch takes a slot, so the worker's `concurrency` must be at least `size`.
    The other options are those of `processor`. Batches do not run in processes.
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
    """A processor as a class, with its dependencies in the constructor. Override `process`.

        class SmsProcessor(BaseProcessor[SmsJobData, SmsResult]):
            name = "sms"

            async def process(self, job: Job[SmsJobData]) -> SmsResult: ...

    Give an instance to Worker. Add jobs with the class: `await queue.add(SmsProcessor, SmsJobData(...))`.
    name: the job name that it runs; a class without one runs the name that it is registered for. The other attributes are
    the options of `processor`.
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
        """Run the job and return its result: `async def` runs on the event loop, `def` in a thread."""

    def retry_if(self, error: BaseException, attempt: int) -> bool:
        """Whether to retry after this error, raised by attempt number `attempt` (1 for the first). Override it to decide."""
        return True


def as_processor(given: Any, name: str | None = None) -> Processor[Any, Any]:
    """The Processor for a Processor, a BaseProcessor instance or a plain function. Raises InvalidInput for anything else.

    name: the job name for one without a name.
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
    except ValueError:  # a function written in C may have no signature
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
    """X if the first parameter is annotated Job[X], or list[Job[X]]; Any without an annotation."""
    parameters = list(inspect.signature(function).parameters)
    if not parameters:
        raise InvalidInput(f"processor: {function!r} has no parameter for the job; write `async def f(job: Job[...])`")
    hint = hints_of(function).get(parameters[0])
    is_list = get_origin(hint) in (list, Sequence) or hint is list
    if in_batches:
        if get_origin(hint) is Job or hint is Job:
            raise InvalidInput(
                f"processor: {function!r} gets a list of jobs; write `async def f(jobs: list[Job[...]])`"
            )
        hint = get_args(hint)[0] if is_list and get_args(hint) else None
    elif is_list and _is_job(next(iter(get_args(hint)), None)):
        raise InvalidInput(
            f"processor: {function!r} takes a list of jobs; write @batch_processor('sms', size=100) above it"
        )
    return get_args(hint)[0] if get_origin(hint) is Job else Any


def _result_type(function: Callable[..., Any], in_batches: bool) -> Any:
    """The annotated return type; Any without one, and for a batch, which returns many results."""
    hint = Any if in_batches else hints_of(function).get("return", Any)
    if get_origin(hint) in (Awaitable, Coroutine):  # of a plain function
        hint = get_args(hint)[-1]
    return _without_exceptions(hint)


def _without_exceptions(hint: Any) -> Any:
    """A result type without the exceptions that a processor may return instead, such as Retry."""
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
        raise InvalidInput(f"processor name: {name!r} is empty or not text; write @{what}('sms')")


@lru_cache(maxsize=512)
def _class_types(cls: type[BaseProcessor[Any, Any]]) -> tuple[Any, Any]:
    """D and R of the BaseProcessor[D, R] among the bases of a class; Any without type arguments."""
    for parent in cls.__mro__:
        for base in getattr(parent, "__orig_bases__", ()):
            if get_origin(base) is BaseProcessor:
                data, result = get_args(base)
                return Any if isinstance(data, TypeVar) else data, _without_exceptions(result)
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
    """The text of an exception for one log line: control characters are escaped, and it is cut at 1,000 characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:1000])
