"""Generic tasks: calls functions and service methods that are registered in a ServiceRegistry."""

from __future__ import annotations

from typing import Any

from engine import BaseProcessor, GenericTaskJobData, Job, ServiceRegistry, TaskContext


class GenericTaskProcessor(BaseProcessor[GenericTaskJobData, Any]):
    """Calls the registered function that the job names. An unknown name or wrong parameters fail the job without retry."""

    name = "generic-task"

    def __init__(self, registry: ServiceRegistry) -> None:
        super().__init__()
        self._registry = registry

    async def process(self, job: Job[GenericTaskJobData]) -> Any:
        """Call the function, or the method if the job names a service, and return what it returns."""
        data, context = job.data, _context(job)
        if data.service_name is None:
            return await self._registry.call_function(data.function_name, data.parameters, context)
        return await self._registry.call_service(data.service_name, data.function_name, data.parameters, context)


def _context(job: Job[GenericTaskJobData]) -> TaskContext:
    return TaskContext(
        sub_account_id=job.data.sub_account_id,
        user_id=job.data.user_id,
        task_name=job.data.task_name,
        job_id=job.id,
        values=job.data.context or {},
    )
