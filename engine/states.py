"""Which moves a job can make. The table is the truth: script headers, lua/README.md and the tests agree with it.

A job is in the state whose structure holds its id. `new` is a job that does not exist yet, `gone` one that no longer
does. `wait` and `paused` are one state to a user, "waiting": a pause moves the ids from the first to the second.
"""

from __future__ import annotations

from typing import Final

NEW: Final = "new"
GONE: Final = "gone"

_QUEUED: Final = ("wait", "paused", "prioritized")
_AT_REST: Final = (*_QUEUED, "delayed", "completed", "failed", "waiting-children")


def _moves(sources: tuple[str, ...], targets: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    return frozenset((source, target) for source in sources for target in targets)


_FOLLOWING: Final = _moves((NEW,), (*_QUEUED, "delayed"))
"""The job that was kept for the end of a deduplication's owner."""

_RELEASED: Final = _moves(("waiting-children",), (*_QUEUED, "delayed"))
"""The parent of a job that ended or went, in whichever queue."""

TRANSITIONS: Final[dict[str, frozenset[tuple[str, str]]]] = {
    "add": _moves((NEW,), (*_QUEUED, "delayed")) | _moves(("delayed",), ("delayed", GONE))
    | _moves(("wait",), ("paused",)) | _RELEASED,
    "claim": _moves(("wait", "prioritized"), ("active",)) | _moves(("delayed",), _QUEUED),
    "finish": _moves(("active",), ("completed", GONE)) | _moves(("completed",), (GONE,)) | _FOLLOWING | _RELEASED,
    "turn": _moves(("active",), ("completed", GONE)) | _moves(("completed",), (GONE,))
    | _moves(("wait", "prioritized"), ("active",)) | _moves(("delayed",), _QUEUED) | _FOLLOWING | _RELEASED,
    "fail": _moves(("active",), ("failed", GONE)) | _moves(("failed",), (GONE,)) | _FOLLOWING | _RELEASED
    | _moves(("delayed",), _QUEUED),
    "retry": _moves(("active",), _QUEUED),
    "delay": _moves(("active",), ("delayed",)),
    "limit": _moves(("active",), _QUEUED),
    "release": _moves(("active",), _QUEUED),
    "sweep": _moves(("active",), _QUEUED),
    "catch_up": _RELEASED | _moves(("delayed",), _QUEUED),
    "promote": _moves(("delayed",), _QUEUED),
    "promote_one": _moves(("delayed",), _QUEUED),
    "change_delay": _moves(("delayed",), ("delayed",)),
    "change_priority": _moves(_QUEUED, _QUEUED),
    "reprocess": _moves(("failed", "completed"), _QUEUED),
    "replay": _moves(("failed", NEW), _QUEUED),
    "remove": _moves((*_AT_REST, "active"), (GONE,)) | _FOLLOWING | _RELEASED,
    "remove_deduplication": _FOLLOWING,
    "remove_flow": _moves((*_AT_REST, "active"), (GONE,)) | _RELEASED,
    "add_flow": _moves((NEW,), (*_QUEUED, "delayed", "waiting-children")) | _RELEASED,
    "wait_children": _moves(("active",), ("waiting-children", *_QUEUED))
    | _moves((NEW,), (*_QUEUED, "delayed", "waiting-children")) | _RELEASED,
    "finish_adding": _moves(("active",), ("completed", GONE)) | _moves(("completed",), (GONE,))
    | _moves((NEW,), (*_QUEUED, "delayed", "waiting-children")) | _RELEASED,
    "upsert_schedule": _moves((NEW,), (*_QUEUED, "delayed")) | _moves((*_QUEUED, "delayed"), (GONE,)),
    "advance_schedule": _moves((NEW,), (*_QUEUED, "delayed")),
    "remove_schedule": _moves((*_QUEUED, "delayed"), (GONE,)),
    "pause": _moves(("wait",), ("paused",)),
    "resume": _moves(("paused",), ("wait",)) | _moves(("wait",), ("paused",)),
    "cancel": _moves((*_QUEUED, "delayed", "waiting-children"), ("failed", GONE)) | _moves(("failed",), (GONE,))
    | _moves(("delayed", "waiting-children"), _QUEUED) | _FOLLOWING,
    "drain": _moves((*_QUEUED, "delayed", "waiting-children"), (GONE,)) | _RELEASED,
    "clean": _moves((*_QUEUED, "delayed", "active", "completed", "failed"), (GONE,)) | _RELEASED,
    "obliterate": _moves((*_AT_REST, "active"), (GONE,)) | _RELEASED,
}  # fmt: skip
"""Verb of a script -> the (source, target) pairs it may move a job between. A script that is not here moves none."""


def spoken(structure: str) -> str:
    """The user's word for the state of the jobs in a structure, as BullMQ's getters name it."""
    return "waiting" if structure in ("wait", "paused") else structure
