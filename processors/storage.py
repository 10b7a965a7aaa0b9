"""Where processors read and write files: one folder for each tenant, and no way out of it. Knows no processor."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from engine import errors
from processors.text import has_controls


class Storage:
    """Files of tenants below one root. Two tenants never share a folder, whatever their names are."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __repr__(self) -> str:
        return f"Storage({str(self._root)!r})"

    def folder(self, tenant: str) -> Path:
        """The tenant's folder, made if it is not there."""
        folder = self._root / file_word(tenant)
        folder.mkdir(parents=True, exist_ok=True)
        return folder.resolve()

    def find(self, tenant: str, name: str) -> Path:
        """The regular file `name` in the tenant's folder.

        Raises UnrecoverableError for a path that leads out of it, FileNotFoundError where there is no such file.
        """
        folder = self.folder(tenant)
        path = (folder / _relative(name)).resolve()
        if not path.is_relative_to(folder):
            raise errors.UnrecoverableError(f"file {name!r}: leads out of the tenant's folder")
        if not path.is_file():
            raise FileNotFoundError(f"file {name!r}: not in the tenant's folder of the storage")
        return path

    def job_folder(self, tenant: str, kind: str, job_id: str) -> Path:
        """The folder for what one job makes, the same for every attempt: a second replaces the files of the first."""
        return self.subfolder(tenant, f"{kind}-{file_word(job_id)}")

    def subfolder(self, tenant: str, name: str) -> Path:
        """A folder in the tenant's, made if it is not there. `name` is the caller's own word, never a job's."""
        folder = self.folder(tenant) / name
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise errors.UnrecoverableError(f"{folder.name!r} in the tenant's folder is a link; remove it")
        return folder


def file_word(text: str) -> str:
    """`text` as one safe part of a file name; different texts give different words."""
    word = quote(text, safe="").replace("~", "%7E").replace(".", "%2E")
    if len(word) <= 100:
        return word
    # "~" occurs in no other word, so no short text can be spelled to meet this one.
    return f"{word[:60]}~{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`: it takes its place when the block ends well, and is removed otherwise."""
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _relative(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if "\\" in name or has_controls(name):
        raise errors.UnrecoverableError(f"file {name!r}: has a backslash or a control character; use plain / paths")
    if path.is_absolute() or ".." in path.parts or path == PurePosixPath("."):
        raise errors.UnrecoverableError(f"file {name!r}: give a path inside the tenant's folder, without '..'")
    return path
