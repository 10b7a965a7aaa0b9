"""The tables that can be exported, and which of their columns a job may name. Knows nothing of jobs or files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Boolean, Column, DateTime, Dialect, Integer, MetaData, String, Table, TypeDecorator

metadata = MetaData()


class UtcTime(TypeDecorator[datetime]):
    """A time stored as UTC without a zone, which every database can hold; aware in Python."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What is stored: a time without a zone counts as UTC."""
        if value is None or value.tzinfo is None:
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What Python gets."""
        return None if value is None else value.replace(tzinfo=UTC)


def _tenant() -> Column[str]:
    return Column("sub_account_id", String(200), nullable=False, index=True)


leads = Table(
    "leads",
    metadata,
    Column("id", Integer, primary_key=True),
    _tenant(),
    Column("name", String(200), nullable=False),
    Column("email", String(320)),
    Column("phone", String(40)),
    Column("company", String(200)),
    Column("status", String(40), nullable=False),
    Column("source", String(40)),
    Column("score", Integer),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime),
)

bookings = Table(
    "bookings",
    metadata,
    Column("id", Integer, primary_key=True),
    _tenant(),
    Column("lead_id", Integer, nullable=False),
    Column("service", String(200), nullable=False),
    Column("status", String(40), nullable=False),
    Column("starts_at", UtcTime, nullable=False),
    Column("minutes", Integer),
    Column("created_at", UtcTime, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    _tenant(),
    Column("name", String(200), nullable=False),
    Column("email", String(320), nullable=False),
    Column("role", String(40), nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("password_hash", String(200)),
    Column("created_at", UtcTime, nullable=False),
)


class Exportable(Struct, frozen=True):
    """One kind of export. `columns`: wire name -> column, in the order of a file whose job names none."""

    table: Table
    tenant: Column[Any]
    columns: Mapping[str, Column[Any]]


def _exportable(table: Table, names: str) -> Exportable:
    columns = {_camel(name): table.columns[name] for name in names.split()}
    return Exportable(table, table.columns["sub_account_id"], columns)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


EXPORTS: Mapping[str, Exportable] = {
    "leads": _exportable(leads, "id name email phone company status source score created_at updated_at"),
    "bookings": _exportable(bookings, "id lead_id service status starts_at minutes created_at"),
    "users": _exportable(users, "id name email role is_active created_at"),
}
"""Export type -> what may leave the database. A column that is not named here cannot be read or asked about."""
