"""JobQueueService: add, run and query jobs by type, with `retries` instead of attempts and higher priorities first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct

from engine.connection import Connection, RedisPyLink, SharedLink, open_link
from engine.errors import InvalidOption, UnknownJobType
from engine.job import Job, stored_job
from engine.middleware import AroundAdd, AroundRun, check_middleware
from engine.model import wire
from engine.model.checks import did_you_mean, is_number, whole_number
from engine.model.payloads import JOB_TYPES, JobData, check
from engine.processor import as_processor
from engine.queue import Queue
from engine.scripts.get_jobs import get_jobs
from engine.service.registry import ServiceRegistry
from engine.settings import Settings
from engine.worker import Worker
from engine.worker.group import PartsByServer, share_parts
from engine.worker.process.from_settings import worker_options

logger = logging.getLogger("engine.jobs")

Status = Literal["pending", "processing", "completed", "failed", "not_found", "error"]

_STATUS: Mapping[str, Status] = {
    "waiting": "pending",
    "paused": "pending",
    "prioritized": "pending",
    "delayed": "pending",
    "waiting-children": "pending",
    "active": "processing",
    "completed": "completed",
    "failed": "failed",
}

RETRY_BACKOFF = {"type": "exponential", "delay": 1000, "jitter": 0.5}
"""One second, two, four, ..., half of it random, so that jobs that failed together do not retry together."""

HIGHEST_PRIORITY = wire.MAX_PRIORITY - 1


class JobResult(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The status of a job. progress: a percentage. error: why the job failed, or with status "error" why the query failed."""

    job_id: str
    status: Status
    progress: float | None = None
    result: Any = None
    error: Any = None
    created_at: datetime | None = None
    completed_at: datetime | None = None


class QueueStats(Struct, frozen=True, rename="camel"):
    """How many jobs of a type are in each state. `waiting` counts all that are ready to run, with any priority."""

    waiting: int = 0
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    delayed: int = 0


