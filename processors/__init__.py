"""The processors of the five job types, and a probe. `PROCESSORS` is what `python -m engine.worker` runs by default.

An application lists what it wants in a module of its own: `PROCESSORS = [*build(settings, registry=mine), my_own]`.
"""

from __future__ import annotations

from typing import Any

from engine import BaseProcessor, ServiceRegistry
from processors.data_export import DataExportProcessor
from processors.email import EmailProcessor
from processors.file_processing import FileProcessingProcessor, Limits
from processors.generic_task import GenericTaskProcessor
from processors.probe import probe
from processors.sample_services import sample_registry
from processors.settings import Settings
from processors.sms import ConsoleProvider, SmsProcessor, SmsProvider, SmsService
from processors.smtp import Mailer
from processors.storage import Storage
from processors.templating import PACKAGED, Templates
from processors.twilio import TwilioProvider


def build(settings: Settings, *, registry: ServiceRegistry | None = None) -> list[BaseProcessor[Any, Any]]:
    """The five processors, with their services from `settings`. Without a registry generic tasks use the sample services."""
    storage = Storage(settings.storage_dir)
    mailer = Mailer(settings.smtp) if settings.smtp else None
    own_templates = [settings.email_templates] if settings.email_templates else []
    limits = Limits(max_bytes=settings.file_max_bytes, max_pixels=settings.file_max_pixels)
    return [
        EmailProcessor(mailer, Templates([*own_templates, PACKAGED]), settings.mail_from),
        SmsProcessor(SmsService(_provider(settings))),
        DataExportProcessor(settings.export_database_url, storage),
        FileProcessingProcessor(storage, limits),
        GenericTaskProcessor(registry or sample_registry()),
    ]


def _provider(settings: Settings) -> SmsProvider:
    return TwilioProvider(settings.twilio) if settings.twilio else ConsoleProvider()


PROCESSORS = [*build(Settings.load()), probe]
