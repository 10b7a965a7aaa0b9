"""JobQueueService: job types, retries, statuses, and priorities in which higher numbers run first."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from engine import BaseProcessor, Job, JobQueueService, NewJob, RedisSettings, Settings, SmsJobData, processor
from engine.errors import InvalidData, InvalidOption, UnknownJobType
from tests.support.running import until


class Sms(BaseProcessor[SmsJobData, dict[str, Any]]):
    def __init__(self) -> None:
        self.order: list[str] = []

    async def process(self, job: Job[SmsJobData]) -> dict[str, Any]:
        self.order.append(job.data.message)
        if job.data.message == "fail":
            raise ConnectionError("Connection timeout")
        await job.update_progress(50)
        return {"total": len(job.data.phone_numbers)}


def sms(message: str) -> dict[str, Any]:
    return {"subAccountId": "1", "phoneNumbers": ["+1234567890"], "message": message}


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings(redis=RedisSettings.parse(redis_url), max_concurrency=1)


async def test_a_job_goes_from_pending_to_completed(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "engine.jobs")
    processor = Sms()
    async with JobQueueService(settings, processors={"sms": processor}) as service:
        plain = await service.add_job("sms", sms("plain"))
        urgent = await service.add_job("sms", sms("urgent"), priority=100)
        later = await service.add_job("sms", sms("later"), delay=60_000)
        assert (await service.get_job_status("sms", plain)).status == "pending"
        assert (await service.get_job_status("sms", later)).status == "pending"
        stats = await service.get_queue_stats("sms")
        assert (stats.waiting, stats.delayed, stats.active, stats.succeeded, stats.failed) == (2, 1, 0, 0, 0)

        await service.start_workers()
        done = await until(lambda: _status(service, plain, "completed"), "the job is completed")
        assert processor.order == ["urgent", "plain"]
        assert (done.result, done.progress, done.error) == ({"total": 1}, 50, None)
        assert done.created_at <= done.completed_at
        assert (await service.get_job_status("sms", "none")).status == "not_found"
    lines = [record.getMessage() for record in caplog.records]
    assert f"📤 sms job {urgent} queued" in lines
    assert f"🔄 Processing sms job {urgent}" in lines
    assert f"✅ sms job {urgent} completed" in lines


async def test_retries_are_runs_after_the_first(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "engine.jobs")
    processor = Sms()
    async with JobQueueService(settings, processors={"sms": processor}) as service:
        await service.start_workers()
        job_id = await service.add_job("sms", sms("fail"), retries=2, backoff=1)
        failed = await until(lambda: _status(service, job_id, "failed"), "the job has failed")
        assert processor.order == ["fail"] * 3
        assert failed.error == "Connection timeout"
    failures = [
        record for record in caplog.records if record.getMessage() == f"❌ sms job {job_id} failed: Connection timeout"
    ]
    assert [record.levelname for record in failures] == ["WARNING", "WARNING", "ERROR"]


async def test_bad_data_is_refused_with_its_path(settings: Settings) -> None:
    async with JobQueueService(settings) as service:
        with pytest.raises(InvalidData, match="phoneNumbers"):
            await service.add_job("sms", {"subAccountId": "1", "phoneNumbers": [7], "message": "x"})
        with pytest.raises(InvalidData, match="subAccountId"):
            await service.add_job("sms", {"phoneNumbers": ["+1"], "message": "x"})
        with pytest.raises(UnknownJobType, match="fax"):
            await service.add_job("fax", sms("x"))
        with pytest.raises(InvalidOption, match="priority"):
            await service.add_job("sms", sms("x"), priority=-1)
        with pytest.raises(InvalidOption, match="retries"):
            await service.add_job("sms", sms("x"), retries=-1)
        with pytest.raises(InvalidOption, match="delay"):
            await service.add_job("sms", sms("x"), delay=-5)
        assert (await service.get_queue_stats("sms")).waiting == 0
        assert (await service.get_job_status("fax", "1")).status == "error"


async def test_tasks_are_added_by_service_or_function(settings: Settings) -> None:
    async with JobQueueService(settings) as service:
        method = await service.execute_service_method(
            "Sync Contacts", "ContactsService", "sync", [42], {"subAccountId": "1", "userId": "7", "delay": 10_000}
        )
        function = await service.execute_task(
            "Generate Report",
            "generateReport",
            ["leads", {"status": "qualified"}],
            {"subAccountId": "1", "priority": 5},
        )
        delayed = await service.queues["generic-task"].get_job(method)
        assert delayed is not None
        assert (delayed.delay, delayed.data["serviceName"], delayed.data["userId"]) == (10_000, "ContactsService", "7")
        waiting = await service.queues["generic-task"].get_job(function)
        assert waiting is not None
        assert waiting.data["parameters"] == ["leads", {"status": "qualified"}]
        assert "serviceName" not in waiting.data
        with pytest.raises(InvalidData, match="subAccountId"):
            await service.execute_task("x", "y", [], {})


class Rate(int):
    """Cents for one message."""


async def test_middleware_and_dependencies_reach_its_workers(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    @processor("sms")
    async def bill(job: Job[SmsJobData], rate: Rate) -> int:
        if job.data.message == "fail":
            raise KeyError("rate")
        return rate * len(job.data.phone_numbers)

    async def stamp(new_job: NewJob, call_next: Any) -> Any:
        new_job.change(attempts=1)
        return await call_next(new_job)

    async def doubled(job: Job[Any], call_next: Any) -> Any:
        return 2 * await call_next(job)

    env = {"REDIS_URL": redis_url, "JOB_QUEUE_METRICS": "60", "JOB_QUEUE_DEAD_LETTER_ALERT": "0"}
    hooks: dict[str, Any] = {"around_add": [stamp], "around_run": [doubled], "dependencies": [Rate(7)]}
    async with JobQueueService(Settings.load(env=env), processors={"sms": bill}, **hooks) as service:
        await service.start_workers()
        good, bad = await service.add_job("sms", sms("x")), await service.add_job("sms", sms("fail"))
        done = await until(lambda: _status(service, good, "completed"), "the job is completed")
        assert done.result == 14
        await until(lambda: _status(service, bad, "failed"), "the job has failed, at its one attempt")
        await until(lambda: "sms-queue has 1 dead letters, more than 0" in caplog.text, "someone is told", timeout=20)
        assert (await service.queues["sms"].metrics("failed")).total == 1


def test_a_setting_that_cannot_be_is_refused() -> None:
    for name, text in (("METRICS", "0"), ("CANCEL_GRACE", "9"), ("DEAD_LETTER_ALERT", "-1"), ("DEAD_LETTERS", "all")):
        with pytest.raises(InvalidOption, match=f"JOB_QUEUE_{name}: '{text}'"):
            Settings.load(env={f"JOB_QUEUE_{name}": text})


async def test_asking_never_raises(settings: Settings) -> None:
    service = JobQueueService(settings)
    assert (await service.get_job_status("sms", "1")).status == "error"
    async with asyncio.timeout(10):
        await service.open()
        await service.close()


async def _status(service: JobQueueService, job_id: str, wanted: str) -> Any:
    found = await service.get_job_status("sms", job_id)
    return found if found.status == wanted else None
