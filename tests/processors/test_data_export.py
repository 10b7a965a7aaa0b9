"""Export jobs against a real database file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import create_engine, insert, text

from engine import DataExportJobData, errors
from processors.data_export import DataExportProcessor, DataExportResult
from processors.data_export.csv_file import cell
from processors.data_export.sample_data import TENANTS, seed
from processors.data_export.tables import leads
from processors.storage import Storage
from tests.processors.jobs import NotedJob

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

ExportType = Literal["leads", "bookings", "users"]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample data, read only by the tests."""
    path = tmp_path_factory.mktemp("database") / "export.db"
    seed(path)
    return path


def job(
    export_type: ExportType = "leads",
    filters: dict[str, Any] | None = None,
    columns: list[str] | None = None,
    *,
    tenant: str = "1",
    format: Literal["csv", "excel", "pdf"] = "csv",
    id: str = "7",
) -> NotedJob[DataExportJobData]:
    data = DataExportJobData(
        sub_account_id=tenant, export_type=export_type, format=format, filters=filters, columns=columns
    )
    return NotedJob("data-export", data, id=id)


async def export(database: Path, storage: Path, asked: NotedJob[DataExportJobData]) -> DataExportResult:
    return await DataExportProcessor(f"sqlite:///{database}", Storage(storage)).process(asked)


