"""From an export job's data to a query of its tenant's rows. Knows tables; knows neither connections nor files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import Column, ColumnElement, Select, func, select

from engine import DataExportJobData, errors
from processors.data_export.tables import EXPORTS, Exportable, UtcTime

_Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_MAX_IN = 1_000

_COMPARISONS: Mapping[str, Callable[[Column[Any], Any], ColumnElement[bool]]] = {
    "gte": lambda column, value: column >= value,
    "lte": lambda column, value: column <= value,
    "gt": lambda column, value: column > value,
    "lt": lambda column, value: column < value,
}


class Selection(Struct, frozen=True):
    """What to read: `header` names the columns of `rows`; `count` counts those rows."""

    header: Sequence[str]
    rows: Select[Any]
    count: Select[int]


def selection(data: DataExportJobData) -> Selection:
    """The query of a job. Raises UnrecoverableError, naming the field, for what is not allowed or not understood."""
    export = EXPORTS[data.export_type]
    header = _header(export, data.columns)
    conditions = [_condition(export, name, wanted) for name, wanted in (data.filters or {}).items()]
    # The only place that says whose rows these are: both queries are made from it, and conditions only narrow it.
    conditions.append(export.tenant == data.sub_account_id)
    rows = select(*(export.columns[name] for name in header)).where(*conditions).order_by(export.columns["id"])
    return Selection(header, rows, select(func.count()).select_from(export.table).where(*conditions))


def _header(export: Exportable, wanted: Sequence[str] | None) -> list[str]:
    if wanted is None:
        return list(export.columns)
    for name in wanted:
        _column(export, "columns", name)
    if len(set(wanted)) != len(wanted):
        raise errors.UnrecoverableError("columns: a column is named twice")
    return list(wanted)


def _column(export: Exportable, field: str, name: str) -> Column[Any]:
    column = export.columns.get(name)
    if column is None:
        allowed = ", ".join(export.columns)
        raise errors.UnrecoverableError(f"{field}: {name!r} is not a column of this export; there are: {allowed}")
    return column


def _condition(export: Exportable, name: str, wanted: Any) -> ColumnElement[bool]:
    column = _column(export, "filters", name)
    field = f"filters.{name}"
    if isinstance(wanted, dict):
        return _comparisons(column, field, wanted)
    if isinstance(wanted, list):
        raise errors.UnrecoverableError(f'{field}: is a list; for one of several values write {{"in": [...]}}')
    return column.is_(None) if wanted is None else column == _value(column, field, wanted)


def _comparisons(column: Column[Any], field: str, wanted: Mapping[str, Any]) -> ColumnElement[bool]:
    if not wanted:
        raise errors.UnrecoverableError(f"{field}: is empty; give a value or some of gte, lte, gt, lt, in")
    condition, *more = (_comparison(column, f"{field}.{word}", word, value) for word, value in wanted.items())
    for other in more:
        condition = condition & other
    return condition


def _comparison(column: Column[Any], field: str, word: str, wanted: Any) -> ColumnElement[bool]:
    if word == "in":
        if not isinstance(wanted, list) or len(wanted) > _MAX_IN:
            raise errors.UnrecoverableError(f"{field}: expected a list of at most {_MAX_IN:,} values")
        return column.in_([_value(column, field, value) for value in wanted])
    if word not in _COMPARISONS:
        raise errors.UnrecoverableError(f"{field}: not a comparison; there are gte, lte, gt, lt, in")
    return _COMPARISONS[word](column, _value(column, field, wanted))


def _value(column: Column[Any], field: str, wanted: Any) -> Any:
    """`wanted` as the column's type, so that no text is compared with a number and no database guesses."""
    try:
        if isinstance(column.type, UtcTime):
            return _moment(wanted)
        kind = column.type.python_type
        return msgspec.convert(wanted, _Integer if kind is int else kind)
    except msgspec.ValidationError as error:
        raise errors.UnrecoverableError(f"{field}: {error}") from None


def _moment(wanted: Any) -> datetime:
    """A time, or the midnight that begins a day; without a zone it counts as UTC."""
    if isinstance(wanted, str) and len(wanted) == len("2024-01-01"):
        return datetime.combine(msgspec.convert(wanted, date), time(), UTC)
    moment = msgspec.convert(wanted, datetime)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
