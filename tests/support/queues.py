"""The keyspace of a queue, for tests: put it in a state, read it back, and say what in it must not be.

Knows the wire (keys, fields, scores, events) and one script call at most: none. Everything is read in pages, so that a
queue of a hundred thousand jobs can be checked too. Lists are given and shown in the order in which their jobs run.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from engine.connection import Argument, Link
from engine.model import wire
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Claimed
from tests.support.shelves import misshelved

PAGE = 1_000
_LISTS = ("wait", "paused", "active")
_ZSETS = ("prioritized", "delayed", "waiting-children", "completed", "failed")


class Held(Struct, frozen=True):
    """How an active job is held. `lock_ms` None: its lock has ended."""

    token: str = "t1"
    fence: int = 1
    lock_ms: int | None = 60_000


def claimed(id: str, token: str = "t1", fence: int = 1, *, opts: bytes = b"{}", made: int = 0) -> Claimed:
    """A claim on a job as `seed` makes it active, or as it would stand in the hands of a worker that lost it."""
    return Claimed(id, fence, token, "n", b"{}", opts, attempts_made=made)


# --- putting a queue in a state ---------------------------------------------------------------------------------------


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
    """Put jobs where they are named; in lists the first runs first (in `active`: was claimed first).

    Values: `prioritized` the priority, `delayed` the due time, the other sets their time, all in ms. `jobs` sets
    further fields of a job's hash, or others than the usual ones.
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
    for reply in await _many(link, commands):
        if isinstance(reply, Exception):
            raise reply


def _flat(fields: Mapping[str, Argument]) -> list[Argument]:
    return [item for pair in fields.items() for item in pair]


# --- reading it back --------------------------------------------------------------------------------------------------


async def dump(link: Link, prefix: str = "") -> dict[str, Any]:
    """Every key that begins with `prefix`, and all that it holds; times to live aside. Equal dumps, equal keyspaces."""
    names = sorted(await _scan(link, "SCAN", "MATCH", _escape(prefix) + "*"))
    types = await _many(link, [["TYPE", name] for name in names])
    readers = {b"string": "GET", b"hash": "HGETALL"}
    simple = [(name, readers[kind]) for name, kind in zip(names, types, strict=True) if kind in readers]
    values = await _many(link, [[command, name] for name, command in simple])
    found: dict[str, Any] = {}
    for (name, command), value in zip(simple, values, strict=True):
        if value not in (None, []):  # else it expired meanwhile
            found[_text(name)] = _text(value) if command == "GET" else _pairs(value)
    for name, kind in zip(names, types, strict=True):
        if kind not in readers and kind != b"none":
            found[_text(name)] = await _READERS[kind](link, name)
    return found


async def snapshot(link: Link, keys: Keys) -> dict[str, Any]:
    """The queue in a form that a test can write down.

    `wait paused active`: ids as they run. Sets by their wire names: id to score. `job:<id>`: the hash.
    `lock:<id>`, `logs:<id>`, ...: what stands beside it. `events`: lines such as "active a prev=waiting".
    """
    shown: dict[str, Any] = {}
    for name, value in (await dump(link, keys.jobs)).items():
        suffix = name.removeprefix(keys.jobs)
        owner, _, helper = suffix.rpartition(":")
        if suffix == "events":
            shown[suffix] = [_line(event) for _, event in value]
        elif suffix in _LISTS and isinstance(value, list):
            shown[suffix] = value[::-1]
        elif suffix in wire.STRUCTURES or suffix.partition(":")[0] in ("de", "dn", "metrics", wire.PRIVATE):
            shown[suffix] = value
        elif owner and helper in wire.JOB_HELPERS:
            shown[f"{helper}:{owner}"] = value
        else:
            shown[f"job:{suffix}"] = value
    return shown


async def events(link: Link, keys: Keys) -> list[str]:
    """The event stream as lines such as "active a prev=waiting"."""
    return [_line(event) for _, event in await _read_stream(link, keys.events.encode())]


async def job(link: Link, keys: Keys, id: str) -> dict[str, str]:
    return _pairs(await link.call("HGETALL", keys.job(id)))


async def census(link: Link, keys: Keys) -> dict[str, list[str]]:
    """The ids in each structure that can hold jobs, by its wire name; lists as they run, sets by score."""
    found: dict[str, list[str]] = {}
    for name in wire.STATES:
        key = (keys.jobs + name).encode()
        if name in _LISTS:
            found[name] = (await _read_list(link, key))[::-1]
        else:
            found[name] = list(await _read_zset(link, key))
    return found


