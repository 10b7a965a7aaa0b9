"""Find dead letters by page (lua/find_dead_letters.lua)."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.snapshots import read_score

_find_dead_letters = Script(
    "find_dead_letters",
    keys="jobs",
    args="now what replayed type error tenant text since until newest cursor_at cursor_id scan most",
)

Cursor = tuple[int, str]
"""Time and id of the last letter that was read."""


class LetterQuery(Struct, frozen=True):
    """Filter of dead letters: an empty text or None matches any. Times in ms; `until` is the first that is too late."""

    type: str = ""
    error: str = ""
    tenant: str = ""
    text: str = ""
    since: int | None = None
    until: int | None = None
    replayed: bool = False


class LetterPage(Struct, frozen=True):
    """A page of the letters that match a query."""

    count: int
    ids: list[tuple[str, int]]
    """With what="ids": each with the time of its failure, ms."""
    records: list[tuple[str, dict[bytes, bytes]]]
    """With what="records": each with its hash."""
    cursor: Cursor | None
    """Where the next page begins; None after the last."""
    server_time: int
    """The server's time, ms."""


async def find_dead_letters(
    link: Link,
    keys: Keys,
    query: LetterQuery,
    *,
    what: Literal["count", "ids", "records"],
    newest: bool = False,
    cursor: Cursor | None = None,
    scan: int,
    most: int,
    now: Now = "",
) -> LetterPage:
    """Look at `scan` letters from the cursor on, and find `most` of those query, the oldest first unless `newest`.

    "count" without a text, of letters that were not replayed or of all that were, counts all at once whatever `scan` is.
    """
    at, id = cursor or ("", "")
    count, rows, last_at, last_id, server_time = await _find_dead_letters(
        link, keys, now, what, 1 if query.replayed else 0, query.type, query.error, query.tenant, query.text,
        "" if query.since is None else query.since, "" if query.until is None else query.until,
        1 if newest else 0, at, id.encode(errors="surrogateescape"), scan, most,
    )  # fmt: skip
    pairs = [(id.decode(errors="replace"), rest) for id, rest in rows]
    return LetterPage(
        count,
        [(id, read_score(rest)) for id, rest in pairs] if what == "ids" else [],
        [(id, dict(zip(rest[::2], rest[1::2], strict=True))) for id, rest in pairs] if what == "records" else [],
        (read_score(last_at), last_id.decode(errors="surrogateescape")) if last_id else None,
        int(server_time),
    )
