"""Filters of dead letters and the other arguments of `queue.dead_letters`, with their checks. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

from engine.errors import InvalidOption
from engine.model.checks import did_you_mean, flag
from engine.model.clock import time_ms
from engine.scripts.find_dead_letters import Cursor, LetterQuery

Group = Literal["type", "error", "tenant", "day"]


class DeadLetterFilter(TypedDict, total=False):
    """Which dead letters: those that match every field given here.

    type: job name. error: class name of the exception. tenant: the job's `subAccountId`.
    text: a part of the failure reason, case-sensitive. since, until: time of the failure, aware datetimes or Unix
    milliseconds; `since` is included, `until` is not. replayed: True selects the replayed ones; the default is the open ones.
    """

    type: str
    error: str
    tenant: str
    text: str
    since: datetime | int
    until: datetime | int
    replayed: bool


def check_filter(filter: Mapping[str, Any]) -> LetterQuery:
    """A filter given by keyword. Raises InvalidOption."""
    checked: dict[str, Any] = {}
    for name, value in filter.items():
        if name in ("type", "error", "tenant", "text"):
            if not isinstance(value, str) or not value:
                raise InvalidOption(f"{name}: {value!r} is empty or not text; leave {name}= out to match any")
            checked[name] = value
        elif name in ("since", "until"):
            checked[name] = time_ms(name, value)
        elif name == "replayed":
            checked[name] = flag(name, value)
        else:
            fields = DeadLetterFilter.__annotations__
            raise InvalidOption(
                f"{name}: not a filter of dead letters; filters are {', '.join(fields)}{did_you_mean(name, fields)}"
            )
    sought = LetterQuery(**checked)
    if sought.since is not None and sought.until is not None and sought.since >= sought.until:
        raise InvalidOption("until: not after since=, so nothing can match; give a later until=")
    return sought


def check_many(filter: Mapping[str, Any], everything: bool, verb: str) -> LetterQuery:
    """The filter of a call that changes many dead letters. Without a filter, `everything` must confirm that all are meant."""
    if not filter and not everything:
        raise InvalidOption(
            f"filter: missing; give a job id or a filter, or everything=True to {verb} all dead letters"
        )
    if filter and everything:
        raise InvalidOption("everything: it selects all dead letters; leave it out beside a filter")
    return check_filter(filter)


def check_alone(filter: Mapping[str, Any]) -> None:
    """Raise InvalidOption if a filter was given beside a job id."""
    if filter:
        raise InvalidOption(f"{next(iter(filter))}: a job id selects one dead letter; give either an id or a filter")


def check_id(value: Any) -> str:
    """A job id. Raises InvalidOption."""
    if not isinstance(value, str) or not value:
        raise InvalidOption(f"job_id: {value!r} is empty or not text; give the id of the job that failed")
    return value


def read_cursor(cursor: str | None) -> Cursor | None:
    """Where the next page begins, from `DeadLetterPage.cursor`. Raises InvalidOption."""
    if cursor is None:
        return None
    at, _, id = cursor.partition(",") if isinstance(cursor, str) else ("", "", "")
    if not (at.isascii() and at.isdecimal() and id):
        raise InvalidOption(f"cursor: {cursor!r} is not the `cursor` of a page; leave it out for the first page")
    return int(at), id
