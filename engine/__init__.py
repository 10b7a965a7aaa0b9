"""Corral: a job-queue engine for Python on Redis that shares its queues with BullMQ.

The public names, and nothing but them.
"""

from engine import errors, happened
from engine.backoff import Backoff
from engine.blocking import SyncJob
from engine.dead_letters import AtLeast, DeadLetter, DeadLetters, LetterFilter, LetterPage, ReplayReport
from engine.errors import RateLimited, Retry, Snooze, UnrecoverableError, WaitForChildren
from engine.flows import FlowNode, FlowProducer
from engine.handle import Job
from engine.hooks import AroundAdd, AroundRun, current_job, current_tenant, job_context
from engine.job import Counts, NewJob
from engine.limits import RateLimit
from engine.link import RedisSettings
from engine.measures import CountsPerType, Metrics, OldestWaiting
from engine.options import Deduplication, JobOptions, Keep, Parent
from engine.payloads import (
    DataExportJobData,
    EmailJobData,
    FileOptions,
    FileProcessingJobData,
    GenericTaskJobData,
    JobData,
    SmsJobData,
)
from engine.processor import BaseProcessor, batch_processor, processor
from engine.queue import Queue
from engine.queue_events import QueueEvents
from engine.registry import ServiceRegistry, TaskContext
from engine.schedules import Schedule, Schedules
from engine.scripts.cancel import Cancellation
from engine.service import JobQueueService, JobResult, QueueStats
from engine.settings import Settings
from engine.sync import SyncQueue
from engine.tree import FlowJob, chain
from engine.worker import Worker
from engine.worker.letter_watch import DeadLetterAlert

__all__ = [
    "Queue", "SyncQueue", "NewJob", "Job", "SyncJob", "JobOptions", "Deduplication", "Parent", "Keep", "Counts", "Cancellation",
    "QueueEvents", "happened", "Metrics", "CountsPerType", "OldestWaiting", "FlowProducer", "FlowJob", "FlowNode", "chain",
    "Worker", "processor", "batch_processor", "BaseProcessor", "Backoff", "Retry", "Snooze", "RateLimited", "RateLimit",
    "UnrecoverableError", "WaitForChildren", "errors", "AroundAdd", "AroundRun", "job_context", "current_job", "current_tenant",
    "AtLeast", "DeadLetters", "DeadLetter", "LetterFilter", "LetterPage", "ReplayReport", "DeadLetterAlert", "Schedules", "Schedule",
    "JobQueueService", "ServiceRegistry", "TaskContext", "JobResult", "QueueStats", "RedisSettings", "Settings",
    "JobData", "EmailJobData", "SmsJobData", "DataExportJobData", "FileProcessingJobData", "FileOptions", "GenericTaskJobData",
]  # fmt: skip
