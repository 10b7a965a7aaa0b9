"""Export jobs: a tenant's leads, bookings or users as a file in the storage.

The queries are in query.py, the tables in tables.py; what needs SQLAlchemy is imported when the first job runs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from engine import BaseProcessor, DataExportJobData, Job, errors
from processors.data_export.csv_file import CsvFile
from processors.storage import Storage, file_word, replacing

if TYPE_CHECKING:
    from pathlib import Path

    from processors.data_export.database import Database
    from processors.data_export.query import Selection

_ROWS_AT_ONCE = 2_000


class DataExportResult(Struct, rename="camel", frozen=True):
    """The result of an export job. `path` is where the file `filename` is on the worker's machine."""

    export_type: str
    format: str
    filename: str
    record_count: int
    path: str


class DataExportProcessor(BaseProcessor[DataExportJobData, DataExportResult]):
    """Writes rows of the database at `url` to `exports` in the tenant's folder. Memory does not grow with the rows."""

    name = "data-export"

    def __init__(self, url: str, storage: Storage) -> None:
        super().__init__()
        self._url = url
        self._storage = storage
        self._database: Database | None = None

    async def process(self, job: Job[DataExportJobData]) -> DataExportResult:
        """Export what the job says. A second attempt replaces the file of the first; none is ever seen half-written."""
        data = job.data
        if data.format != "csv":
            raise errors.UnrecoverableError(f"format: {data.format!r} cannot be written yet; use 'csv'")
        database, chosen = self._prepare(data)
        tenant = data.sub_account_id
        filename = f"{data.export_type}-{file_word(tenant)}-{file_word(job.id)}.csv"
        target = self._storage.subfolder(tenant, "exports") / filename
        with replacing(target) as part:
            count = await _export(database, chosen, part, job)
        return DataExportResult(data.export_type, data.format, filename, count, str(target))

    def _prepare(self, data: DataExportJobData) -> tuple[Database, Selection]:
        try:
            import sqlalchemy  # noqa: F401
        except ImportError:
            raise errors.MissingExtra("exporting data", "export") from None
        from processors.data_export.database import Database
        from processors.data_export.query import selection

        if self._database is None:
            self._database = Database(self._url)
        return self._database, selection(data)


async def _export(database: Database, chosen: Selection, part: Path, job: Job[Any]) -> int:
    written = 0
    async with database.connect() as connection:
        expected = int((await connection.execute(chosen.count)).scalar_one())
        with CsvFile(part, chosen.header) as sheet:
            rows = await connection.stream(chosen.rows)
            async for batch in rows.partitions(_ROWS_AT_ONCE):
                await asyncio.to_thread(sheet.write, batch)
                written += len(batch)
                await job.update_progress(min(99, 100 * written // max(expected, 1)))
    await job.update_progress(100)
    return written
