"""Generic tasks by the sample registry, and the assembly of all processors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import GenericTaskJobData, ServiceRegistry, TaskContext, errors
from processors import build
from processors.generic_task import GenericTaskProcessor
from processors.sample_services import Report, Synced, sample_registry
from processors.settings import Settings
from tests.processors.jobs import NotedJob


def job(function: str, parameters: list[Any], service: str | None = None) -> NotedJob[GenericTaskJobData]:
    data = GenericTaskJobData(
        sub_account_id="1",
        user_id="u1",
        task_name="Task",
        function_name=function,
        service_name=service,
        parameters=parameters,
        context={"source": "api"},
    )
    return NotedJob("generic-task", data, id="9")


async def test_a_service_method_runs_for_the_jobs_tenant() -> None:
    result = await GenericTaskProcessor(sample_registry()).process(job("sync", [42], "ContactsService"))
    assert result == Synced(integration_id=42, tenant="1", contacts=128)


async def test_a_function_runs_with_its_parameters() -> None:
    result = await GenericTaskProcessor(sample_registry()).process(
        job("generateReport", ["leads", {"status": "qualified"}])
    )
    assert isinstance(result, Report)
    assert (result.title, result.tenant, result.filters) == ("Leads: status = qualified", "1", {"status": "qualified"})


async def test_a_task_is_told_on_whose_behalf_it_runs() -> None:
    told: list[TaskContext] = []

    async def note(*, context: TaskContext) -> None:
        told.append(context)

    registry = ServiceRegistry()
    registry.register_function("note", note)
    await GenericTaskProcessor(registry).process(job("note", []))
    assert told == [
        TaskContext(sub_account_id="1", user_id="u1", task_name="Task", job_id="9", values={"source": "api"})
    ]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (job("generateReport", ["leads", {}], "Nobody"), "'Nobody' is not registered; registered are: ContactsService"),
        (job("__init__", [], "ContactsService"), "no method '__init__' registered; it has: sync"),
        (job("os.system", ["true"]), "'os.system' is not registered; registered are: generateReport"),
        (job("sync", ["42"], "ContactsService"), "parameter 'integration_id'"),
        (job("sync", [], "ContactsService"), "takes (integration_id), got 0"),
    ],
)
async def test_what_the_registry_does_not_have_fails_the_job_for_good(
    asked: NotedJob[GenericTaskJobData], reason: str
) -> None:
    with pytest.raises(errors.UnrecoverableError) as caught:
        await GenericTaskProcessor(sample_registry()).process(asked)
    assert reason in str(caught.value)


def test_the_environment_decides_what_processors_are_built_with() -> None:
    env = {
        "SMTP_URL": "smtps://user%40x:p%40ss@mail.example",
        "MAIL_FROM": "a@x.example",
        "SMS_PROVIDER": "twilio",
        "TWILIO_ACCOUNT_SID": "AC1",
        "TWILIO_AUTH_TOKEN": "secret",
        "TWILIO_FROM": "+15550001111",
        "TWILIO_BASE_URL": "http://127.0.0.1:9/",
        "STORAGE_DIR": "somewhere",
        "FILE_MAX_BYTES": "1000",
    }
    settings = Settings.load(env)
    assert settings.smtp is not None
    assert settings.twilio is not None
    smtp = settings.smtp
    assert (smtp.host, smtp.port, smtp.username, smtp.password, smtp.tls) == (
        "mail.example",
        465,
        "user@x",
        "p@ss",
        "tls",
    )
    assert settings.twilio.base_url == "http://127.0.0.1:9"
    assert settings.storage_dir == Path("somewhere").resolve()
    assert settings.file_max_bytes == 1000
    assert "p@ss" not in repr(settings)
    assert "secret" not in repr(settings)
    assert [processor.name for processor in build(settings)] == [
        "email", "sms", "data-export", "file-processing", "generic-task",
    ]  # fmt: skip


def test_an_empty_environment_gives_processors_that_need_no_service() -> None:
    settings = Settings.load({})
    assert (settings.smtp, settings.twilio) == (None, None)
    assert settings.export_database_url == f"sqlite+aiosqlite:///{Path('corral-data').resolve()}/export.db"
    assert len(build(settings)) == 5


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"SMTP_URL": "http://secret@x"}, "SMTP_URL begins with 'http'"),
        ({"SMTP_URL": "smtp://u:secret@host:99999"}, "SMTP_URL is not a URL"),
        ({"SMTP_HOST": "h", "SMTP_PORT": "abc"}, "SMTP_PORT='abc': Expected `int`"),
        ({"SMTP_HOST": "h", "SMTP_TLS": "maybe"}, "SMTP_TLS='maybe'"),
        ({"SMS_PROVIDER": "pigeon"}, "SMS_PROVIDER='pigeon'"),
        ({"SMS_PROVIDER": "twilio"}, "TWILIO_ACCOUNT_SID is not set"),
        ({"FILE_MAX_BYTES": "1GB"}, "FILE_MAX_BYTES='1GB'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(env: dict[str, str], reason: str) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        Settings.load(env)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


_CORE_ONLY = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"aiosmtplib", "jinja2", "aiohttp", "sqlalchemy", "aiosqlite", "PIL"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import asyncio, processors
from engine import DataExportJobData, EmailJobData, FileProcessingJobData, SmsJobData, errors
from processors import build
from processors.settings import Settings
from processors.storage import Storage
from tests.processors.jobs import NotedJob
assert [getattr(p, "name") for p in processors.PROCESSORS][-1] == "probe"
env = {"SMTP_HOST": "127.0.0.1", "MAIL_FROM": "a@x.example", "SMS_PROVIDER": "twilio", "TWILIO_ACCOUNT_SID": "a",
       "TWILIO_AUTH_TOKEN": "b", "TWILIO_FROM": "+15550001111", "STORAGE_DIR": sys.argv[1]}
settings = Settings.load(env)
(Storage(settings.storage_dir).folder("1") / "a.jpg").write_bytes(b"x")
by_name = {p.name: p for p in build(settings)}
jobs = {
    "email": EmailJobData(sub_account_id="1", to=["a@x.example"], subject="s", template="welcome-email"),
    "sms": SmsJobData(sub_account_id="1", phone_numbers=["+15551234567"], message="m"),
    "data-export": DataExportJobData(sub_account_id="1", export_type="leads", format="csv"),
    "file-processing": FileProcessingJobData(sub_account_id="1", operation="thumbnail", files=["a.jpg"]),
}
for name, data in jobs.items():
    try:
        asyncio.run(by_name[name].process(NotedJob(name, data)))
    except errors.MissingExtra as error:
        print(name, error.extra)
"""


def test_with_the_core_alone_processors_load_and_each_says_which_extra_it_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CORE_ONLY, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["email email", "sms sms", "data-export export", "file-processing files"]
