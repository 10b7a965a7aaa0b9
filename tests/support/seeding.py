"""Put a queue in a state: jobs, locks and options written straight to their keys, without the engine's scripts.

Lists are given in the order in which their jobs run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.model.records import Claimed
from tests.support.keyspace import call_many


class Held(Struct, frozen=True):
    """Who holds an active job, by which claim, and for how long. `lock_ms` None: its lock has expired."""

    token: str = "t1"
    fence: int = 1
    lock_ms: int | None = 60_000


def claimed(id: str, token: str = "t1", fence: int = 1, *, opts: bytes = b"{}", made: int = 0) -> Claimed:
    """The claim of an active job that `seed` made; with another token or fence, one that was lost meanwhile."""
    return Claimed(id, fence, token, "n", b"{}", opts, attempts_made=made)


async def seed(
    link: Link,
    keys: Keys,
    *,
    wait: Sequence[str] = (),
    paused: Sequence[str] = (),
    prioritized: Mapping[str, int] | None = None,
    delayed: Mapping[str, int] | None = None,
    active: Mapping[str, Held] | None = None,
    waiting_children: Mapping[str, int] | None = None,
    completed: Mapping[str, int] | None = None,
    failed: Mapping[str, int] | None = None,
    stalled: Iterable[str] = (),
    meta: Mapping[str, Argument] | None = None,
    jobs: Mapping[str, Mapping[str, Argument]] | None = None,
) -> None:
    """Put jobs into states. In lists the first runs first; in `active` it was claimed first.

    Values: `prioritized` is the priority, `delayed` the due time, the other sets the time of entry; times are ms.
    `jobs` adds fields to a job's hash, or replaces the usual ones.
    """
    fields: dict[str, dict[str, Argument]] = defaultdict(dict)
    commands: list[list[Argument]] = []
    for name, ids in (("wait", wait), ("paused", paused), ("active", active or {})):
        for id in ids:
            fields[id] = {}
            commands.append(["LPUSH", keys.jobs + name, id])
    for id, held in (active or {}).items():
        fields[id] = {"processedOn": 1, "ats": held.fence, "owner": held.token, "pb": "w"}
        if held.lock_ms is not None:
            commands.append(["SET", keys.lock(id), held.token, "PX", held.lock_ms])
    for place, (id, priority) in enumerate((prioritized or {}).items(), 1):
        fields[id] = {"priority": priority}
        commands += [["INCR", keys.pc], ["ZADD", keys.prioritized, priority * 2**32 + place, id]]
    same_ms: Counter[int] = Counter()
    for id, due in (delayed or {}).items():
        fields[id] = {"delay": due}
        commands.append(["ZADD", keys.delayed, due * 4096 + same_ms[due], id])
        same_ms[due] += 1
    for id, at in (waiting_children or {}).items():
        fields[id] = {}
        commands.append(["ZADD", keys.waiting_children, at, id])
    for name, field, ended in (("completed", "returnvalue", completed), ("failed", "failedReason", failed)):
        for id, at in (ended or {}).items():
            fields[id] = {field: "1", "finishedOn": at, "atm": 1, "ats": 1, "processedOn": 0, "owner": "done"}
            commands.append(["ZADD", keys.jobs + name, at, id])
    commands += [["SADD", keys.stalled, id] for id in stalled]
    if meta:
        commands.append(["HSET", keys.meta, *_flat(meta)])
    for id in fields.keys() | (jobs or {}).keys():
        usual: dict[str, Argument] = {
            "name": "n",
            "data": "{}",
            "opts": "{}",
            "timestamp": 0,
            "delay": 0,
            "priority": 0,
        }
        commands.append(["HSET", keys.job(id), *_flat({**usual, **fields[id], **(jobs or {}).get(id, {})})])
    for reply in await call_many(link, commands):
        if isinstance(reply, Exception):
            raise reply


def _flat(fields: Mapping[str, Argument]) -> list[Argument]:
    return [item for pair in fields.items() for item in pair]
