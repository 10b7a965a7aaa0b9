"""Rows of stored jobs, as get_jobs and list_jobs return them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.model.records import Snapshot

ALL_PLACES = "wait paused active prioritized delayed waiting_children completed failed"
"""The keys, in order, of scripts that look a job up in every structure."""


def read_snapshot(row: Sequence[Any], state: str) -> Snapshot:
    """The job of a row: its id, then its hash or nothing. `state` is the user's word (see `engine.model.states.spoken`)."""
    id, *rest = row
    pairs = rest[0] if rest else []
    fields: dict[bytes, bytes] = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return Snapshot(
        id=id.decode(errors="replace"),
        name=_text(fields, b"name") or "",
        data=fields.get(b"data", b"{}"),
        opts=fields.get(b"opts", b"{}"),
        timestamp=read_number(fields, b"timestamp") or 0,
        delay=read_number(fields, b"delay") or 0,
        priority=read_number(fields, b"priority") or 0,
        attempts_made=read_number(fields, b"atm") or 0,
        attempts_started=read_number(fields, b"ats") or 0,
        stalls=read_number(fields, b"stc") or 0,
        progress=fields.get(b"progress", b""),
        return_value=fields.get(b"returnvalue", b""),
        failed_reason=_text(fields, b"failedReason"),
        stacktrace=fields.get(b"stacktrace", b"[]"),
        processed_on=read_number(fields, b"processedOn"),
        finished_on=read_number(fields, b"finishedOn"),
        processed_by=_text(fields, b"pb"),
        parent_key=_text(fields, b"parentKey"),
        deduplication_id=_text(fields, b"deid"),
        scheduler_id=_text(fields, b"rjk"),
        state=state,
        is_there=bool(rest),
    )


def _text(fields: dict[bytes, bytes], name: bytes) -> str | None:
    value = fields.get(name)
    return None if value is None else value.decode(errors="replace")


def read_number(fields: Mapping[bytes, bytes], name: bytes) -> int | None:
    """A stored number by any producer; None if it is missing or not a number."""
    try:
        return int(fields[name])
    except (KeyError, ValueError):
        return None


def read_score(score: bytes) -> int:
    """A score as a time; an infinite one, by another program, is later or earlier than every time."""
    try:
        return int(float(score))
    except OverflowError:
        return -(2**53) if score.startswith(b"-") else 2**53
