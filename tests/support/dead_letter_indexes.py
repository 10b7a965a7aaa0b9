"""Judge the dead letters in a queue's dump: every index has exactly the letters that it should. Talks to no server."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

HEAD = "corral:dead:"
"""How the keys of dead letters begin, after the queue's prefix."""
_KINDS = {"type": "name", "error": "error", "tenant": "tenant"}


def index_names(said: Mapping[str, str]) -> list[str]:
    """Names of the indexes that hold an open letter of this type, error and tenant: one for each combination."""
    chosen = [kinds for count in range(1, len(said) + 1) for kinds in combinations(said, count)]
    return [
        ":".join(["+".join(kinds), *(f"{len(said[kind].encode())}:{said[kind]}" for kind in kinds), "ids"])
        for kinds in chosen
    ]


def misindexed(found: Mapping[str, Any]) -> list[str]:
    """The indexes that differ from the letters, one line each. `found` is a dump, its names without the queue's prefix."""
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
        said = {kind: value for kind, field in _KINDS.items() if (value := record.get(field))}
        for name in index_names(said):
            wanted.setdefault(name, {})[id] = at
        for kind, value in said.items():
            groups = wanted.setdefault(f"{kind}s", {})
            groups[value] = groups.get(value, 0) + 1
    stored = {name: value for name, value in dead.items() if not name.startswith("letter:") and name != "alerts"}
    return [
        f"dead letters: {name} has {stored.get(name, {})}, not {wanted.get(name, {})}"
        for name in sorted(stored.keys() | wanted.keys())
        if stored.get(name, {}) != wanted.get(name, {})
    ]
