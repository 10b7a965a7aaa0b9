"""The data of the five job types: names on the wire, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from engine.errors import InvalidData, UnknownJobType
from engine.model.payloads import (
    JOB_TYPES,
    DataExportJobData,
    EmailJobData,
    FileOptions,
    FileProcessingJobData,
    GenericTaskJobData,
    JobData,
    SmsJobData,
    check,
)

EXAMPLES: Mapping[str, dict[str, Any]] = {
    "email": {
        "subAccountId": "1",
        "userId": "123",
        "to": ["user@example.com"],
        "subject": "Welcome to Loctelli",
        "template": "welcome-email",
        "templateData": {"name": "John Doe", "company": "Acme Corp"},
    },
    "sms": {
        "subAccountId": "1",
        "phoneNumbers": ["+1234567890", "+0987654321"],
        "message": "Hello from Loctelli!",
        "campaignId": "campaign-123",
    },
    "data-export": {
        "subAccountId": "1",
        "exportType": "leads",
        "format": "csv",
        "filters": {"status": "qualified", "createdAt": {"gte": "2024-01-01T00:00:00.000Z"}},
        "columns": ["id", "name", "email", "phone", "status"],
    },
    "file-processing": {
        "subAccountId": "1",
        "operation": "thumbnail",
        "files": ["a.jpg"],
        "options": {"width": 100},
    },
    "generic-task": {
        "subAccountId": "1",
        "userId": "123",
        "taskName": "Sync GHL Contacts",
        "functionName": "syncContacts",
        "serviceName": "GhlService",
        "parameters": [42],
        "context": {"subAccountId": "1"},
        "metadata": {"taskType": "service-method", "executedBy": "job-queue"},
    },
}
"""The specification's own, where it has one."""

STRUCTS: list[JobData] = [
    EmailJobData(sub_account_id="1", to=["a"], subject="s", template="t", template_data={"a": 1}),
    SmsJobData(sub_account_id="1", phone_numbers=["+1"], message="m", metadata={"source": "api"}),
    DataExportJobData(sub_account_id="1", export_type="users", format="pdf"),
    FileProcessingJobData(sub_account_id="1", operation="zip", files=["a"], options=FileOptions(width=5)),
    GenericTaskJobData(sub_account_id="1", task_name="t", function_name="f", parameters=[]),
]


@pytest.mark.parametrize("job_type", EXAMPLES)
def test_the_specifications_examples_round_trip(job_type: str) -> None:
    taken = check(job_type, EXAMPLES[job_type])
    assert type(taken) is JOB_TYPES[job_type]
    assert msgspec.json.decode(msgspec.json.encode(taken)) == EXAMPLES[job_type]


@pytest.mark.parametrize("data", STRUCTS, ids=lambda data: type(data).__name__)
def test_a_struct_passes_and_keeps_its_values(data: JobData) -> None:
    job_type = next(word for word, kind in JOB_TYPES.items() if kind is type(data))
    assert check(job_type, data) == data


def test_required_fields_are_on_the_wire_even_if_empty() -> None:
    encoded = msgspec.json.encode(STRUCTS[-1])
    assert encoded == b'{"subAccountId":"1","taskName":"t","functionName":"f","parameters":[]}'


