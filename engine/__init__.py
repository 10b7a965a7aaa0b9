"""Corral: a job-queue engine for Python on Redis that shares its queues with BullMQ.

The public names, and nothing but them.
"""

from engine import errors, events
from engine.connection import RedisSettings
from engine.dead_letters import AtLeast, DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetters, ReplayReport
from engine.errors import RateLimited, Retry, Snooze, UnrecoverableError, WaitForChildren
from engine.flows import FlowNode, FlowProducer
from engine.job import Job
from engine.metrics import CountsPerType, Metrics, OldestWaiting
from engine.middleware import AroundAdd, AroundRun, current_job, current_tenant, job_context
from engine.model.backoff import Backoff
from engine.model.flow_rows import FlowJob, chain
from engine.model.limits import RateLimit
from engine.model.options import Deduplication, JobOptions, Keep, Parent
from engine.model.payloads import (
    DataExportJobData,
    EmailJobData,
    FileOptions,
    FileProcessingJobData,
    GenericTaskJobData,
    JobData,
    SmsJobData,
)
from engine.model.records import Counts, NewJob
from engine.processor import BaseProcessor, batch_processor, processor
from engine.queue import Queue
from engine.queue_events import QueueEvents
from engine.schedules import Schedule, Schedules
from engine.scripts.cancel import Cancellation
from engine.service.registry import ServiceRegistry, TaskContext
from engine.service.service import JobQueueService, JobResult, QueueStats
from engine.settings import Settings
from engine.sync.queue import SyncQueue
from engine.sync.views import SyncJob
from engine.worker import Worker, WorkerGroup
from engine.worker.loops.dead_letter_alert import DeadLetterAlert

__all__ = [
    "Queue", "SyncQueue", "NewJob", "Job", "SyncJob", "JobOptions", "Deduplication", "Parent", "Keep", "Counts", "Cancellation",
    "QueueEvents", "events", "Metrics", "CountsPerType", "OldestWaiting", "FlowProducer", "FlowJob", "FlowNode", "chain",
    "Worker", "WorkerGroup", "processor", "batch_processor", "BaseProcessor", "Backoff", "Retry", "Snooze", "RateLimited", "RateLimit",
    "UnrecoverableError", "WaitForChildren", "errors", "AroundAdd", "AroundRun", "job_context", "current_job", "current_tenant",
    "AtLeast", "DeadLetters", "DeadLetter", "DeadLetterFilter", "DeadLetterPage", "ReplayReport", "DeadLetterAlert", "Schedules", "Schedule",
    "JobQueueService", "ServiceRegistry", "TaskContext", "JobResult", "QueueStats", "RedisSettings", "Settings",
    "JobData", "EmailJobData", "SmsJobData", "DataExportJobData", "FileProcessingJobData", "FileOptions", "GenericTaskJobData",
]  # fmt: skip