async def all_keyspaces(link: Link) -> list[Keys]:
    """Every queue found in the database: by its events, counter or meta."""
    found: dict[tuple[str, str], Keys] = {}
    for name in await _scan(link, "SCAN"):
        base, _, suffix = _text(name).rpartition(":")
        prefix, _, queue = base.rpartition(":")
        if suffix in ("events", "id", "meta") and prefix and queue not in (wire.PRIVATE, ""):
            found.setdefault((prefix, queue), Keys(queue, prefix))
    return list(found.values())


# --- what must hold ---------------------------------------------------------------------------------------------------


async def check_invariants(
    link: Link,
    keys: Keys,
    *,
    counts: Any = None,
    acked: Iterable[str] = (),
    keep_completed: Keep | None = None,
    keep_failed: Keep | None = None,
    max_stalls: int | None = None,
) -> None:
    """Raise AssertionError with everything that is wrong in the queue.

    `counts`: what the API says (an `engine.model.records.Counts`). `acked`: ids that were added; each has a place or an end that
    the events tell. `keep_*`: the rule that every job was finished with. `max_stalls`: that of the sweeps.
    """
    wrong = await violations(
        link,
        keys,
        counts=counts,
        acked=acked,
        keep_completed=keep_completed,
        keep_failed=keep_failed,
        max_stalls=max_stalls,
    )
    assert not wrong, f"{keys!r} is unsound:\n  " + "\n  ".join(wrong)


async def violations(
    link: Link,
    keys: Keys,
    *,
    counts: Any = None,
    acked: Iterable[str] = (),
    keep_completed: Keep | None = None,
    keep_failed: Keep | None = None,
    max_stalls: int | None = None,
) -> list[str]:
    """What is wrong in the queue, each a line that begins with the number of the invariant."""
    space = _Space(keys, await dump(link, keys.jobs))
    untimed = await _without_expiry(link, keys, [*space.helpers, *space.windows])
    wrong = [
        *space.misplaced(),
        *space.unowned(untimed),
        *space.mislabelled(),
        *space.overrun(max_stalls),
        *space.misspoken(),
        *space.overfull("completed", keep_completed),
        *space.overfull("failed", keep_failed),
        *misshelved(space.found),
    ]
    ended = {id for id, word in space.words.items() if word and word[-1][0] in ("completed", "failed", "removed")}
    wrong += [f"I2 {id} was added and is nowhere" for id in acked if id not in space.place and id not in ended]
    if counts is not None:
        wrong += space.miscounted(counts)
    return wrong


