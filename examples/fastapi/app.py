"""An HTTP API with slow work: add a report, read its status, follow its progress as server-sent events."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Annotated, Any, TypedDict, cast
from uuid import UUID

from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from engine import Job, Keep, Queue, QueueEvents, Worker, errors, events
from examples.fastapi.jobs import QUEUE, Report, ReportRequest, write_report

KEEP = Keep(age=timedelta(days=1))
"""How long clients can ask for a report that is finished."""


class State(TypedDict):
    queue: Queue


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """One queue for all requests; with WORKER_IN_PROCESS=1 also a worker on the same event loop."""
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(Queue(QUEUE))  # the server of REDIS_URL
        if os.environ.get("WORKER_IN_PROCESS") == "1":
            await stack.enter_async_context(worker_in_process())
        yield {"queue": queue}


@asynccontextmanager
async def worker_in_process() -> AsyncIterator[None]:
    worker = Worker(QUEUE, write_report, concurrency=5)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        yield
        # Running jobs have 30 s to finish. Those that do not finish go back to the queue, and another worker runs them.
        await worker.close(timeout=30_000)


app = FastAPI(title="Reports", lifespan=lifespan)


class Added(BaseModel):
    id: str


class Status(BaseModel):
    id: str
    state: str
    progress: Any = None
    report: Report | None = None
    error: str | None = None

    @property
    def is_final(self) -> bool:
        return self.state in ("completed", "failed")


def open_queue(request: Request) -> Queue:
    return cast(Queue, request.state.queue)


async def find_job(job_id: str, queue: Annotated[Queue, Depends(open_queue)]) -> Job[ReportRequest, Report]:
    job = await queue.get_job(job_id, write_report)
    if job is None:
        raise errors.JobNotFound(job_id, QUEUE)
    return job


@app.post("/reports", status_code=202)
async def add(
    report: ReportRequest,
    queue: Annotated[Queue, Depends(open_queue)],
    request: Request,
    response: Response,
    idempotency_key: Annotated[UUID | None, Header()] = None,
) -> Added:
    """Add a report. A client that got no answer sends the same Idempotency-Key again and gets the same job."""
    job_id = None if idempotency_key is None else str(idempotency_key)
    job = await queue.add(write_report, report, job_id=job_id, remove_on_complete=KEEP, remove_on_fail=KEEP)
    response.headers["Location"] = str(request.url_for("read", job_id=job.id))
    return Added(id=job.id)


@app.get("/reports/{job_id}")
async def read(job: Annotated[Job[ReportRequest, Report], Depends(find_job)]) -> Status:
    return await status_of(job)


@app.get("/reports/{job_id}/events", response_class=EventSourceResponse)
async def follow(job: Annotated[Job[ReportRequest, Report], Depends(find_job)]) -> AsyncIterator[ServerSentEvent]:
    """The status now and after each change; the last one has the report or the error."""
    # Opened before the status is read, so that no change falls between the two.
    async with QueueEvents(QUEUE) as stream:
        with suppress(errors.JobNotFound):  # removed meanwhile
            status = await status_of(job)
            yield ServerSentEvent(data=status)
            changes = stream.events()
            while not status.is_final:
                event = await anext(changes)
                # A Gap: events were dropped from the stream before they were read.
                if event.job_id == job.id or isinstance(event, events.Gap):
                    previous, status = status, await status_of(job)
                    if status != previous:
                        yield ServerSentEvent(data=status)


async def status_of(job: Job[ReportRequest, Report]) -> Status:
    state = await job.state()
    await job.refresh()  # after the state, so that a completed job has its report
    return Status(id=job.id, state=state, progress=job.progress, report=job.return_value, error=job.failed_reason)


@app.exception_handler(errors.JobNotFound)
async def not_found(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=404)


@app.exception_handler(errors.LinkError)
async def unavailable(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the queue is not available"}, status_code=503, headers={"Retry-After": "5"})
