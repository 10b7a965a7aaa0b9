"""Corral: a job-queue engine for Python on Redis that shares its queues with BullMQ.

The public names, and nothing but them.
"""

from engine import errors
from engine.backoff import Backoff
from engine.errors import Retry, UnrecoverableError
from engine.handle import Job
from engine.hooks import AroundAdd, AroundRun, current_job, current_tenant, job_context
from engine.job import Counts, NewJob
from engine.link import RedisSettings
from engine.options import JobOptions, Keep
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
from engine.registry import ServiceRegistry, TaskContext
from engine.service import JobQueueService, JobResult, QueueStats
from engine.settings import Settings
from engine.sync import SyncJob, SyncQueue
from engine.worker import Worker

__all__ = [
    "Queue", "SyncQueue", "NewJob", "Job", "SyncJob", "JobOptions", "Keep", "Counts",
    "Worker", "processor", "batch_processor", "BaseProcessor", "Backoff", "Retry", "UnrecoverableError", "errors",
    "AroundAdd", "AroundRun", "job_context", "current_job", "current_tenant",
    "JobQueueService", "ServiceRegistry", "TaskContext", "JobResult", "QueueStats", "RedisSettings", "Settings",
    "JobData", "EmailJobData", "SmsJobData", "DataExportJobData", "FileProcessingJobData", "FileOptions", "GenericTaskJobData",
]  # fmt: skip
