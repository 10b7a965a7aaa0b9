"""Sample rows for exports: two tenants, the same at every run. `python -m processors.data_export.sample_data FILE`"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine, insert, inspect

from processors.data_export.tables import bookings, leads, metadata, users

TENANTS = ("1", "2")
_START = datetime(2024, 1, 1, 9, 0, tzinfo=UTC)
_FIRST = ("Ada", "Grace", "Edsger", "Barbara", "Donald", "Frances", "Alan", "Radia", "Tony", "Zoë")
_LAST = ("Lovelace", "Hopper", "Dijkstra", "Liskov", "Knuth", "Allen", "Turing", "Perlman", "Hoare", "Ångström")
_COMPANIES = ("Acme, Inc.", 'The "Quoted" Co', "Müller & Söhne", "Initech", None)
_STATUSES = ("new", "contacted", "qualified", "lost")


def seed(path: Path, *, leads_each: int = 60) -> None:
    """Make a SQLite file with `leads_each` leads for each tenant, bookings, users. A file with tables is left alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            if not inspect(connection).has_table("leads"):
                metadata.create_all(connection)
                _fill(connection, random.Random(2024), leads_each)
    finally:
        engine.dispose()


def _fill(connection: Connection, chance: random.Random, leads_each: int) -> None:
    rows: list[tuple[Table, Iterator[dict[str, Any]]]] = []
    for tenant in TENANTS:
        rows += [
            (leads, _leads(tenant, chance, leads_each)),
            (bookings, _bookings(tenant, chance, leads_each // 3)),
            (users, _users(tenant, chance, 5)),
        ]
    for table, made in rows:
        if values := list(made):
            connection.execute(insert(table), values)


def _leads(tenant: str, chance: random.Random, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        name = f"{chance.choice(_FIRST)} {chance.choice(_LAST)}"
        created = _START + timedelta(days=number, minutes=chance.randrange(480))
        yield {
            "sub_account_id": tenant,
            "name": name,
            "email": f"lead{number}@tenant{tenant}.example",
            "phone": f"+1555{tenant}{number:06}",
            "company": chance.choice(_COMPANIES),
            "status": _STATUSES[number % len(_STATUSES)],
            "source": chance.choice(("web", "referral", "import")),
            "score": chance.randrange(101),
            "created_at": created,
            "updated_at": created + timedelta(days=1) if number % 2 else None,
        }


def _bookings(tenant: str, chance: random.Random, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "sub_account_id": tenant,
            "lead_id": number + 1,
            "service": chance.choice(("Consultation", "Follow-up", "Demo")),
            "status": chance.choice(("pending", "confirmed", "cancelled")),
            "starts_at": _START + timedelta(days=30 + number),
            "minutes": chance.choice((15, 30, 60)),
            "created_at": _START + timedelta(days=number),
        }


def _users(tenant: str, chance: random.Random, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "sub_account_id": tenant,
            "name": f"{chance.choice(_FIRST)} {chance.choice(_LAST)}",
            "email": f"user{number}@tenant{tenant}.example",
            "role": "admin" if number == 0 else "member",
            "is_active": number != count - 1,
            "password_hash": f"secret-{tenant}-{number}",
            "created_at": _START - timedelta(days=number),
        }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m processors.data_export.sample_data FILE")
    seed(Path(sys.argv[1]))
