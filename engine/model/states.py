"""Which moves between states a script may make: with its own jobs, and what it causes for other jobs.

A job is in the state whose structure holds its id. `new` is a job that does not exist yet, `gone` one that was deleted.
`wait` and `paused` are one state to a user, "waiting": a pause moves the ids from the first to the second. Script headers,
lua/README.md and the tests agree with these tables.
"""

from __future__ import annotations

from typing import Final

NEW: Final = "new"
GONE: Final = "gone"

Moves = frozenset[tuple[str, str]]
"""Pairs of source and target."""

_QUEUED: Final = ("wait", "paused", "prioritized")
_AT_REST: Final = (*_QUEUED, "delayed", "completed", "failed", "waiting-children")


def _moves(sources: tuple[str, ...], *targets: str) -> Moves:
    return frozenset((source, target) for source in sources for target in targets)


EFFECTS: Final[dict[str, Moves]] = {
    # A parent of a job that ended or was removed, in any queue.
    "release_parents": _moves(("waiting-children",), *_QUEUED, "delayed"),
    # A parent that is to fail at once, because a child failed.
    "child_failed": _moves(("waiting-children", "delayed"), *_QUEUED),
    # The job that was kept until the owner of its deduplication ended.
    "promote_deduplicated": _moves((NEW,), *_QUEUED, "delayed"),
    # The delayed owner of a deduplication, by a new job that reschedules or replaces it.
    "deduplicate": _moves(("delayed",), "delayed", GONE),
    # New jobs of a flow.
    "insert_flow": _moves((NEW,), *_QUEUED, "delayed", "waiting-children"),
    # Delayed jobs that are due.
    "promote": _moves(("delayed",), *_QUEUED),
    # Retention.
    "trim": _moves(("completed", "failed"), GONE),
    # Jobs that BullMQ 6 left in `wait` when it paused.
    "merge_paused": _moves(("wait",), "paused"),
}
"""Fragment in lua/include/ -> the moves of other jobs that it causes."""

OWN_MOVES: Final[dict[str, Moves]] = {
    "add": _moves((NEW,), *_QUEUED, "delayed"),
    "add_plain": _moves((NEW,), "wait", "paused"),
    "add_flow": _moves((NEW,), *_QUEUED, "delayed", "waiting-children"),
    "claim": _moves(("wait", "prioritized"), "active"),
    "turn": _moves(("active",), "completed", GONE) | _moves(("wait", "prioritized"), "active"),
    "finish": _moves(("active",), "completed", GONE),
    "finish_adding": _moves(("active",), "completed", GONE),
    "fail": _moves(("active",), "failed", GONE),
    "retry": _moves(("active",), *_QUEUED),
    "delay": _moves(("active",), "delayed"),
    "rate_limit": _moves(("active",), *_QUEUED),
    "release": _moves(("active",), *_QUEUED),
    "wait_children": _moves(("active",), "waiting-children", *_QUEUED),
    "recover_stalled": _moves(("active",), *_QUEUED),
    "notify_parents": EFFECTS["release_parents"] | EFFECTS["child_failed"],
    "promote": _moves(("delayed",), *_QUEUED),
    "promote_one": _moves(("delayed",), *_QUEUED),
    "change_delay": _moves(("delayed",), "delayed"),
    "change_priority": _moves(_QUEUED, *_QUEUED),
    "reprocess": _moves(("failed", "completed"), *_QUEUED),
    "replay": _moves(("failed", NEW), *_QUEUED),
    "cancel": _moves((*_QUEUED, "delayed", "waiting-children"), "failed", GONE)
    | _moves(("delayed", "waiting-children"), *_QUEUED),
    "remove": _moves((*_AT_REST, "active"), GONE),
    "remove_flow": _moves((*_AT_REST, "active"), GONE),
    "drain": _moves((*_QUEUED, "delayed", "waiting-children"), GONE),
    "clean": _moves((*_QUEUED, "delayed", "active", "completed", "failed"), GONE),
    "obliterate": _moves((*_AT_REST, "active"), GONE),
    "upsert_schedule": _moves((NEW,), *_QUEUED, "delayed") | _moves((*_QUEUED, "delayed"), GONE),
    "advance_schedule": _moves((NEW,), *_QUEUED, "delayed"),
    "remove_schedule": _moves((*_QUEUED, "delayed"), GONE),
    "pause": _moves(("wait",), "paused"),
    "resume": _moves(("paused",), "wait") | _moves(("wait",), "paused"),
}
"""Script -> the moves of the jobs that it is called for. Any other script moves no job of its own."""

CAUSES: Final[dict[str, frozenset[str]]] = {
    verb: frozenset(effects.split())
    for verb, effects in {
        "add": "deduplicate release_parents merge_paused",
        "add_plain": "merge_paused",
        "add_flow": "release_parents merge_paused",
        "claim": "promote merge_paused",
        "turn": "trim promote release_parents promote_deduplicated merge_paused",
        "finish": "trim release_parents promote_deduplicated merge_paused",
        "finish_adding": "insert_flow trim release_parents promote_deduplicated merge_paused",
        "fail": "trim release_parents child_failed promote_deduplicated merge_paused",
        "retry": "merge_paused",
        "rate_limit": "merge_paused",
        "release": "merge_paused",
        "wait_children": "insert_flow release_parents merge_paused",
        "recover_stalled": "merge_paused",
        "notify_parents": "merge_paused",
        "promote": "merge_paused",
        "promote_one": "merge_paused",
        "reprocess": "merge_paused",
        "replay": "merge_paused",
        "cancel": "trim promote_deduplicated merge_paused",
        "remove": "release_parents promote_deduplicated merge_paused",
        "remove_deduplication": "promote_deduplicated merge_paused",
        "remove_flow": "release_parents merge_paused",
        "drain": "release_parents merge_paused",
        "clean": "release_parents merge_paused",
        "obliterate": "release_parents merge_paused",
        "upsert_schedule": "merge_paused",
        "advance_schedule": "merge_paused",
    }.items()
}
"""Script -> the effects that it may have on other jobs, by their names in `EFFECTS`."""

NO_MOVES: Final[Moves] = frozenset()


def spoken(structure: str) -> str:
    """The user's word for the state of the jobs in a structure, as BullMQ's getters name it."""
    return "waiting" if structure in ("wait", "paused") else structure
