"""The options of a job stand in one list, and type checkers know the same: names, and values of each type."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from engine.errors import InvalidInput
from engine.model.backoff import Backoff, BackoffFields
from engine.model.options import (
    _CHECKS,
    AddOptions,
    Deduplication,
    DeduplicationFields,
    FlowOptions,
    JobOptions,
    Keep,
    KeepFields,
    Parent,
    ParentFields,
    ScheduleOptions,
)
from engine.schedules import _REFUSED, UpsertOptions

HINTS = get_type_hints(AddOptions)
EXAMPLES: dict[Any, Any] = {
    int: 5,
    bool: True,
    str: "text",
    timedelta: timedelta(seconds=1),
    datetime: datetime(2030, 1, 1, tzinfo=UTC),
    Backoff: Backoff("fixed", 5),
    BackoffFields: {"type": "fixed", "delay": 5},
    Keep: Keep(age=5),
    KeepFields: {"age": 5},
    Deduplication: Deduplication("id"),
    DeduplicationFields: {"id": "id"},
    Parent: Parent("1", "q"),
    ParentFields: {"id": "1", "queue": "q"},
}


def test_type_checkers_know_the_options_that_there_are() -> None:
    assert HINTS.keys() == _CHECKS.keys()
    assert HINTS.keys() - {"run_at"} == set(JobOptions.__struct_fields__), "run_at is stored as delay and timestamp"


def test_flows_and_schedules_refuse_what_is_not_theirs() -> None:
    assert HINTS.keys() - get_type_hints(FlowOptions).keys() == {"parent", "deduplication"}
    schedules = get_type_hints(ScheduleOptions).keys()
    of_children = {name for name in HINTS if name.endswith("_on_failure")}
    assert HINTS.keys() - schedules == _REFUSED.keys() | of_children
    assert not schedules & (get_type_hints(UpsertOptions).keys() - schedules)


@pytest.mark.parametrize("name", sorted(HINTS))
def test_each_type_of_an_option_is_taken(name: str) -> None:
    kinds = get_args(HINTS[name]) if get_origin(HINTS[name]) in (Union, UnionType) else (HINTS[name],)
    assert NoneType in kinds, "None says nothing, for every option"
    context = {"parent": Parent("1", "q")} if name.endswith("_on_failure") else {}
    for kind in kinds:
        if kind is not NoneType:
            given = [5, timedelta(seconds=1)] if get_origin(kind) is not None else EXAMPLES[kind]
            JobOptions.check({**context, name: given})
    with pytest.raises(InvalidInput, match=f"^{name}"):
        JobOptions.check({**context, name: object()})
