"""The Job object: a snapshot of a job, and what can be done with it: wait for its result, report progress, log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, cast

from engine.connection import Argument, Link
from engine.errors import CorralError, InvalidInput, JobNotFound, LockLost
from engine.model import codec
from engine.model.clock import monotonic
from engine.model.flow_rows import FlowJob, Gathered
from engine.model.keys import Keys
from engine.model.options import NO_OPTIONS, JobOptions, read_options
from engine.model.records import Claimed, D, JobSignature, Returned, Snapshot, to_datetime
from engine.results import ResultWaiter
from engine.scripting.key_types import call_typed
from engine.scripting.rows import Refusal
from engine.scripts.get_jobs import get_jobs
from engine.scripts.get_state import get_state
from engine.scripts.log import log
from engine.scripts.progress import progress
from engine.scripts.remove_deduplication import remove_deduplication
from engine.scripts.update_data import update_data


class Job(Generic[D, Returned]):
    """A job, as it was when it was added, claimed or read. `await job.refresh()` reads it again.

    A job that was added or read with its processor is a `Job[SmsJobData, SmsResult]`; annotate a processor's parameter with
    `Job[SmsJobData]`. The data and result of any other job are plain JSON values.
    data: the payload. opts: the options, see JobOptions. progress: the value last reported.
    attempts_made: finished runs; attempts_started: started runs; stalls: runs lost with their worker.
    timestamp, processed_on, finished_on: when it was added, last started and finished, by the server's clock; None if not yet.
    return_value: what the processor returned. failed_reason, stacktrace: why it failed, one stack trace for each attempt.
    delay: milliseconds. priority: BullMQ's order, 0 runs first, then 1, 2, ...
    deduplicated: True if the add made no job, because a job with this `job_id` or `deduplication` id exists. This is that
    other job, with only its id known and `data` None: `refresh` reads the rest.
    """

    __slots__ = (
        "_beat", "_claimed", "_gathered", "_keys", "_link", "_opts", "_results", "_signature", "_stop", "attempts_made",
        "attempts_started", "data", "deduplicated", "delay", "failed_reason", "finished_on", "id", "name", "priority",
        "processed_on", "progress", "queue_name", "return_value", "stacktrace", "stalls", "timestamp",
    )  # fmt: skip

    def __init__(self, link: Link, keys: Keys, id: str, name: str, data: D, opts: JobOptions | bytes) -> None:
        self._link = link
        self._keys = keys
        self._results: ResultWaiter | None = None
        self._claimed: Claimed | None = None
        self._stop: CorralError | None = None
        self._beat = 0.0
        self._gathered: Gathered | None = None
        self._signature: JobSignature | None = None
        self._opts = opts
        self.id = id
        self.name = name
        self.data: D = data
        self.queue_name = keys.queue
        self.attempts_made = 0
        self.attempts_started = 0
        self.stalls = 0
        self.deduplicated = False
        self.delay = 0
        self.priority = 0
        self.progress: Any = None
        self.return_value: Returned | None = None
        self.failed_reason: str | None = None
        self.stacktrace: list[str] = []
        self.timestamp: datetime | None = None
        self.processed_on: datetime | None = None
        self.finished_on: datetime | None = None

    if not TYPE_CHECKING:  # before Python 3.13 no type variable has a default

        def __class_getitem__(cls, types: Any) -> Any:
            types = types if isinstance(types, tuple) else (types,)
            return super().__class_getitem__((*types, Any) if len(types) < len(cls.__parameters__) else types)

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r} of {self.queue_name}>"

    @property
    def opts(self) -> JobOptions:
        """The job's options. Options of another producer that cannot be read are the defaults."""
        if isinstance(self._opts, bytes):
            try:
                self._opts = read_options(self._opts)
            except (ValueError, RecursionError):
                self._opts = NO_OPTIONS
        return self._opts

    @property
    def deduplication_id(self) -> str | None:
        """The id of the job's `deduplication`; None without one."""
        return None if self.opts.deduplication is None else self.opts.deduplication.id

    @property
    def tenant(self) -> str | None:
        """The `subAccountId` in the job's data; None without one."""
        found = (
            self.data.get("subAccountId") if isinstance(self.data, dict) else getattr(self.data, "sub_account_id", None)
        )
        return None if found is None else str(found)

    @property
    def cancelled(self) -> bool:
        """True if this run should stop: it was cancelled, it timed out, it lost its lock, or the worker is shutting down.

        Can be read from any thread. Coroutines on the event loop are also cancelled.
        """
        return self._run()._stop is not None

    def check_cancelled(self) -> None:
        """Raise JobCancelled, JobTimeout or LockLost if this run should stop. Can be called from any thread."""
        stop = self._run()._stop
        if stop is not None:
            raise stop

    def heartbeat(self) -> None:
        """Report that the run makes progress, for a processor with a `heartbeat`. `update_progress` and `log` do so too.

        Nearly free on the event loop and in threads; one message to the worker from a child process.
        """
        self._run()._beat = monotonic()

    def _run(self) -> Job[Any, Any]:
        """The Job that the worker holds: stop reasons and heartbeats are kept there."""
        return self

    async def refresh(self) -> Job[D, Returned]:
        """Read the job again and return it. The data keeps its type. Raises JobNotFound if the job was removed."""
        fresh = (await get_jobs(self._link, self._keys, [self.id]))[0]
        if fresh is None:
            raise JobNotFound(self.id, self.queue_name)
        kind = type(self.data)
        self._read(fresh)
        if self._signature is not None:
            self.data = self._signature.decode(fresh.data)
        else:
            self.data = codec.decode("data", fresh.data, kind) if _has_fields(kind) else plain_value(fresh.data)
        return self

    async def state(self) -> str:
        """The job's state: waiting, active, delayed, prioritized, completed, failed, waiting-children, or unknown."""
        return (await get_state(self._link, self._keys, [self.id]))[0]

    async def result(self, timeout: int | timedelta | None = None) -> Returned:
        """Wait until the job finishes and return what its processor returned.

        The result has the processor's type if the job was added with its processor; else it is a plain JSON value.
        timeout: ms or timedelta; None waits without limit. Raises JobFailed with the reason if the job failed for good,
        JobCancelled or JobTimeout if that was the reason; TimeoutError if it does not finish in time; JobNotFound if the job
        was removed, also by `remove_on_complete` if its event was trimmed from the stream before it was read.
        """
        kind = Any if self._signature is None else self._signature.result
        if self._results is not None:
            return cast(Returned, await self._results.wait(self.id, timeout, kind))
        results = ResultWaiter(self._link, self._keys)
        try:
            return cast(Returned, await results.wait(self.id, timeout, kind))
        finally:
            await results.close()

    async def update_progress(self, value: Any) -> None:
        """Report progress: a number from 0 to 100, or any JSON value. Raises LockLost if this run no longer owns the job."""
        self.heartbeat()
        encoded = codec.encode("progress", value)
        refused = await progress(self._link, self._keys, [(self.id, self._claimed, encoded)])
        if refused:
            raise self._refused(refused[0])
        self.progress = value

    async def log(self, row: str) -> int:
        """Append a row to the job's log; returns how many rows are kept. Raises LockLost if this run no longer owns the job."""
        self.heartbeat()
        kept = (await log(self._link, self._keys, [(self.id, self._claimed, row, self.opts.keep_logs)]))[0]
        if isinstance(kept, Refusal):
            raise self._refused(kept)
        return kept

    async def update_data(self, data: D) -> None:
        """Replace the job's data. Raises LockLost if this run no longer owns the job, JobNotFound if the job was removed."""
        await update_data(self._link, self._keys, id=self.id, data=codec.encode("data", data), claim=self._claimed)
        self.data = data

    def add_child(self, child: FlowJob) -> None:
        """Collect a job, with its own children, to be added when this run ends, in the same step. Until then nothing is written.

        If the processor raises `errors.WaitForChildren()`, it becomes a child of this job, which runs again when the child
        is finished. If the processor returns, it is added as an independent job. If the run fails, it is not added.
        Raises InvalidInput for a job that cannot be added, and outside of a processor.
        """
        if self._claimed is None:
            raise InvalidInput(
                "add_child: works only inside the job's processor; use `queue.add(..., parent=...)` elsewhere"
            )
        if self._gathered is None:
            self._gathered = Gathered(self._keys)
        self._gathered.add(child)

    async def children_values(self) -> dict[str, Any]:
        """Results of the completed children, as plain JSON values, by key: "bull:reports:<id>"."""
        return {key: plain_value(value) for key, value in (await self._children("processed")).items()}

    async def ignored_failures(self) -> dict[str, str]:
        """Failure reasons of the children whose failure the parent ignores, by key.

        See the options `ignore_dependency_on_failure` and `continue_parent_on_failure`.
        """
        return {key: reason.decode(errors="replace") for key, reason in (await self._children("failed")).items()}

    async def _children(self, helper: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        cursor: Argument = 0
        while True:
            # In pages: a parent may have any number of children, with values of any size.
            cursor, page = await call_typed(
                self._link, "hash", "HSCAN", self._keys.helper(self.id, helper), cursor, "COUNT", 250
            )
            found |= {key.decode(errors="replace"): value for key, value in zip(page[::2], page[1::2], strict=True)}
            if int(cursor) == 0:
                return found

    async def remove_deduplication(self) -> bool:
        """Release this job's deduplication id, so that the next add makes a job. False if another job, or none, owns the id.

        Data that `keep_last_if_active` kept for the end of this job becomes a job now.
        """
        id = self.deduplication_id
        return id is not None and await remove_deduplication(self._link, self._keys, deduplication=id, owner=self.id)

    def _refused(self, why: Refusal) -> CorralError:
        return JobNotFound(self.id, self.queue_name) if why is Refusal.MISSING else LockLost(self.id)

    def _read(self, snapshot: Snapshot) -> None:
        self.name = snapshot.name
        self._opts = snapshot.opts
        self.attempts_made = snapshot.attempts_made
        self.attempts_started = snapshot.attempts_started
        self.stalls = snapshot.stalls
        self.delay = snapshot.delay
        self.priority = snapshot.priority
        self.progress = plain_value(snapshot.progress)
        value, signature = snapshot.return_value, self._signature
        self.return_value = plain_value(value) if signature is None or not value else signature.decode_result(value)
        self.failed_reason = snapshot.failed_reason
        traces = plain_value(snapshot.stacktrace)
        self.stacktrace = [str(trace) for trace in traces] if isinstance(traces, list) else []
        self.timestamp = to_datetime(snapshot.timestamp)
        self.processed_on = to_datetime(snapshot.processed_on)
        self.finished_on = to_datetime(snapshot.finished_on)


def stored_job(
    link: Link,
    keys: Keys,
    snapshot: Snapshot,
    results: ResultWaiter | None = None,
    signature: JobSignature | None = None,
) -> Job[Any, Any]:
    """The Job of a stored job. Without a signature, data that is not JSON is text."""
    data = plain_value(snapshot.data) if signature is None else signature.decode(snapshot.data)
    job: Job[Any, Any] = Job(link, keys, snapshot.id, snapshot.name, data, snapshot.opts)
    job._results = results
    job._signature = signature
    job._read(snapshot)
    return job


def added_job(
    link: Link,
    keys: Keys,
    id: str,
    name: str,
    data: D,
    options: JobOptions,
    results: ResultWaiter | None = None,
    signature: JobSignature | None = None,
) -> Job[D]:
    """The Job of a job that was just added."""
    job: Job[D] = Job(link, keys, id, name, data, options)
    job._results = results
    if signature is not None:
        job._signature = signature
    job.delay = options.delay
    job.priority = options.priority
    return job


def existing_job(
    link: Link,
    keys: Keys,
    id: str,
    name: str,
    results: ResultWaiter | None = None,
    signature: JobSignature | None = None,
) -> Job[Any, Any]:
    """The Job of one that existed before the add: only its id is known."""
    job = added_job(link, keys, id, name, None, NO_OPTIONS, results, signature)
    job.deduplicated = True
    return job


def type_job(job: Job[Any, Any], signature: JobSignature, data: Any) -> None:
    """Give a Job the types of its processor, and the data decoded as the processor's type."""
    job._signature = signature
    if not job.deduplicated:
        job.data = data


def claimed_job(link: Link, keys: Keys, claimed: Claimed, data: D, options: JobOptions) -> Job[D]:
    """The Job that a processor gets. Its writes are fenced by this claim."""
    job: Job[D] = Job(link, keys, claimed.id, claimed.name, data, options)
    job._claimed = claimed
    job.attempts_made = claimed.attempts_made
    job.attempts_started = claimed.fence
    job.stalls = claimed.stalls
    job.priority = claimed.priority
    if claimed.progress:
        job.progress = plain_value(claimed.progress)
    job.timestamp = to_datetime(claimed.timestamp)
    return job


def show_result(job: Job[Any, Any], result: Any) -> None:
    """Set `return_value` to what the processor just returned, as it would be read from the queue."""
    encoded = codec.encode("result", result)
    job.return_value = plain_value(encoded) if job._signature is None else job._signature.decode_result(encoded)


def tell_to_stop(job: Job[Any, Any], why: CorralError) -> None:
    """Let the processor of this run see that it should stop, in any thread. The first reason stays."""
    if job._stop is None:
        job._stop = why


def silence(job: Job[Any, Any]) -> float:
    """Seconds since the last heartbeat."""
    return monotonic() - job._beat


def _has_fields(kind: type) -> bool:
    """Whether the type is a Struct, a dataclass or a pydantic model."""
    return hasattr(kind, "__struct_fields__") or hasattr(kind, "__dataclass_fields__") or codec.is_pydantic(kind)


def plain_value(encoded: bytes) -> Any:
    """A JSON value that any producer stored; text if it is not JSON."""
    if not encoded:
        return None
    try:
        return codec.decode("", encoded)
    except ValueError:
        return encoded.decode(errors="replace")
