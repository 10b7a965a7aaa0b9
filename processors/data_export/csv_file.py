"""Rows as a CSV file that a spreadsheet can open without running anything. Knows nothing of databases or jobs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")


class CsvFile:
    """A CSV file being written: UTF-8, comma, CRLF, a header row. Not for concurrent use; every method blocks."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        # A lone surrogate in one cell must not cost the whole export.
        self._file = path.open("w", encoding="utf-8", errors="replace", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(header)

    def __enter__(self) -> CsvFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        """Append rows."""
        self._writer.writerows([cell(value) for value in row] for row in rows)


def cell(value: Any) -> str:
    """A value as the text of a cell. Text that a spreadsheet would take for a formula gets an apostrophe in front."""
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
        case bool():
            return "true" if value else "false"
        case datetime():
            return _utc(value).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
