"""Records: jobs to be added, claimed jobs, outcomes of runs, stored jobs and counts. Talks to no server.

The `Job` that users hold is in engine/job.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, Unpack, overload

from msgspec import UNSET, Struct

from engine.errors import InvalidInput
from engine.model import clock, codec
from engine.model.options import AddOptions, Deduplication, JobOptions

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Data = TypeVar("Data", default=Any)
    Result = TypeVar("Result", default=Any)
    Returned = TypeVar("Returned", default=object, covariant=True)
    """The result of a `Job[Data]`. Not Any: in what a function takes it would make the overloads of `@processor` ambiguous."""
else:
    from typing import TypeVar

    Data = TypeVar("Data")
    Result = TypeVar("Result")
    Returned = TypeVar("Returned", covariant=True)

D = TypeVar("D")
R = TypeVar("R")


class JobSignature(Struct, frozen=True):
    """A processor's job name, with the types of its data and its result."""

    name: str
    data: Any
    result: Any

    def decode(self, stored: bytes) -> Any:
        """Decode stored data as the processor's type. Raises InvalidData with the path of the wrong value."""
        if self.data is NoneType:  # what is stored for a job without data, {}, is BullMQ's word for nothing
            return None
        return codec.decode("data", stored, self.data)

    def decode_result(self, stored: bytes) -> Any:
        """Decode a stored result as the processor's return type. Raises InvalidData."""
        return codec.decode("result", stored, self.result)


class Addable(Generic[D, R]):
    """Can be added instead of a job's name: `queue.add(greet, Greeting("Ada"))`. A processor is one."""

    def __job_signature__(self) -> JobSignature:
        """Of a processor, or of the class of one, where this is a class method."""
        raise NotImplementedError


Target = Addable[D, R] | type[Addable[D, R]]


def encode_data(data: Any, signature: JobSignature | None) -> bytes:
    """Encode data for storage. Raises InvalidData, also for data that the processor does not take."""
    encoded = codec.encode("data", data)
    if signature is not None:
        signature.decode(encoded)
    return encoded


def signature_of(given: Any) -> JobSignature:
    """The signature of a processor or its class. Raises InvalidInput for anything else, and for one without a name."""
    found = getattr(given, "__job_signature__", None)
    if found is None:
        what = "is empty" if given == "" else "is neither text nor a processor"
        hint = (
            f"; write @processor({given.__name__!r}) above it" if callable(given) and hasattr(given, "__name__") else ""
        )
        raise InvalidInput(f"job name: {given!r} {what}; give the name of the processor, or the processor itself{hint}")
    signature: JobSignature = found()
    if not signature.name:
        raise InvalidInput(f"job name: {given!r} has no name; name it by @processor('...'), or add the job by a name")
    _check_types(signature)
    return signature


@lru_cache(maxsize=512)
def _check_types(signature: JobSignature) -> None:
    codec.check_type(f"data of {signature.name!r} jobs", signature.data)
    codec.check_type(f"result of {signature.name!r} jobs", signature.result)


class NewJob(Generic[Data, Result]):
    """A job to be added: `NewJob("sms", data, delay=5_000)`, or `NewJob(send_sms, data)` with its processor, which checks
    the data. Options are those of `JobOptions`. Without `data` an empty object is stored; None is stored as null.

    Raises InvalidOption, InvalidName or InvalidInput at once if an option or the processor is wrong.
    """

    __slots__ = ("_signature", "data", "name", "options")

    @overload
    def __init__(self, name: Target[Data, Result], data: Data, **options: Unpack[AddOptions]) -> None: ...
    @overload
    def __init__(self: NewJob[None, Result], name: Target[None, Result], **options: Unpack[AddOptions]) -> None: ...
    @overload
    def __init__(self: NewJob[Any, Any], name: str, data: Any = UNSET, **options: Unpack[AddOptions]) -> None: ...
    def __init__(self, name: Any, data: Any = UNSET, **options: Any) -> None:
        self._signature = None if isinstance(name, str) else signature_of(name)
        self.name: str = name if self._signature is None else self._signature.name
        self.data: Data = {} if data is UNSET else data
        self.options = JobOptions.check(options)

    def __repr__(self) -> str:
        return f"NewJob({self.name!r})"

    @property
    def signature(self) -> JobSignature | None:
        """The types of its processor; None for a job added by name, and after middleware changed the name."""
        return self._signature if self._signature is not None and self._signature.name == self.name else None

    def change(self, **options: Unpack[AddOptions]) -> None:
        """Change the named options and keep the others. Raises like the constructor, and then changes nothing."""
        self.options = JobOptions.check({**self.options.given(), **options})


def check_new(jobs: Iterable[Any]) -> None:
    """Raise InvalidInput for a value that is not a NewJob."""
    for number, given in enumerate(jobs):
        if not isinstance(given, NewJob):
            raise InvalidInput(
                f'jobs[{number}]: {given!r:.100} is not a NewJob; write NewJob("sms", data, delay=5_000)'
            )


