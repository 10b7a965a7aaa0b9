"""Logging of a worker process: to stderr, as plain lines or as one JSON object a line."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

_FIELDS = ("job_type", "job_id", "status", "error", "attempt")
_encode = msgspec.json.Encoder().encode


def set_up_logging(level: str, *, as_json: bool) -> None:
    """Log `level` and above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else PlainLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class PlainLines(logging.Formatter):
    """`2026-01-31T12:00:00.123+00:00 INFO 🔄 Processing sms job 1`: each message on one line, tracebacks below."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {one_line(record.getMessage())}"
        trace = _trace(self, record)
        return f"{line}\n{trace}" if trace else line


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message; job_type, job_id, status, error and attempt where known."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _sound(record.getMessage()),
        }
        for name in _FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                line[name] = value if isinstance(value, int) else _sound(str(value))
        if trace := _trace(self, record):
            line["trace"] = _sound(trace)
        return _encode(line).decode()


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""


def one_line(text: str) -> str:
    """The text with its control characters escaped."""
    # A job's data must not forge a log line or move the terminal's cursor.
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _sound(text: str) -> str:
    """Text that UTF-8 can encode: a lone surrogate, which a job id may contain, is escaped."""
    return text.encode(errors="backslashreplace").decode()
