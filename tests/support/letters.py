"""Dead letters in the keyspace: make some, and read them back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed
from engine.scripts.fail import fail
from tests.support.queues import Held, claimed, dump, seed
from tests.support.shelves import HEAD

ALL = Keep()
NONE = Keep(count=0)


class Death(Struct, frozen=True):
    """How a job fails for good."""

    at: int
    type: str = "n"
    error: str = "ValueError"
    tenant: str = ""
    reason: str = "boom"


async def bury_jobs(
    link: Link,
    keys: Keys,
    deaths: Mapping[str, Death],
    *,
    keep: Keep = NONE,
    letters: Keep | None = ALL,
    jobs: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Let these jobs run and fail, each at its time. `keep` is what stays of failed jobs; nothing without."""
    for id, death in deaths.items():
        fields = {"name": death.type, **(jobs or {}).get(id, {})}
        await seed(link, keys, active={id: Held()}, jobs={id: fields})
        failed = Failed(death.reason, b'["trace"]', death.error)
        refused = await fail(
            link, keys, [(claimed(id), failed, keep, 1)], dead_letters=letters, tenants=[death.tenant], now=death.at
        )
        assert refused == {}


async def shelves(link: Link, keys: Keys) -> dict[str, Any]:
    """All that is stored of dead letters, by the rest of the key's name."""
    found = await dump(link, keys.jobs + HEAD)
    return {name.removeprefix(keys.jobs + HEAD): value for name, value in found.items()}