@pytest.mark.parametrize(
    ("job_type", "change", "reason"),
    [
        ("sms", {"subAccountId": ...}, "data: Object missing required field `subAccountId`"),
        ("sms", {"subAccountId": ""}, "data: $.subAccountId: Expected `str` of length >= 1"),
        ("sms", {"subAccountId": 1}, "data: $.subAccountId: Expected `str`, got `int`"),
        ("sms", {"subAccountId": "a\nb"}, "data: $.subAccountId: Expected `str` matching regex"),
        ("sms", {"subAccountId": "x" * 201}, "data: $.subAccountId: Expected `str` of length <= 200"),
        ("sms", {"phoneNumbers": []}, "data: $.phoneNumbers: Expected `array` of length >= 1"),
        ("sms", {"phoneNumbers": ["+1"] * 1001}, "data: $.phoneNumbers: Expected `array` of length <= 1000"),
        ("sms", {"phoneNumbers": ["+1", 2]}, "data: $.phoneNumbers[1]: Expected `str`, got `int`"),
        ("sms", {"phoneNumbers": "+1"}, "data: $.phoneNumbers: Expected `array`, got `str`"),
        ("sms", {"message": ""}, "data: $.message: Expected `str` of length >= 1"),
        ("sms", {"message": None}, "data: $.message: Expected `str`, got `null`"),
        ("sms", {"metadata": []}, "data: $.metadata: Expected `object | null`, got `array`"),
        ("sms", {"phone_numbers": ["+1"]}, "data: $.phone_numbers: not a field of 'sms'; did you mean 'phoneNumbers'?"),
        ("sms", {"zzz": 1}, "data: $.zzz: not a field of 'sms'; put fields of your own into 'metadata'"),
        ("email", {"to": []}, "data: $.to: Expected `array` of length >= 1"),
        ("email", {"to": [""]}, "data: $.to[0]: Expected `str` of length >= 1"),
        ("email", {"subject": "a\r\nBcc: x"}, "data: $.subject: Expected `str` matching regex"),
        ("email", {"subject": "a\n"}, "data: $.subject: Expected `str` matching regex"),
        ("email", {"templateDate": {}}, "did you mean 'templateData'?"),
        ("data-export", {"exportType": "leeds"}, "data: $.exportType: Invalid enum value 'leeds'"),
        ("data-export", {"format": "xml"}, "data: $.format: Invalid enum value 'xml'"),
        ("data-export", {"columns": []}, "data: $.columns: Expected `array` of length >= 1"),
        ("file-processing", {"operation": "delete"}, "data: $.operation: Invalid enum value 'delete'"),
        ("file-processing", {"options": {"width": 0}}, "data: $.options.width: Expected `int` >= 1"),
        ("file-processing", {"options": {"widht": 9}}, "data: $.options: Object contains unknown field `widht`"),
        ("generic-task", {"parameters": {}}, "data: $.parameters: Expected `array`, got `object`"),
        ("generic-task", {"functionName": ""}, "data: $.functionName: Expected `str` of length >= 1"),
    ],
)
def test_bad_data_is_refused_with_the_path_of_the_field(job_type: str, change: dict[str, Any], reason: str) -> None:
    data = {name: value for name, value in (EXAMPLES[job_type] | change).items() if value is not ...}
    with pytest.raises(InvalidData) as caught:
        check(job_type, data)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (SmsJobData(sub_account_id="", phone_numbers=["+1"], message="m"), "$.subAccountId"),
        (SmsJobData(sub_account_id="1", phone_numbers=[], message="m"), "$.phoneNumbers"),
        (SmsJobData(sub_account_id=1, phone_numbers=["+1"], message="m"), "$.subAccountId"),  # type: ignore[arg-type]
        (SmsJobData(sub_account_id="1", phone_numbers=["+1"], message="m", metadata={"a": object()}), "data: "),
        (SmsJobData(sub_account_id="1", phone_numbers=["+1"], message="\ud800"), "data: "),
        (STRUCTS[0], "'sms' takes SmsJobData, got EmailJobData"),
        ("text", "expected SmsJobData or a dict for 'sms', got str"),
        (None, "expected SmsJobData or a dict for 'sms', got NoneType"),
    ],
)
def test_what_python_let_through_is_refused_too(data: Any, reason: str) -> None:
    with pytest.raises(InvalidData) as caught:
        check("sms", data)
    assert reason in str(caught.value)


def test_an_unknown_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownJobType, match="'fax' does not exist: use one of email, sms, data-export"):
        check("fax", {})
