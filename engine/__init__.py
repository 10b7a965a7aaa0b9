"""Corral: a job-queue engine for Python on Redis that shares its queues with BullMQ.

The public names, and nothing but them.
"""

from engine import errors
from engine.backoff import Backoff
from engine.dead_letters import DeadLetter, DeadLetters, LetterFilter, LetterPage, ReplayReport
from engine.errors import Retry, Snooze, UnrecoverableError
from engine.handle import Job
from engine.job import Counts, NewJob
from engine.link import RedisSettings
from engine.options import Deduplication, JobOptions, Keep
from engine.payloads import (
    DataExportJobData,
    EmailJobData,
    FileOptions,
    FileProcessingJobData,
    GenericTaskJobData,
    JobData,
    SmsJobData,
)
from engine.processor import BaseProcessor, processor
from engine.queue import Queue
from engine.registry import ServiceRegistry, TaskContext
from engine.schedules import Schedule, Schedules
from engine.service import JobQueueService, JobResult, QueueStats
from engine.settings import Settings
from engine.sync import SyncJob, SyncQueue
from engine.worker import Worker
from engine.worker.letter_watch import DeadLetterAlert

__all__ = [
    "Queue", "SyncQueue", "NewJob", "Job", "SyncJob", "JobOptions", "Deduplication", "Keep", "Counts",
    "Worker", "processor", "BaseProcessor", "Backoff", "Retry", "Snooze", "UnrecoverableError", "errors",
    "DeadLetters", "DeadLetter", "LetterFilter", "LetterPage", "ReplayReport", "DeadLetterAlert", "Schedules", "Schedule",
    "JobQueueService", "ServiceRegistry", "TaskContext", "JobResult", "QueueStats", "RedisSettings", "Settings",
    "JobData", "EmailJobData", "SmsJobData", "DataExportJobData", "FileProcessingJobData", "FileOptions", "GenericTaskJobData",
]  # fmt: skip
