"""What must hold of the dead letters in a queue's dump. Knows no server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEAD = "corral:dead:"
"""How the keys of dead letters begin, after the queue's prefix."""
_KINDS = {"type": "name", "error": "error", "tenant": "tenant"}


def misshelved(found: Mapping[str, Any]) -> list[str]:
    """What is wrong with the dead letters in a queue's dump, whose names are without the queue's prefix."""
    dead = {name.removeprefix(HEAD): value for name, value in found.items() if name.startswith(HEAD)}
    records = {
        name.removeprefix("letter:").removesuffix(":record"): value
        for name, value in dead.items()
        if name.startswith("letter:") and isinstance(value, dict)
    }
    wanted: dict[str, dict[str, float]] = {"open": {}, "replayed": {}}
    for id, record in records.items():
        at = float(record["finishedOn"])
        if "replayedOn" in record:
            wanted["replayed"][id] = at
            continue
        wanted["open"][id] = at
        for kind, field in _KINDS.items():
            if value := record.get(field):
                wanted.setdefault(f"{kind}:{value}:ids", {})[id] = at
                groups = wanted.setdefault(f"{kind}s", {})
                groups[value] = groups.get(value, 0) + 1
    stored = {name: value for name, value in dead.items() if not name.startswith("letter:") and name != "alerts"}
    return [
        f"dead letters: {name} has {stored.get(name, {})}, not {wanted.get(name, {})}"
        for name in sorted(stored.keys() | wanted.keys())
        if stored.get(name, {}) != wanted.get(name, {})
    ]
