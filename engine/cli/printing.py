"""Output of the command line: tables and pairs for people, JSON for programs. Knows no queue."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import Any

import msgspec

from engine.worker.process.logs import one_line

_WIDEST = 80
"""Characters of one table cell at most; longer text is cut. JSON output is never cut."""


_SHORT = 24
"""Characters of a cell up to which its column is never broken, so that the long columns are, on a narrow terminal."""


def show_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def show_table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table: with rich on a terminal, else as aligned text."""
    cells = [[cell(value) for value in row] for row in rows]
    if sys.stdout.isatty() and find_spec("rich"):
        _show_rich(heads, cells, rows)
    else:
        _show_plain(heads, cells)


def show_pairs(pairs: Mapping[str, Any]) -> None:
    """Print names and values, one a line; values that run over several lines are indented below their name."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        first, *rest = _lines(value)
        print(f"{name:<{width}}  {first}")
        for line in rest:
            print(f"{'':<{width}}  {line}")


def cell(value: Any) -> str:
    """A value as text for a table: one line, cut to 80 characters."""
    text = one_line(_text(value))
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def counted(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(ms: int) -> str:
    """Milliseconds in the largest unit that is exact: 1m, 90s, 1500ms."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms and ms % size == 0:
            return f"{ms // size:,}{unit}"
    return f"{ms:,}ms"


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}Z"
        case _:
            return msgspec.json.encode(value).decode()


def _lines(value: Any) -> list[str]:
    if isinstance(value, list):
        return [one_line(line) for part in value for line in _text(part).splitlines()] or [""]
    return [one_line(_text(value))]


def _show_plain(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    widths = [max(len(text) for text in column) for column in zip(heads, *cells, strict=True)]
    for row in (heads, *cells):
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


def _show_rich(heads: Sequence[str], cells: Sequence[Sequence[str]], rows: Sequence[Sequence[Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, head in enumerate(heads):
        is_number = all(isinstance(row[number], int) for row in rows)
        is_short = all(len(row[number]) <= _SHORT for row in cells)
        table.add_column(head, justify="right" if is_number else "left", overflow="fold", no_wrap=is_short)
    for row in cells:
        table.add_row(*map(Text, row))  # Text: a job's words are no markup
    Console().print(table)
