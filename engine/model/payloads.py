"""The data of the specification's five job types: their fields, their spelling on the wire, their limits.

A Struct made in Python is not validated by making it; `check` validates either form.
Knows neither queues nor processors.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from engine.errors import InvalidData, UnknownJobType
from engine.model import codec

Identifier = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\x00-\x1f\x7f]+\Z")]
"""A name given by the application: not empty, no control characters."""

Recipient = Annotated[str, Meta(min_length=1, max_length=320)]
"""Loose on purpose: one bad address is that recipient's failure, not the job's."""

PhoneNumber = Annotated[str, Meta(min_length=1, max_length=40)]

FilePath = Annotated[str, Meta(min_length=1, max_length=1024)]


class JobData(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What every job of the specification carries. Attributes are snake_case, wire names camelCase (`subAccountId`)."""

    sub_account_id: Identifier
    """The tenant: whose data the job may touch."""
    user_id: Identifier | None = None
    metadata: dict[str, Any] | None = None


class EmailJobData(JobData, kw_only=True):
    """One message for each recipient, from a template and its data."""

    to: Annotated[list[Recipient], Meta(min_length=1, max_length=1000)]
    subject: Annotated[str, Meta(max_length=998, pattern=r"\A[^\r\n\x00]*\Z")]
    """Literal text. Empty takes the template's own subject."""
    template: Annotated[str, Meta(min_length=1, max_length=100)]
    template_data: dict[str, Any] | None = None


class SmsJobData(JobData, kw_only=True):
    """The same text to each number."""

    phone_numbers: Annotated[list[PhoneNumber], Meta(min_length=1, max_length=1000)]
    message: Annotated[str, Meta(min_length=1, max_length=1600)]
    campaign_id: Identifier | None = None


class DataExportJobData(JobData, kw_only=True):
    """The tenant's rows of one kind, as a file. `filters` holds values or comparisons: {"createdAt": {"gte": ...}}."""

    export_type: Literal["leads", "bookings", "users"]
    format: Literal["csv", "excel", "pdf"]
    filters: Annotated[dict[str, Any], Meta(max_length=50)] | None = None
    columns: Annotated[list[str], Meta(min_length=1, max_length=100)] | None = None
    """In the file's order. None takes every column that may be exported."""


class FileOptions(Struct, rename="camel", kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a thumbnail is made: the box it fits in, in pixels, and its format (None keeps the source's)."""

    width: Annotated[int, Meta(ge=1, le=4096)] = 256
    height: Annotated[int, Meta(ge=1, le=4096)] = 256
    format: Literal["jpeg", "png", "webp"] | None = None
    quality: Annotated[int, Meta(ge=1, le=95)] = 85


class FileProcessingJobData(JobData, kw_only=True):
    """Work on files in the tenant's folder of the storage; results go to a folder of the job's own."""

    operation: Literal["thumbnail", "zip"]
    files: Annotated[list[FilePath], Meta(min_length=1, max_length=1000)]
    """Paths relative to the tenant's folder."""
    output: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    """File name of the archive that `zip` makes."""
    options: FileOptions | None = None


class GenericTaskJobData(JobData, kw_only=True):
    """A call of what the worker's ServiceRegistry holds: a function, or a method if `service_name` is given."""

    task_name: Annotated[str, Meta(min_length=1, max_length=200)]
    """For people: logs and the dashboard."""
    function_name: Identifier
    service_name: Identifier | None = None
    parameters: Annotated[list[Any], Meta(max_length=100)]
    context: dict[str, Any] | None = None


JOB_TYPES: Final[Mapping[str, type[JobData]]] = {
    "email": EmailJobData,
    "sms": SmsJobData,
    "data-export": DataExportJobData,
    "file-processing": FileProcessingJobData,
    "generic-task": GenericTaskJobData,
}
"""Job type (which is also the job's name) -> the Struct of its data."""


def check(job_type: str, data: Mapping[str, Any] | Struct) -> JobData:
    """`data`, a Struct or a mapping with wire names, as the validated Struct of `job_type`.

    Raises UnknownJobType, or InvalidData with the path of what does not fit.
    """
    kind = JOB_TYPES.get(job_type)
    if kind is None:
        raise UnknownJobType(f"job type {job_type!r} does not exist: use one of {', '.join(JOB_TYPES)}")
    if isinstance(data, Struct):
        return _check_struct(job_type, data, kind)
    if not isinstance(data, Mapping):
        raise InvalidData(f"data: expected {kind.__name__} or a dict for {job_type!r}, got {type(data).__name__}")
    _refuse_unknown(job_type, data, kind)
    return codec.convert("data", dict(data), kind)


def _check_struct(job_type: str, data: Struct, kind: type[JobData]) -> JobData:
    if not isinstance(data, kind):
        raise InvalidData(f"data: {job_type!r} takes {kind.__name__}, got {type(data).__name__}")
    checked: JobData = codec.decode("data", codec.encode("data", data), type(data))
    return checked


def _refuse_unknown(job_type: str, data: Mapping[str, Any], kind: type[JobData]) -> None:
    # A misspelt optional field would otherwise vanish without a word.
    known = kind.__struct_encode_fields__
    for name in data:
        if name in known:
            continue
        close = difflib.get_close_matches(_camel(str(name)), known, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else "put fields of your own into 'metadata'"
        raise InvalidData(f"data: $.{name}: not a field of {job_type!r}; {remedy}")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
