"""Names of the wire format: key suffixes, states, events and limits, exactly as BullMQ spells them.

Source: the wire specification, sections 1, 2 and 5. Private words of the engine are marked; BullMQ ignores them.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
"""Of this distribution; pyproject.toml reads it from here."""

DEFAULT_PREFIX: Final = "bull"

STRUCTURES: Final = (
    "meta", "id", "wait", "paused", "active", "prioritized", "pc", "delayed", "waiting-children", "completed", "failed",
    "stalled", "stalled-check", "marker", "events", "limiter", "repeat", "de", "dn", "metrics", "priority", "delay",
)  # fmt: skip
"""Key suffixes of a queue. A job id equal to one of them would overwrite the structure."""

PRIVATE: Final = "corral"
"""First part of the engine's private key suffixes; `P:corral:<word>` survives every clean-up that BullMQ runs."""

JOB_HELPERS: Final = ("lock", "logs", "dependencies", "processed", "failed", "unsuccessful")
"""Suffixes of the keys that stand beside a job's hash."""

STATES: Final = ("wait", "paused", "prioritized", "delayed", "active", "waiting-children", "completed", "failed")
"""The structures that hold job ids; a job's state is the one that holds it."""

EVENTS: Final = (
    "added", "waiting", "delayed", "waiting-children", "active", "progress", "completed", "failed", "retries-exhausted",
    "stalled", "removed", "duplicated", "deduplicated", "debounced", "cleaned", "drained", "paused", "resumed",
    "missing",  # private: an id without a hash was found and dropped
)  # fmt: skip

STALLED_REASON: Final = "job stalled more than allowable limit"
"""Stored in `defa` when a job was recovered from a stall more often than allowed."""

MAX_PRIORITY: Final = 2**21 - 1
"""The largest priority whose score is exact in a double (wire specification, section 3.1)."""

MARKER_BASE: Final = "0"
MAX_ROWS: Final = 1_000
"""Rows a script takes in one call."""
