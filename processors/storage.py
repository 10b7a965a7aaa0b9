"""File storage of the processors: one folder for each tenant, which no file name can leave."""

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
        """The tenant's folder, created if it does not exist."""
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
            raise errors.UnrecoverableError(f"file {name!r}: is outside the tenant's folder; give a path inside it")
        if not path.is_file():
            raise FileNotFoundError(f"file {name!r}: does not exist in the tenant's folder")
        return path

    def job_folder(self, tenant: str, kind: str, job_id: str) -> Path:
        """The folder for the files that one job writes; equal in every attempt, so a retry replaces them."""
        return self.subfolder(tenant, f"{kind}-{file_word(job_id)}")

    def subfolder(self, tenant: str, name: str) -> Path:
        """A folder inside the tenant's, created if it does not exist. `name` comes from the processor, never from a job."""
        folder = self.folder(tenant) / name
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise errors.UnrecoverableError(f"{folder.name!r} in the tenant's folder is a symbolic link; remove it")
        return folder


def file_word(text: str) -> str:
    """`text` as one safe part of a file name; different texts give different parts."""
    word = quote(text, safe="").replace("~", "%7E").replace(".", "%2E")
    if len(word) <= 100:
        return word
    # "~" occurs in no other word, so no short text can be spelled to meet this one.
    return f"{word[:60]}~{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yields a temporary path that replaces `target` if the block succeeds, and is removed otherwise."""
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
