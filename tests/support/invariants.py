"""Judge a queue: everything in its keyspace that breaks an invariant, one line each.

Knows the wire (keys, fields, scores, events) and no script, so it also judges queues that BullMQ wrote.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from engine.connection import Link
from engine.model import wire
from engine.model.keys import Keys
from engine.model.options import Keep
from tests.support.dead_letter_indexes import misindexed
from tests.support.keyspace import PAGE, call_many, dump


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

    counts: what `queue.counts()` returned. acked: ids whose add succeeded; each must be in a state, or have an event that
    ends it. keep_*: the retention with which every job was finished. max_stalls: the workers' limit of recoveries.
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
    """What is wrong in the queue, one line each; a line begins with the number of the invariant (I1, I2, ...)."""
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
        *misindexed(space.found),
    ]
    ended = {id for id, word in space.words.items() if word and word[-1][0] in ("completed", "failed", "removed")}
    wrong += [f"I2 {id} was added and is nowhere" for id in acked if id not in space.place and id not in ended]
    if counts is not None:
        wrong += space.miscounted(counts)
    return wrong


class _Space:
    """A queue's dump, sorted into job hashes, the keys beside them, deduplication keys and events."""

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
        """I8: only active jobs have locks, and each lock has a time to live; a key without its job has one too."""
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
        """I8: the fields of a job's hash fit its state."""
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
        """I7: a job has made at most its allowed attempts, and at most one a start. A job retried by hand may have more."""
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
        """I6, I14: the events of a job since its add are a path through the states that ends in its present state."""
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
        """I10: at most `count` finished jobs (and the 1,000 that one trim may leave), none over `age` before the newest."""
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
        """I9: the API's counts equal the stored ones."""
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
"""State -> the events that may be a job's last one while it is in that state."""

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


async def _without_expiry(link: Link, keys: Keys, suffixes: Sequence[str]) -> set[str]:
    left = await call_many(link, [["PTTL", keys.jobs + suffix] for suffix in suffixes])
    return {suffix for suffix, ms in zip(suffixes, left, strict=True) if ms == -1}
