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

_ASIDE: Final = _moves(("wait",), ("paused",))
"""What BullMQ 6 left in `wait` when it paused, by a script that puts a job in line behind it."""

TRANSITIONS: Final[dict[str, frozenset[tuple[str, str]]]] = {
    "add": _moves((NEW,), (*_QUEUED, "delayed")) | _moves(("delayed",), ("delayed", GONE))
    | _RELEASED | _ASIDE,
    "claim": _moves(("wait", "prioritized"), ("active",)) | _moves(("delayed",), _QUEUED) | _ASIDE,
    "finish": _moves(("active",), ("completed", GONE)) | _moves(("completed",), (GONE,)) | _FOLLOWING | _RELEASED | _ASIDE,
    "turn": _moves(("active",), ("completed", GONE)) | _moves(("completed",), (GONE,))
    | _moves(("wait", "prioritized"), ("active",)) | _moves(("delayed",), _QUEUED) | _FOLLOWING | _RELEASED | _ASIDE,
    "fail": _moves(("active",), ("failed", GONE)) | _moves(("failed",), (GONE,)) | _FOLLOWING | _RELEASED
    | _moves(("delayed",), _QUEUED) | _ASIDE,
    "retry": _moves(("active",), _QUEUED) | _ASIDE,
    "delay": _moves(("active",), ("delayed",)),
    "rate_limit": _moves(("active",), _QUEUED) | _ASIDE,
    "release": _moves(("active",), _QUEUED) | _ASIDE,
    "recover_stalled": _moves(("active",), _QUEUED) | _ASIDE,
    "notify_parents": _RELEASED | _moves(("delayed",), _QUEUED) | _ASIDE,
    "promote": _moves(("delayed",), _QUEUED) | _ASIDE,
    "promote_one": _moves(("delayed",), _QUEUED) | _ASIDE,
    "change_delay": _moves(("delayed",), ("delayed",)),
    "change_priority": _moves(_QUEUED, _QUEUED),
    "reprocess": _moves(("failed", "completed"), _QUEUED) | _ASIDE,
    "replay": _moves(("failed", NEW), _QUEUED) | _ASIDE,
    "remove": _moves((*_AT_REST, "active"), (GONE,)) | _FOLLOWING | _RELEASED | _ASIDE,
    "remove_deduplication": _FOLLOWING | _ASIDE,
    "remove_flow": _moves((*_AT_REST, "active"), (GONE,)) | _RELEASED | _ASIDE,
    "add_flow": _moves((NEW,), (*_QUEUED, "delayed", "waiting-children")) | _RELEASED | _ASIDE,
    "wait_children": _moves(("active",), ("waiting-children", *_QUEUED))
    | _moves((NEW,), (*_QUEUED, "delayed", "waiting-children")) | _RELEASED | _ASIDE,
    "finish_adding": _moves(("active",), ("completed", GONE)) | _moves(("completed",), (GONE,))
    | _moves((NEW,), (*_QUEUED, "delayed", "waiting-children")) | _RELEASED | _ASIDE,
    "upsert_schedule": _moves((NEW,), (*_QUEUED, "delayed")) | _moves((*_QUEUED, "delayed"), (GONE,)) | _ASIDE,
    "advance_schedule": _moves((NEW,), (*_QUEUED, "delayed")) | _ASIDE,
    "remove_schedule": _moves((*_QUEUED, "delayed"), (GONE,)),
    "pause": _moves(("wait",), ("paused",)),
    "resume": _moves(("paused",), ("wait",)) | _moves(("wait",), ("paused",)),
    "cancel": _moves((*_QUEUED, "delayed", "waiting-children"), ("failed", GONE)) | _moves(("failed",), (GONE,))
    | _moves(("delayed", "waiting-children"), _QUEUED) | _FOLLOWING | _ASIDE,
    "drain": _moves((*_QUEUED, "delayed", "waiting-children"), (GONE,)) | _RELEASED | _ASIDE,
    "clean": _moves((*_QUEUED, "delayed", "active", "completed", "failed"), (GONE,)) | _RELEASED | _ASIDE,
    "obliterate": _moves((*_AT_REST, "active"), (GONE,)) | _RELEASED | _ASIDE,
}  # fmt: skip
"""Verb of a script -> the (source, target) pairs it may move a job between. A script that is not here moves none."""


def spoken(structure: str) -> str:
    """The user's word for the state of the jobs in a structure, as BullMQ's getters name it."""
    return "waiting" if structure in ("wait", "paused") else structure
