"""The jobs of a soak, drawn by chance: what a producer of any side is to add. Knows nothing of Redis."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

NAME = "work"
KINDS = {"plain": 60, "delayed": 9, "prioritized": 9, "lifo": 5, "retried": 9, "doomed": 3, "slow": 1, "family": 2}
"""Kind -> weight. Of a family, a parent with two children, each is a job of its own: `parent`, `child`.
slow: the first start takes long, so that who takes the job for dead may end it first."""
MOST = 50
"""Jobs of one call."""


class Wish(Struct, frozen=True):
    """A job that is to be added. `options` are in Corral's words."""

    kind: str
    data: dict[str, Any]
    options: dict[str, Any]

    @property
    def mark(self) -> str:
        """Which job it is, whatever its id: PRODUCER-NUMBER. It comes back as the job's result."""
        return str(self.data["mark"])


Batch = list[Wish]
"""Jobs to be added in one call, in this order; or a parent and its children."""


def wishes(
    producer: str, jobs: int, chance: random.Random, *, ms: float, own_ids: bool, families: bool
) -> Iterator[Batch]:
    """`jobs` jobs or a few more. ms: how long one takes on average. own_ids: their marks are their ids too."""
    made = 0
    kinds = KINDS if families else {kind: weight for kind, weight in KINDS.items() if kind != "family"}

    def wish(kind: str) -> Wish:
        nonlocal made
        made += 1
        return _wish(kind, f"{producer}-{made}", chance, ms, own_ids)

    while made < jobs:
        drawn = chance.choices([*kinds], [*kinds.values()], k=min(chance.randint(1, MOST), jobs - made))
        if plain := [kind for kind in drawn if kind != "family"]:
            yield [wish(kind) for kind in plain]
        for _ in range(len(drawn) - len(plain)):
            yield [wish("parent"), wish("child"), wish("child")]


def _wish(kind: str, mark: str, chance: random.Random, ms: float, own_id: bool) -> Wish:
    act = {"retried": "fail once", "doomed": "fail", "slow": "dawdle once"}.get(kind, "")
    data = {"act": act, "ms": round(chance.uniform(0, 2 * ms)), "mark": mark, "load": _load(chance)}
    return Wish(kind, data, _options(kind, chance) | ({"job_id": mark} if own_id else {}))


def _load(chance: random.Random) -> Any:
    return {"text": "é\u2028/" * chance.choice([1, 10, 10, 1_000]), "list": [], "part": chance.random()}


def _options(kind: str, chance: random.Random) -> dict[str, Any]:
    match kind:
        case "delayed":
            return {"delay": chance.randint(1, 500)}
        case "prioritized":
            return {"priority": chance.randint(1, 5)}
        case "lifo":
            return {"lifo": True}
        case "retried":
            return {"attempts": 2} | ({"backoff": 20} if chance.random() < 0.5 else {})
        case "doomed":
            return {"attempts": 1}
    return {}