class _Space:
    """A queue's dump, taken apart once."""

    def __init__(self, keys: Keys, found: dict[str, Any]) -> None:
        self.found = {name.removeprefix(keys.jobs): value for name, value in found.items()}
        self.hashes: dict[str, dict[str, str]] = {}
        self.helpers: dict[str, tuple[str, str]] = {}
        self.windows: dict[str, str] = {}
        self.foreign: list[str] = []
        schedules = self.found.get("repeat", {})
        for suffix, value in self.found.items():
            head, _, rest = suffix.partition(":")
            owner, _, helper = suffix.rpartition(":")
            if suffix in wire.STRUCTURES or head in ("dn", "metrics", wire.PRIVATE):
                continue
            if head == "de":
                self.windows[suffix] = value
            elif head == "repeat" and rest in schedules:
                continue
            elif owner and helper in wire.JOB_HELPERS:
                self.helpers[suffix] = (owner, helper)
            elif isinstance(value, dict):
                self.hashes[suffix] = value
            else:
                self.foreign.append(suffix)
        self.places: dict[str, list[str]] = defaultdict(list)
        for state in wire.STATES:
            for id in self.found.get(state, ()):
                self.places[id].append(state)
        self.place = {id: states[0] for id, states in self.places.items()}
        self.words = self._read_words()

    def misplaced(self) -> list[str]:
        """I1, I8: each id in one place, once; a hash for each place and a place for each hash."""
        return [
            *(f"I1 {id!r} is in {' and '.join(states)}" for id, states in self.places.items() if len(states) > 1),
            *(f"I8 {id!r} is in {self.place[id]} and has no hash" for id in self.place if id not in self.hashes),
            *(
                f"I8 {id!r} has a hash and is nowhere: {fields}"
                for id, fields in self.hashes.items()
                if id not in self.place
            ),
            *(f"I8 {suffix!r} is not a hash" for suffix in self.foreign),
        ]

    def unowned(self, untimed: set[str]) -> list[str]:
        """I8: locks only of active jobs, and always with an end; nothing without an owner or an end."""
        wrong = [
            f"I8 {id!r} is marked as stalled and is in {self.place.get(id, 'no place')}"
            for id in self.found.get("stalled", ())
            if self.place.get(id) != "active"
        ]
        for suffix, (owner, helper) in self.helpers.items():
            if helper == "lock" and self.place.get(owner) != "active":
                wrong.append(f"I8 {owner!r} is locked and is in {self.place.get(owner, 'no place')}")
            if helper == "lock" and suffix in untimed:
                wrong.append(f"I8 the lock of {owner!r} never ends")
            if owner not in self.hashes and suffix in untimed:
                wrong.append(f"I8 {suffix!r} has no owner and no end")
        wrong += [
            f"I8 {suffix!r} is kept for the end of nobody"
            for suffix in self.found
            if suffix.startswith("dn:") and "de:" + suffix[3:] not in self.windows
        ]
        for suffix, owner in self.windows.items():
            if owner not in self.hashes and suffix in untimed:
                wrong.append(f"I8 {suffix!r} names {owner!r}, which is gone, and has no end")
        return wrong

    def mislabelled(self) -> list[str]:
        """I8: what a hash says fits where its id is."""
        wrong = []
        for id, place in self.place.items():
            fields = self.hashes.get(id, {})
            ended = fields.get("finishedOn")
            if place in ("completed", "failed"):
                field = "returnvalue" if place == "completed" else "failedReason"
                if field not in fields or ended is None or int(ended) != self.found[place][id]:
                    wrong.append(f"I8 {id!r} is in {place} at {self.found[place][id]} and its hash says {fields}")
            elif ended is not None:
                wrong.append(f"I8 {id!r} is in {place} and has ended at {ended}")
            if place == "active" and int(fields.get("ats", 0)) < 1 and id in self.hashes:
                wrong.append(f"I8 {id!r} is active and was never started")
            ranked = int(fields.get("priority") or 0) > 0
            if place == "prioritized" and not ranked:
                wrong.append(f"I8 {id!r} is in prioritized and has no priority")
        return wrong

    def overrun(self, max_stalls: int | None) -> list[str]:
        """I7: attempts made are at most those allowed, and at most starts. A job put back by hand may have more."""
        wrong = []
        for id, fields in self.hashes.items():
            made, started = int(fields.get("atm", 0)), int(fields.get("ats", 0))
            by_hand = any(
                kind == "waiting" and prev in ("failed", "completed") for kind, prev in self.words.get(id, ())
            )
            allowed = _attempts(fields.get("opts", "{}"))  # 0: the processor decides
            if made > allowed > 0 and not by_hand:
                wrong.append(f"I7 {id!r} made {made} attempts of {allowed}")
            if made > started:
                wrong.append(f"I7 {id!r} made {made} attempts in {started} starts")
            if max_stalls is not None and int(fields.get("stc", 0)) > max_stalls + 1:
                wrong.append(f"I7 {id!r} was put back {fields['stc']} times of {max_stalls}")
        return wrong

    def misspoken(self) -> list[str]:
        """I6, I14: what the stream tells of a job from its add on is a way through the states that ends where it is."""
        wrong = []
        for id, word in self.words.items():
            said = "added"
            for kind, prev in word:
                if (said, kind) not in _GRAMMAR:
                    told = " ".join(kind for kind, _ in word)
                    wrong.append(f"I14 {id!r}: {kind} (prev={prev}) cannot follow {said}: {told}")
                    break
                said = kind
            else:
                place = self.place.get(id)
                if place is not None and said not in _SAID_OF[place]:
                    wrong.append(f"I6 {id!r} is in {place} and its last event is {said}")
        return wrong

    def overfull(self, state: str, keep: Keep | None) -> list[str]:
        """I10: within the count, and the 1,000 of a trim; within the age, counted back from the newest."""
        ended: dict[str, float] = self.found.get(state, {})
        wrong = []
        if keep is not None and keep.count is not None and len(ended) > keep.count + PAGE:
            wrong.append(f"I10 {len(ended)} in {state}, {keep.count} are kept")
        if keep is not None and keep.seconds is not None and ended and len(ended) < PAGE:
            newest = max(ended.values())
            old = [id for id, at in ended.items() if at <= newest - keep.seconds * 1000]
            wrong += [f"I10 {id!r} in {state} is older than {keep.seconds} s" for id in old]
        return wrong

    def miscounted(self, counts: Any) -> list[str]:
        """I9: the API counts what is there."""
        wrong = []
        for name, state in _COUNTED.items():
            said, there = getattr(counts, name), len(self.found.get(state, ()))
            if said != there:
                wrong.append(f"I9 {name}: {said} counted, {there} there")
        return wrong

    def _read_words(self) -> dict[str, list[tuple[str, str]]]:
        words: dict[str, list[tuple[str, str]]] = {}
        for _, event in self.found.get("events", ()):
            id, kind = event.get("jobId", ""), event["event"]
            if kind == "added":
                words[id] = []
            elif id in words and kind in _SPOKEN:
                words[id].append((kind, event.get("prev", "")))
        return words