class JobQueueService:
    """Adds background jobs of five types, reports their status, and runs them after `start_workers`.

        async with JobQueueService.from_settings(Settings.load()) as service:
            job_id = await service.add_job("sms", {"subAccountId": "1", "phoneNumbers": ["+1234567890"], "message": "Hi"})
            status = await service.get_job_status("sms", job_id)

    settings: the default is Settings.load(). processors: job type -> processor, for `start_workers`; `register_processor`
    adds more. around_add, around_run: middleware of its queues and of its workers. dependencies: as for a Worker.
    Types: sms, email, data-export, file-processing, generic-task; the queue of a type is `<type>-queue`.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        processors: Mapping[str, Any] | None = None,
        around_add: Sequence[AroundAdd] | None = None,
        around_run: Sequence[AroundRun] | None = None,
        dependencies: Sequence[Any] | None = None,
    ) -> None:
        self.settings = settings or Settings.load()
        self.registry = ServiceRegistry()
        """Services and functions that generic tasks may call. Pass it to the processor of generic tasks."""
        self.queues: dict[str, Queue] = {}
        self.workers: dict[str, Worker] = {}
        self._around_add = check_middleware(around_add)
        self._around_run = check_middleware(around_run)
        self._dependencies = dependencies
        self._processors: dict[str, Any] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._parts: PartsByServer = {}
        self._shared = SharedLink("JobQueueService", self._connect, prepare=self._open_queues)
        for job_type, given in (processors or {}).items():
            self.register_processor(job_type, given)

    @classmethod
    def from_settings(cls, settings: Settings, **options: Any) -> JobQueueService:
        """A service with these settings. options: as for the constructor."""
        return cls(settings, **options)

    def __repr__(self) -> str:
        state = f"{len(self._running)} workers" if self._running else "open" if self._shared.link else "not connected"
        return f"<JobQueueService: {state}>"

    async def __aenter__(self) -> JobQueueService:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> JobQueueService:
        """Connect within the settings' `wait`, and open the queues. Raises ConnectFailed or AuthFailed; the message says what to do."""
        await self._shared.open()
        return self

    async def close(self, timeout: int | timedelta = 30_000) -> None:
        """Close the workers, the queues and the connection. Running jobs have `timeout` (ms or timedelta) to finish."""
        await asyncio.gather(*(worker.close(timeout=timeout) for worker in self.workers.values()))
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self.workers.clear()
        self._running.clear()
        for queue in self.queues.values():
            await queue.close()
        await self._shared.close()
        self.queues.clear()

    # --- adding -------------------------------------------------------------------------------------------------------

    async def add_job(
        self,
        job_type: str,
        data: Mapping[str, Any] | JobData,
        *,
        delay: int | timedelta = 0,
        retries: int | None = None,
        priority: int = 0,
        **options: Any,
    ) -> str:
        """Add a job and return its id.

        data: the type's Struct, or a dict with camelCase names such as "phoneNumbers". delay: ms or timedelta.
        retries: runs after the first (`attempts` - 1); None uses the settings' default.
        priority: a higher number runs first, 0 (the default) last. This is the reverse of `Queue.add`, which has BullMQ's
        order. options: as for `Queue.add`.
        Raises UnknownJobType, InvalidData with the path of the field, or InvalidOption; nothing is written then.
        """
        queue = self._queue(job_type)
        checked = check(job_type, data)
        settings = self.settings
        options.setdefault("remove_on_complete", settings.remove_on_success)
        options.setdefault("remove_on_fail", settings.remove_on_failure)
        options.setdefault("backoff", RETRY_BACKOFF)
        job = await queue.add(
            job_type,
            checked,
            delay=delay,
            attempts=_attempts(settings.default_retries if retries is None else retries),
            priority=_wire_priority(priority),
            **options,
        )
        if logger.isEnabledFor(logging.INFO):
            logger.info(
                "📤 %s job %s queued",
                job_type,
                job.id,
                extra={"job_type": job_type, "job_id": job.id, "status": "pending"},
            )
        return job.id

    async def execute_service_method(
        self,
        task_name: str,
        service_name: str,
        method_name: str,
        parameters: Sequence[Any],
        context: Mapping[str, Any],
    ) -> str:
        """Add a job that calls a method of a registered service in a worker; returns the job's id.

        context: `subAccountId`, and optionally `userId`, `delay`, `retries`, `priority` and values for the method.
        """
        return await self._add_task(task_name, service_name, method_name, parameters, context)

    async def execute_task(
        self, task_name: str, function_name: str, parameters: Sequence[Any], context: Mapping[str, Any]
    ) -> str:
        """Add a job that calls a registered function in a worker; returns the job's id. context: see `execute_service_method`."""
        return await self._add_task(task_name, None, function_name, parameters, context)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def get_job_status(self, job_type: str, job_id: str) -> JobResult:
        """The status of a job. Never raises: if the query fails, the status is "error" and `error` has the reason."""
        try:
            queue = self._queue(job_type)
            found = (await get_jobs(queue.link, queue.keys, [job_id]))[0]
            if found is None:
                return JobResult(job_id=job_id, status="not_found")
            return _result(stored_job(queue.link, queue.keys, found), _STATUS.get(found.state, "error"))
        except Exception as error:
            return JobResult(job_id=job_id, status="error", error=str(error) or type(error).__name__)

    async def get_queue_stats(self, job_type: str) -> QueueStats:
        """How many jobs of a type are in each state."""
        found = await self._queue(job_type).counts()
        return QueueStats(
            waiting=found.waiting + found.paused + found.prioritized,
            active=found.active,
            succeeded=found.completed,
            failed=found.failed,
            delayed=found.delayed,
        )

    # --- running ------------------------------------------------------------------------------------------------------

    def register_processor(self, job_type: str, processor: Any) -> None:
        """Set the processor of a job type: a BaseProcessor, a @processor function or a plain function."""
        _check_type(job_type)
        self._processors[job_type] = as_processor(processor, job_type)

    async def start_workers(self) -> None:
        """Start a worker in this process for each type that has a processor. `close` stops them."""
        await self.open()
        for job_type, processor in self._processors.items():
            if job_type in self.workers:
                continue
            worker = Worker(
                f"{job_type}-queue",
                processor,
                redis=self.settings.redis,
                prefix=self.settings.prefix,
                concurrency=self.settings.concurrency_of(job_type),
                middleware=self._around_run,
                dependencies=self._dependencies,
                **worker_options(self.settings),
            )
            worker.on("error", _log_error)
            share_parts([worker], self._parts)
            self.workers[job_type] = worker
            self._running[job_type] = run = asyncio.create_task(worker.run(handle_signals=False))
            run.add_done_callback(_log_end)

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _connect(self) -> Connection | RedisPyLink:
        return await open_link(self.settings.redis, call_wait=self.settings.wait / 1000)

    async def _open_queues(self, link: Connection | RedisPyLink) -> None:
        queues = {
            job_type: Queue(f"{job_type}-queue", link=link, prefix=self.settings.prefix, middleware=self._around_add)
            for job_type in JOB_TYPES
        }
        for queue in queues.values():
            await queue.open()
        self.queues = queues

    def _queue(self, job_type: str) -> Queue:
        _check_type(job_type)
        if job_type not in self.queues:
            raise InvalidOption(
                "service: not open; use `async with JobQueueService(...)` or await service.open() first"
            )
        return self.queues[job_type]

    async def _add_task(
        self,
        task_name: str,
        service_name: str | None,
        function_name: str,
        parameters: Sequence[Any],
        context: Mapping[str, Any],
    ) -> str:
        options = {name: context[name] for name in ("delay", "retries", "priority") if context.get(name) is not None}
        data = {
            "subAccountId": context.get("subAccountId"),
            "userId": context.get("userId"),
            "taskName": task_name,
            "serviceName": service_name,
            "functionName": function_name,
            "parameters": list(parameters),
            "context": {name: value for name, value in context.items() if name not in options},
            "metadata": {
                "taskType": "service-method" if service_name else "standalone-function",
                "executedBy": "job-queue",
            },
        }
        return await self.add_job("generic-task", {k: v for k, v in data.items() if v is not None}, **options)


