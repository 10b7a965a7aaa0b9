"""File jobs: thumbnails of images, zip archives of files, within the tenant's folder of the storage.

The work itself is in thumbnail.py and archive.py; what needs Pillow is imported when the first such job runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from msgspec import Struct

from engine import BaseProcessor, FileOptions, FileProcessingJobData, Job, errors
from processors.file_processing.archive import Archive, TooLarge
from processors.storage import Storage, replacing
from processors.text import has_controls


class Limits(Struct, frozen=True, kw_only=True):
    """What one job may ask for: bytes of all its files together, pixels of one image."""

    max_bytes: int = 1 << 30
    max_pixels: int = 50_000_000


class FileOutcome(Struct, rename="camel", omit_defaults=True, frozen=True):
    """What came of one file. A thumbnail has its own output; the archive is that of the whole result."""

    file: str
    status: Literal["done", "failed"]
    output: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    error: str | None = None


class FileProcessingResult(Struct, rename="camel", omit_defaults=True, frozen=True):
    """The result of a file job. Outputs are paths on the worker's machine, sizes are in bytes."""

    operation: str
    total: int
    successful: int
    failed: int
    results: Sequence[FileOutcome]
    output: str | None = None
    bytes: int | None = None


class FileProcessingProcessor(BaseProcessor[FileProcessingJobData, FileProcessingResult]):
    """Reads from and writes to the tenant's folder of `storage`, and nowhere else.

    An image that cannot be read does not fail the others; an archive is made of all its files or not at all.
    """

    name = "file-processing"

    def __init__(self, storage: Storage, limits: Limits | None = None) -> None:
        super().__init__()
        self._storage = storage
        self._limits = limits or Limits()

    async def process(self, job: Job[FileProcessingJobData]) -> FileProcessingResult:
        """Do the job's operation. Raises UnrecoverableError for a path outside the tenant's folder, or over a limit."""
        data = job.data
        sources = [self._source(data.sub_account_id, name) for name in data.files]
        self._check_size(sources)
        folder = self._storage.job_folder(data.sub_account_id, data.operation, job.id)
        if data.operation == "zip":
            return await self._zip(job, folder, sources)
        return await self._thumbnails(job, folder, sources)

    def _source(self, tenant: str, name: str) -> Path | FileNotFoundError:
        try:
            return self._storage.find(tenant, name)
        except FileNotFoundError as error:
            return error

    def _check_size(self, sources: Sequence[Path | FileNotFoundError]) -> None:
        total = sum(source.stat().st_size for source in sources if isinstance(source, Path))
        if total > self._limits.max_bytes:
            raise errors.UnrecoverableError(
                f"files: {total:,} bytes are over the limit of {self._limits.max_bytes:,}; use several jobs"
            )

    async def _thumbnails(
        self, job: Job[FileProcessingJobData], folder: Path, sources: Sequence[Path | FileNotFoundError]
    ) -> FileProcessingResult:
        outcomes: list[FileOutcome] = []
        options = job.data.options or FileOptions()
        for name, source in zip(job.data.files, sources, strict=True):
            stem = f"{len(outcomes) + 1:04}-{PurePosixPath(name).stem[:80]}"
            outcomes.append(await asyncio.to_thread(self._thumbnail, name, source, folder, stem, options))
            await job.update_progress(100 * len(outcomes) // len(sources))
        failed = sum(outcome.status == "failed" for outcome in outcomes)
        return FileProcessingResult("thumbnail", len(outcomes), len(outcomes) - failed, failed, outcomes)

    def _thumbnail(
        self, name: str, source: Path | FileNotFoundError, folder: Path, stem: str, options: FileOptions
    ) -> FileOutcome:
        from processors.file_processing.thumbnail import BadImage, make_thumbnail

        if isinstance(source, FileNotFoundError):
            return FileOutcome(name, "failed", error=str(source))
        try:
            made = make_thumbnail(source, folder, stem, options, max_pixels=self._limits.max_pixels)
        except BadImage as error:
            return FileOutcome(name, "failed", error=str(error))
        size = made.path.stat().st_size
        return FileOutcome(name, "done", str(made.path), size, made.width, made.height)

    async def _zip(
        self, job: Job[FileProcessingJobData], folder: Path, sources: Sequence[Path | FileNotFoundError]
    ) -> FileProcessingResult:
        names, files = _entries(job.data.files), _all_there(sources)
        target = folder / _archive_name(job.data.output)
        with replacing(target) as part:
            await self._write_archive(job, part, names, files)
        outcomes = [
            FileOutcome(name, "done", bytes=source.stat().st_size)
            for name, source in zip(job.data.files, files, strict=True)
        ]
        size = target.stat().st_size
        return FileProcessingResult("zip", len(outcomes), len(outcomes), 0, outcomes, str(target), size)

    async def _write_archive(
        self, job: Job[FileProcessingJobData], part: Path, names: Sequence[str], files: Sequence[Path]
    ) -> None:
        with Archive(part, max_bytes=self._limits.max_bytes) as archive:
            for number, (name, source) in enumerate(zip(names, files, strict=True), 1):
                try:
                    await asyncio.to_thread(archive.add, source, name)
                except TooLarge as error:
                    raise errors.UnrecoverableError(f"files: {error}; use several jobs") from None
                await job.update_progress(100 * number // len(files))


def _entries(files: Sequence[str]) -> list[str]:
    """Names in the archive: the job's paths in their plain form."""
    names = [str(PurePosixPath(name)) for name in files]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise errors.UnrecoverableError(f"files: {doubled!r} is named twice")
    return names


def _all_there(sources: Sequence[Path | FileNotFoundError]) -> list[Path]:
    found = [source for source in sources if isinstance(source, Path)]
    missing = [str(source) for source in sources if not isinstance(source, Path)]
    if missing:
        raise errors.UnrecoverableError("; ".join(missing[:5]))
    return found


def _archive_name(output: str | None) -> str:
    name = output or "archive.zip"
    if "/" in name or "\\" in name or name.startswith(".") or has_controls(name):
        raise errors.UnrecoverableError(f"output: {name!r} is not a plain file name, such as 'photos.zip'")
    return name if name.endswith(".zip") else f"{name}.zip"
