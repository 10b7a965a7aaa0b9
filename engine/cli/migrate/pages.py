"""Reads a keyspace in pages of bounded size. All commands of the check are sent here, and none of them writes.

A reply may be out of date at once: workers keep running.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from msgspec import structs

from engine.cli.migrate.job_rules import FINISHED, StoredJob
from engine.connection import Argument, Link
from engine.errors import ServerError
from engine.model import codec
from engine.model.keys import Keys

T = TypeVar("T")

PAGE: Final = 500
"""Jobs of one call."""
_SCANNED: Final = 1_000
_BYTES: Final = 4 * 1024 * 1024
"""Data of one call."""
_FIELDS: Final = ("name", "opts", "parent", "rjk", "attemptsMade", "nrjid")
_NONE: Final[Sequence[Any]] = (None,) * len(_FIELDS)


def paged(items: Iterable[T], size: int = PAGE) -> Iterable[list[T]]:
    source = iter(items)
    while page := list(islice(source, size)):
        yield page


async def scan_keys(link: Link, pattern: bytes) -> AsyncIterator[list[bytes]]:
    """Names of keys, a page at a time; a key that is renamed meanwhile may come twice or never."""
    cursor: bytes = b"0"
    while True:
        cursor, found = await link.call("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED)
        yield found
        if int(cursor) == 0:
            return


def glob(text: str) -> bytes:
    """The pattern that matches this text only."""
    return b"".join(b"\\" + bytes([c]) if c in b"*?[]^\\" else bytes([c]) for c in text.encode())


async def ids_of(link: Link, key: str, is_list: bool, most: int | None) -> AsyncIterator[list[bytes]]:
    """The ids of a structure in pages: those that run first come first, of finished jobs the oldest."""
    start = 0
    while most is None or start < most:
        size = PAGE if most is None else min(PAGE, most - start)
        if is_list:
            page = await link.call("LRANGE", key, -start - size, -start - 1)
            page.reverse()
        else:
            page = await link.call("ZRANGE", key, start, start + size - 1)
        yield page
        if len(page) < size:
            return
        start += size


async def read_jobs(link: Link, keys: Keys, state: str, ids: Sequence[str]) -> list[StoredJob]:
    """The jobs of a page. Data are read of unfinished jobs only, unless they are larger than the engine's limit."""
    asked: list[Sequence[Argument]] = []
    for id in ids:
        asked += [("HMGET", raw(keys.job(id)), *_FIELDS), ("HSTRLEN", raw(keys.job(id)), "data")]
    replies = await answers(link, asked)
    found = [
        StoredJob(id, state, size or 0, *(fields or _NONE))
        for id, fields, size in zip(ids, replies[::2], replies[1::2], strict=True)
    ]
    return found if state in FINISHED else await _with_data(link, keys, found)


async def _with_data(link: Link, keys: Keys, jobs: list[StoredJob]) -> list[StoredJob]:
    data: dict[str, bytes] = {}
    for batch in _by_size([job for job in jobs if 0 < job.size <= codec.DEFAULT_MAX_PAYLOAD]):
        replies = await answers(link, [("HGET", raw(keys.job(job.id)), "data") for job in batch])
        data |= {job.id: reply for job, reply in zip(batch, replies, strict=True)}
    return [structs.replace(job, data=data.get(job.id)) for job in jobs]


def _by_size(jobs: Sequence[StoredJob]) -> Iterable[list[StoredJob]]:
    batch: list[StoredJob] = []
    bytes_ = 0
    for job in jobs:
        if batch and bytes_ + job.size > _BYTES:
            yield batch
            batch, bytes_ = [], 0
        batch.append(job)
        bytes_ += job.size
    if batch:
        yield batch


async def answers(link: Link, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    """Replies in pages; None where a key is of another type. Raises ServerError for any other refusal."""
    found: list[Any] = []
    for page in paged(commands, 2 * PAGE):
        found += map(_answer, await link.call_many(page))
    return found


def _answer(reply: Any) -> Any:
    if not isinstance(reply, Exception):
        return reply
    if isinstance(reply, ServerError) and reply.code == "WRONGTYPE":
        return None
    raise reply


def text(name: bytes) -> str:
    """An id or a key as text; bytes that are not UTF-8 are kept, so that the key is found again."""
    return name.decode(errors="surrogateescape")


def raw(name: str) -> bytes:
    """The bytes of what `text` gave."""
    return name.encode(errors="surrogateescape")


def pairs(flat: Sequence[bytes]) -> dict[str, str]:
    return {text(flat[i]): text(flat[i + 1]) for i in range(0, len(flat), 2)}
