"""A connection to the database that is exported from. Knows nothing of jobs or files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from engine import errors

_ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


class Database:
    """The database at a URL. Each export opens a connection of its own and closes it: they are few and long."""

    def __init__(self, url: str) -> None:
        """Raises InvalidInput if the URL is none or needs a driver that cannot be used here."""
        self._url = _parse(url)
        self._engine = _engine(self._url)

    def __repr__(self) -> str:
        return f"Database({self._url!r})"

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A connection for the length of the block."""
        path = _sqlite_path(self._url)
        if path is not None and not path.is_file():  # SQLite would make an empty file and complain of a missing table
            raise errors.InvalidInput(
                f"the export database {path} is not there: set EXPORT_DATABASE_URL, "
                f"or make sample data with python -m processors.data_export.sample_data {path}"
            )
        async with self._engine.connect() as connection:
            yield connection


def _parse(url: str) -> URL:
    # The URL may hold a password, so the message does not repeat it.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise errors.InvalidInput(
            "EXPORT_DATABASE_URL is not a database URL: use sqlite:///FILE or postgresql://..."
        ) from None
    return parsed.set(drivername=_ASYNC_DRIVERS.get(parsed.drivername, parsed.drivername))


def _engine(url: URL) -> AsyncEngine:
    try:
        return create_async_engine(url, poolclass=NullPool)
    except ImportError as error:
        raise errors.MissingExtra(f"exporting by {url.drivername} ({error.name})", "export") from None
    except (ArgumentError, InvalidRequestError) as error:
        raise errors.InvalidInput(f"EXPORT_DATABASE_URL: {error}; use sqlite:///FILE or postgresql://...") from None


def _sqlite_path(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:") or "uri" in url.query:
        return None
    return Path(str(url.database))