def rows(result: DataExportResult) -> list[dict[str, str]]:
    with Path(result.path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def add_leads(path: Path, made: Sequence[Mapping[str, Any]]) -> None:
    usual = {"sub_account_id": "1", "name": "n", "status": "new", "created_at": NOON}
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(insert(leads), [{**usual, **row} for row in made])
    engine.dispose()


def _files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def test_the_specifications_example_gives_its_columns_and_rows(database: Path, tmp_path: Path) -> None:
    asked = job(
        filters={"status": "qualified", "createdAt": {"gte": "2024-01-01T00:00:00.000Z"}},
        columns=["id", "name", "email", "phone", "status"],
    )
    result = await export(database, tmp_path, asked)
    assert (result.export_type, result.format, result.record_count) == ("leads", "csv", 15)
    assert result.filename == "leads-1-7.csv"
    assert Path(result.path) == tmp_path / "1" / "exports" / "leads-1-7.csv"
    found = rows(result)
    assert list(found[0]) == ["id", "name", "email", "phone", "status"]
    assert {row["status"] for row in found} == {"qualified"}
    assert found[0]["phone"] == "'+15551000002"
    assert asked.reports[-1] == 100


@pytest.mark.parametrize("export_type", ["leads", "bookings", "users"])
async def test_a_tenant_gets_all_of_its_own_rows_and_no_others(
    database: Path, tmp_path: Path, export_type: ExportType
) -> None:
    ids: list[set[str]] = []
    for tenant in TENANTS:
        result = await export(database, tmp_path, job(export_type, tenant=tenant))
        found = rows(result)
        assert len(found) == result.record_count == {"leads": 60, "bookings": 20, "users": 5}[export_type]
        assert all(f"@tenant{tenant}." in row.get("email", f"@tenant{tenant}.") for row in found)
        ids.append({row["id"] for row in found})
    assert ids[0].isdisjoint(ids[1])


@pytest.mark.parametrize(
    "filters",
    [
        {"subAccountId": "2"},
        {"subAccountId": {"in": ["1", "2"]}},
        {"sub_account_id": "2"},
        {"passwordHash": "x"},
        {"1=1 OR id": 1},
        {"leads.subAccountId": "2"},
        {"__class__": "x"},
    ],
)
async def test_a_filter_on_what_may_not_be_asked_is_refused(
    database: Path, tmp_path: Path, filters: dict[str, Any]
) -> None:
    with pytest.raises(errors.UnrecoverableError, match="is not a column of this export; there are: id, name"):
        await export(database, tmp_path, job("users", filters))
    assert _files(tmp_path) == []


@pytest.mark.parametrize("column", ["subAccountId", "passwordHash", "password_hash", "*", "id; DROP TABLE users", ""])
async def test_a_column_that_may_not_leave_is_refused(database: Path, tmp_path: Path, column: str) -> None:
    with pytest.raises(errors.UnrecoverableError, match=r"columns: .* is not a column"):
        await export(database, tmp_path, job("users", columns=["id", column]))


@pytest.mark.parametrize("value", ["' OR '1'='1", "x' OR sub_account_id = '2", "%", "2'; DROP TABLE leads; --"])
async def test_sql_in_a_value_is_only_text(database: Path, tmp_path: Path, value: str) -> None:
    assert (await export(database, tmp_path, job(filters={"name": value}))).record_count == 0
    assert (await export(database, tmp_path, job(filters={"name": {"in": [value]}}))).record_count == 0
    assert (await export(database, tmp_path, job())).record_count == 60


@pytest.mark.parametrize("tenant", ["2' OR '1'='1", "%", "1 ", "", "../2"])
async def test_an_unknown_tenant_gets_an_empty_file(database: Path, tmp_path: Path, tenant: str) -> None:
    result = await export(database, tmp_path, job(tenant=tenant or "nobody"))
    assert (result.record_count, rows(result)) == (0, [])
    assert Path(result.path).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"score": 3}, ["c"]),
        ({"score": {"gte": 2}}, ["b", "c"]),
        ({"score": {"gt": 1, "lt": 3}}, ["b"]),
        ({"score": {"lte": 1}}, ["a"]),
        ({"score": {"in": [1, 3]}}, ["a", "c"]),
        ({"score": {"in": []}}, []),
        ({"score": None}, ["d"]),
        ({"createdAt": {"lt": "2024-06-02"}}, ["a", "d"]),
        ({"createdAt": {"gte": "2024-06-02", "lt": "2024-06-03"}}, ["b"]),
        ({"createdAt": "2024-06-03T14:00:00+02:00"}, ["c"]),
        ({"createdAt": {"gte": "2024-06-03T12:00:00Z"}}, ["c"]),
        ({"status": "new", "score": {"gte": 2}}, ["b"]),
        ({}, ["a", "b", "c", "d"]),
    ],
)
async def test_filters_compare_as_they_say(tmp_path: Path, filters: dict[str, Any], expected: list[str]) -> None:
    seed(tmp_path / "few.db", leads_each=1)
    made = [("a", 1, 0, "new"), ("b", 2, 1, "new"), ("c", 3, 2, "won"), ("d", None, 0, "new")]
    add_leads(
        tmp_path / "few.db",
        [
            {"sub_account_id": "9", "name": name, "score": score, "status": status, "created_at": NOON + days * DAY}
            for name, score, days, status in made
        ],
    )  # fmt: skip
    result = await export(tmp_path / "few.db", tmp_path / "s", job(filters=filters, tenant="9"))
    assert [row["name"] for row in rows(result)] == expected


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        ({"score": "3"}, "filters.score: Expected `int`, got `str`"),
        ({"score": True}, "filters.score: Expected `int`, got `bool`"),
        ({"score": 2**70}, "filters.score: "),
        ({"name": 3}, "filters.name: Expected `str`, got `int`"),
        ({"createdAt": "yesterday"}, "filters.createdAt: Invalid RFC3339"),
        ({"createdAt": "2024-13-01"}, "filters.createdAt: "),
        ({"score": {"gte": [1]}}, "filters.score.gte: Expected `int`"),
        ({"score": {"in": 3}}, "filters.score.in: expected a list"),
        ({"score": {"in": [1, "2"]}}, "filters.score.in: Expected `int`"),
        ({"score": {"in": [1] * 1_001}}, "at most 1,000"),
        ({"score": {"regex": "."}}, "filters.score.regex: not a comparison"),
        ({"score": {}}, "filters.score: is empty"),
        ({"score": [1, 2]}, 'write {"in": '),
    ],
)
async def test_a_filter_that_does_not_fit_fails_the_job_for_good_and_names_it(
    database: Path, tmp_path: Path, filters: dict[str, Any], reason: str
) -> None:
    with pytest.raises(errors.UnrecoverableError) as caught:
        await export(database, tmp_path, job(filters=filters))
    assert reason in str(caught.value)