class NewRow(Struct, frozen=True):
    """A job as `add.lua` takes it: text and bytes only."""

    id: str
    """Empty: the queue's counter generates one."""
    name: str
    data: bytes
    opts: bytes
    timestamp: int | None = None
    """Unix milliseconds; None uses the server's time."""
    delay: int = 0
    priority: int = 0
    lifo: bool = False
    deduplication: Deduplication | None = None


class NodeRow(Struct, frozen=True):
    """A job that may have a parent or children, in a queue of its own."""

    queue: str
    """What its keys begin with, such as "bull:reports:"."""
    row: NewRow
    parent: str = ""
    """Key of the job that waits for it; empty for none."""
    link: bytes = b""
    """The hash's field `parent`, as BullMQ writes it: JSON with id, queueKey and the failure policy."""
    also: bytes = b""
    """Keys of further jobs that wait for it, separated by line breaks. BullMQ has only one parent."""
    waits: bool = False
    """It has children, which are added with it."""


class Claimed(Struct, frozen=True):
    """A job that this process may run: the fields of its hash as the claim read them, undecoded."""

    id: str
    fence: int
    """How often the job was started, this claim included (`ats`). Rises with each claim, so an old claim is recognized."""
    token: str
    name: str
    data: bytes
    opts: bytes
    timestamp: int = 0
    priority: int = 0
    attempts_made: int = 0
    stalls: int = 0
    stacktrace: bytes = b""
    deferred_failure: str | None = None
    """Set by stalled recovery or a failed child: fail with this reason without running."""
    progress: bytes = b""
    broken: str | None = None
    """Why this job cannot be run at all (a hash without a name, an id that is no text): fail with this reason."""
    raw: bytes = b""
    """The id's bytes in Redis if they are not UTF-8; `id` is then only for display."""

    @property
    def slot(self) -> str | bytes:
        """The id as scripts take it."""
        return self.raw or self.id


class Completed(Struct, frozen=True):
    """The processor returned; `value` is its result as JSON."""

    value: bytes


class Failed(Struct, frozen=True):
    """The job failed for good: no attempt is left, or a retry cannot help."""

    reason: str
    stacktrace: bytes = b""
    """JSON array of texts, oldest first."""
    error: str = ""
    """Class name of the exception."""


class Retrying(Struct, frozen=True):
    """An attempt failed and another is left: run again after `delay` ms."""

    delay: int
    reason: str
    stacktrace: bytes = b""
    error: str = ""


class Delayed(Struct, frozen=True):
    """The processor asked for a later run: again after `delay` ms, no attempt used."""

    delay: int


class Released(Struct, frozen=True):
    """Claimed but not started: back to the front of the queue, no attempt used."""


class Limited(Struct, frozen=True):
    """A rate limit was met: back to the front of the queue, no attempt used; no job of the queue starts for `wait` ms."""

    wait: int


class CompletedAdding(Struct, frozen=True):
    """The processor returned, after it gathered jobs: both are written together. `value` is its result as JSON."""

    value: bytes
    nodes: tuple[NodeRow, ...]


class WaitingChildren(Struct, frozen=True):
    """The processor waits for its children, to run again when they are done. `children` are new ones."""

    children: tuple[NodeRow, ...] = ()


Outcome = Completed | CompletedAdding | Failed | Retrying | Delayed | WaitingChildren | Released | Limited


class Snapshot(Struct, frozen=True):
    """A stored job as one call read it, undecoded. None or empty for a missing field."""

    id: str
    name: str = ""
    data: bytes = b"{}"
    opts: bytes = b"{}"
    timestamp: int = 0
    delay: int = 0
    priority: int = 0
    attempts_made: int = 0
    attempts_started: int = 0
    stalls: int = 0
    progress: bytes = b""
    return_value: bytes = b""
    failed_reason: str | None = None
    stacktrace: bytes = b"[]"
    processed_on: int | None = None
    finished_on: int | None = None
    processed_by: str | None = None
    parent_key: str | None = None
    deduplication_id: str | None = None
    scheduler_id: str | None = None
    state: str = "unknown"
    is_there: bool = True
    """False if the id is in a list or set and has no hash."""


class Counts(Struct, frozen=True):
    """How many jobs are in each state. `waiting` has no priority; `paused` waits in a queue that BullMQ 5 paused."""

    waiting: int = 0
    active: int = 0
    delayed: int = 0
    prioritized: int = 0
    completed: int = 0
    failed: int = 0
    waiting_children: int = 0
    paused: int = 0


def to_datetime(ms: int | None) -> datetime | None:
    """The aware datetime of a stored time, if there is one; None too for one beyond every calendar, whoever wrote it."""
    try:
        return None if ms is None else clock.from_ms(ms)
    except (ValueError, OverflowError, OSError):
        return None
