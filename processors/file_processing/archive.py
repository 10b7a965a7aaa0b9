"""Files gathered into a zip archive. Blocks; knows nothing of jobs."""

from __future__ import annotations

import zipfile
from pathlib import Path

_BLOCK = 1 << 20


class TooLarge(Exception):
    """The files have more bytes together than an archive may take."""


class Archive:
    """A zip archive being written, of at most `max_bytes` before compression. Use it as a context; not concurrently."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self._left = max_bytes
        self._max = max_bytes

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exc: object) -> None:
        self._zip.close()

    def add(self, source: Path, name: str) -> None:
        """Add `source` as `name`. Raises TooLarge, by the bytes copied, since a file may grow meanwhile."""
        entry = zipfile.ZipInfo.from_file(source, name, strict_timestamps=False)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with source.open("rb") as reader, self._zip.open(entry, "w") as writer:
            while block := reader.read(_BLOCK):
                self._left -= len(block)
                if self._left < 0:
                    raise TooLarge(f"the files have more than {self._max:,} bytes together")
                writer.write(block)
