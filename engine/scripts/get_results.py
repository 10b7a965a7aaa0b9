"""Return results or failure reasons of jobs (lua/get_results.lua)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_get_results = Script("get_results", keys="completed failed jobs", args="now", rows="id")

End = Literal["missing", "completed", "failed", "pending"]
_ENDS: tuple[End, ...] = ("missing", "completed", "failed", "pending")


class EndOfJob(Struct, frozen=True):
    """How a job ended."""

    end: End
    """Pending: not ended. Missing: never added, or removed."""
    value: bytes = b"null"
    """The result of a completed job, as JSON."""
    reason: str = ""
    """Why a failed job failed."""


async def get_results(link: Link, keys: Keys, ids: Sequence[str], *, now: Now = "") -> list[EndOfJob]:
    """How at most 1,000 jobs ended, in the order of `ids`."""
    answers: list[EndOfJob] = []
    while len(answers) < len(ids):
        flat = await _get_results(link, keys, now, rows=ids[len(answers) :])
        answers += [_read(_ENDS[code], value) for code, value in zip(flat[::2], flat[1::2], strict=True)]
    return answers


def _read(end: End, value: bytes | None) -> EndOfJob:
    if end == "failed":
        return EndOfJob(end, reason=(value or b"").decode(errors="replace"))
    return EndOfJob(end, value or b"null")