def _check_type(job_type: str) -> None:
    if job_type not in JOB_TYPES:
        raise UnknownJobType(
            f"job type: unknown type {job_type!r}; types are {', '.join(JOB_TYPES)}{did_you_mean(str(job_type), JOB_TYPES)}"
        )


def _attempts(retries: int) -> int:
    """`attempts`, runs in all, from `retries`, runs after the first."""
    return whole_number("retries", retries, 0, 999_999, "it counts runs after the first") + 1


def _wire_priority(priority: int) -> int:
    """BullMQ's priority (1 first) from the service's (higher first, 0 last).

    Never BullMQ's 0, which runs before every other: a plain job would overtake an urgent one.
    """
    return wire.MAX_PRIORITY - whole_number("priority", priority, 0, HIGHEST_PRIORITY, "the highest runs first")


def _result(job: Job[Any, Any], status: Status) -> JobResult:
    progress = job.progress if is_number(job.progress) else None
    return JobResult(
        job_id=job.id,
        status=status,
        progress=100 if status == "completed" and progress is None else progress,
        result=job.return_value if status == "completed" else None,
        error=job.failed_reason if status == "failed" else None,
        created_at=job.timestamp,
        completed_at=job.finished_on,
    )


def _log_error(error: BaseException) -> None:
    logger.error("Worker error: %s", error)


def _log_end(run: asyncio.Task[None]) -> None:
    if not run.cancelled() and (error := run.exception()) is not None:
        logger.error("Worker ended: %s", error)