_COUNTED = {
    "waiting": "wait",
    "active": "active",
    "delayed": "delayed",
    "prioritized": "prioritized",
    "completed": "completed",
    "failed": "failed",
    "waiting_children": "waiting-children",
    "paused": "paused",
}

_SAID_OF = {
    "wait": {"waiting"},
    "paused": {"waiting"},
    "prioritized": {"waiting"},
    "delayed": {"delayed"},
    "waiting-children": {"waiting-children"},
    "active": {"active"},
    "completed": {"completed"},
    "failed": {"failed"},
}
"""A place -> the last events that may have been told of a job in it."""

_AFTER = {
    "added": ("waiting", "delayed", "waiting-children"),
    "waiting": ("active", "failed", "removed", "missing"),
    "delayed": ("waiting", "delayed", "failed", "removed"),
    "waiting-children": ("waiting", "delayed", "failed", "removed"),
    "active": ("waiting", "delayed", "waiting-children", "completed", "failed", "removed", "missing"),
    "completed": ("waiting", "removed"),
    "failed": ("waiting", "removed"),
    "removed": (),
    "missing": (),
}
_GRAMMAR = frozenset((kind, follower) for kind, followers in _AFTER.items() for follower in followers)
_SPOKEN = frozenset(_AFTER)


def _attempts(opts: str) -> int:
    try:
        return int(json.loads(opts).get("attempts", 0))
    except (ValueError, TypeError, AttributeError):
        return 0


# --- pages ------------------------------------------------------------------------------------------------------------


async def _many(link: Link, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    replies: list[Any] = []
    for first in range(0, len(commands), PAGE):
        replies += await link.call_many(commands[first : first + PAGE])
    return replies


async def _scan(link: Link, command: str, *rest: Argument) -> list[bytes]:
    found: list[bytes] = []
    cursor: Argument = 0
    while True:
        where = (cursor,) if command == "SCAN" else (rest[0], cursor)
        cursor, page = await link.call(command, *where, *(rest if command == "SCAN" else rest[1:]), "COUNT", PAGE)
        found += page
        if int(cursor) == 0:
            return list(dict.fromkeys(found))


async def _without_expiry(link: Link, keys: Keys, suffixes: Sequence[str]) -> set[str]:
    left = await _many(link, [["PTTL", keys.jobs + suffix] for suffix in suffixes])
    return {suffix for suffix, ms in zip(suffixes, left, strict=True) if ms == -1}


async def _read_list(link: Link, key: bytes) -> list[str]:
    found: list[str] = []
    while True:
        page = await link.call("LRANGE", key, len(found), len(found) + PAGE - 1)
        found += map(_text, page)
        if len(page) < PAGE:
            return found


async def _read_zset(link: Link, key: bytes) -> dict[str, float]:
    found: dict[str, float] = {}
    while True:
        page = await link.call("ZRANGE", key, len(found), len(found) + PAGE - 1, "WITHSCORES")
        for member, score in zip(page[::2], page[1::2], strict=True):
            number = float(score)
            found[_text(member)] = int(number) if number.is_integer() else number
        if len(page) < 2 * PAGE:
            return found


async def _read_set(link: Link, key: bytes) -> list[str]:
    return sorted(map(_text, await _scan(link, "SSCAN", key)))


async def _read_stream(link: Link, key: bytes) -> list[tuple[str, dict[str, str]]]:
    found: list[tuple[str, dict[str, str]]] = []
    start: str = "-"
    while True:
        page = await link.call("XRANGE", key, start, "+", "COUNT", PAGE)
        found += [(_text(id), _pairs(fields)) for id, fields in page]
        if len(page) < PAGE:
            return found
        start = "(" + found[-1][0]


_READERS = {b"list": _read_list, b"zset": _read_zset, b"set": _read_set, b"stream": _read_stream}


def _line(event: dict[str, str]) -> str:
    rest = [f"{field}={value}" for field, value in event.items() if field not in ("event", "jobId")]
    return " ".join([event["event"], *([event["jobId"]] if "jobId" in event else []), *rest])


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    return {_text(flat[i]): _text(flat[i + 1]) for i in range(0, len(flat), 2)}


def _text(value: bytes) -> str:
    """Text that keeps every byte, so that two values which differ never look the same."""
    return value.decode(errors="surrogateescape")


def _escape(prefix: str) -> str:
    return "".join("\\" + letter if letter in "*?[]\\^" else letter for letter in prefix)
