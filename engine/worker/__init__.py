"""The worker runtime."""

from engine.worker.group import WorkerGroup
from engine.worker.worker import RunningJob, Worker

__all__ = ["RunningJob", "Worker", "WorkerGroup"]