DANGEROUS = [
    "=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "=HYPERLINK(\"http://x\")",
    "-2+3+cmd|' /C calc'!D2",
    "+15551234567", "=\"a\"&\"b\"", "@", "-", "+", "=", "＝1+1", "＋1", "－1", "＠SUM(1)",
]  # fmt: skip
HARMLESS = ["a,b", 'a"b', "a;b", "a\nb", "a\r\nb", " =1+1", "'=1", "née", "日本", "a\x00b", "👩‍💻", "1-1", "", "   "]


async def test_nasty_cells_come_back_as_they_were_and_none_begins_a_formula(tmp_path: Path) -> None:
    nasty = DANGEROUS + HARMLESS
    seed(tmp_path / "few.db", leads_each=1)
    add_leads(tmp_path / "few.db", [{"sub_account_id": "9", "name": name, "company": name} for name in nasty])
    result = await export(tmp_path / "few.db", tmp_path, job(tenant="9", columns=["name", "company"]))
    found = rows(result)
    assert result.record_count == len(nasty) >= 30
    assert [row["name"] for row in found] == [f"'{name}" for name in DANGEROUS] + HARMLESS
    assert [row["company"] for row in found] == [row["name"] for row in found]


def test_values_that_are_not_text_have_one_spelling_each() -> None:
    assert [cell(value) for value in (None, True, False, -5, -0.5, NOON)] == [
        "", "true", "false", "-5", "-0.5", "2024-06-01T12:00:00Z",
    ]  # fmt: skip


async def test_many_rows_stream_through_with_progress(tmp_path: Path) -> None:
    seed(tmp_path / "many.db", leads_each=1)
    add_leads(tmp_path / "many.db", [{"sub_account_id": "9", "name": f"n{number}"} for number in range(4_500)])
    asked = job(tenant="9", columns=["id", "name"])
    result = await export(tmp_path / "many.db", tmp_path, asked)
    assert result.record_count == 4_500
    assert [row["name"] for row in rows(result)] == [f"n{number}" for number in range(4_500)]
    assert asked.reports == [44, 88, 99, 100]


async def test_a_failed_export_leaves_no_file_and_a_second_attempt_replaces_the_first(tmp_path: Path) -> None:
    seed(tmp_path / "few.db")
    first = await export(tmp_path / "few.db", tmp_path / "s", job())
    engine = create_engine(f"sqlite:///{tmp_path / 'few.db'}")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM leads WHERE id > 10"))
    second = await export(tmp_path / "few.db", tmp_path / "s", job())
    assert (first.path, second.record_count) == (second.path, 10)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE leads"))
    engine.dispose()
    with pytest.raises(Exception, match="no such table"):
        await export(tmp_path / "few.db", tmp_path / "s", job(id="8"))
    assert _files(tmp_path / "s") == ["leads-1-7.csv"]


async def test_an_export_that_is_stopped_halfway_leaves_nothing_behind(database: Path, tmp_path: Path) -> None:
    class TakenOver(NotedJob[DataExportJobData]):
        async def update_progress(self, value: Any) -> None:
            assert len(_files(tmp_path)) == 1, "the temporary file"
            raise errors.LockLost(self.id)

    with pytest.raises(errors.LockLost):
        await export(database, tmp_path, TakenOver("data-export", job().data))
    assert _files(tmp_path) == []


@pytest.mark.parametrize("format", ["excel", "pdf"])
async def test_other_formats_are_refused_with_the_one_there_is(
    database: Path, tmp_path: Path, format: Literal["excel", "pdf"]
) -> None:
    with pytest.raises(errors.UnrecoverableError, match=f"format: '{format}' cannot be written yet; use 'csv'"):
        await export(database, tmp_path, job(format=format))


async def test_a_database_that_is_not_there_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidInput, match="sample_data"):
        await export(tmp_path / "none.db", tmp_path, job())
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("url", ["nonsense", "", "oracle+nothing://x"])
async def test_a_wrong_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(errors.InvalidInput, match="EXPORT_DATABASE_URL"):
        await DataExportProcessor(url, Storage(tmp_path)).process(job())


def test_sample_data_is_the_same_each_time_and_does_not_overwrite(tmp_path: Path) -> None:
    def dump(name: str) -> str:
        engine = create_engine(f"sqlite:///{tmp_path / name}")
        with engine.begin() as connection:
            held = [list(map(str, row)) for row in connection.execute(text("SELECT * FROM leads ORDER BY id"))]
        engine.dispose()
        return json.dumps(held)

    seed(tmp_path / "a.db")
    seed(tmp_path / "b.db")
    assert dump("a.db") == dump("b.db")
    seed(tmp_path / "a.db", leads_each=3)
    assert dump("a.db") == dump("b.db")
