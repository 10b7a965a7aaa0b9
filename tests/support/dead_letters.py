"""Dead letters for tests: make jobs fail for good, and read what is stored of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed
from engine.scripts.fail import fail
from tests.support.dead_letter_indexes import HEAD
from tests.support.keyspace import dump
from tests.support.seeding import Held, claimed, seed

ALL = Keep()
NONE = Keep(count=0)


class Death(Struct, frozen=True):
    """How a job fails for good."""

    at: int
    type: str = "n"
    error: str = "ValueError"
    tenant: str = ""
    reason: str = "boom"


async def fail_jobs(
    link: Link,
    keys: Keys,
    deaths: Mapping[str, Death],
    *,
    keep: Keep = NONE,
    letters: Keep | None = ALL,
    jobs: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Make each of these jobs fail for good at its time. `keep`: which failed jobs stay; by default none."""
    for id, death in deaths.items():
        fields = {"name": death.type, **(jobs or {}).get(id, {})}
        await seed(link, keys, active={id: Held()}, jobs={id: fields})
        failed = Failed(death.reason, b'["trace"]', death.error)
        refused = await fail(
            link, keys, [(claimed(id), failed, keep, 1)], dead_letters=letters, tenants=[death.tenant], now=death.at
        )
        assert refused == {}


async def stored_dead_letters(link: Link, keys: Keys) -> dict[str, Any]:
    """Every key that belongs to dead letters: the part of its name after `HEAD` -> its value."""
    found = await dump(link, keys.jobs + HEAD)
    return {name.removeprefix(keys.jobs + HEAD): value for name, value in found.items()}
