"""Broken jobs and queues of chance, from a seed: what other programs, half-written scripts and operators leave behind.

Knows the wire and no module that reads it. Ids are bytes, as in Redis.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from engine.connection import Argument, Link
from engine.model.keys import Keys

Commands = list[list[Argument]]

JSON_TEXTS: tuple[Argument, ...] = (
    "", "{", '{"a":', "nonsense", "[]", "5", '"x"', "null", "true", "NaN", "[1", "\x00", b"\xff\xfe", "[" * 3000, "1e999", "{}",
    '{"a":1}', '{"a":1}{"b":2}', '"\\ud800"', "-0", "9" * 500, '{"id":5}', '{"attempts":"x","backoff":[],"removeOnFail":"x"}',
    '{"attempts":-1,"backoff":{"type":5,"delay":"x"},"removeOnComplete":{"count":"x"},"kl":-5,"stackTraceLimit":1e300}',
    '{"attempts":2,"backoff":{"type":"exponential","delay":1e15}}', '{"repeat":5}', '{"repeat":{"count":"x","every":-5}}',
    '{"de":5}', '{"de":{"id":[]}}', '{"parent":"x","fpof":"x"}', '{"delay":"abc","timestamp":[],"timeout":1e9,"expiresIn":"x"}',
    '{"tm":{},"sizeLimit":-1,"lifo":"x","jobId":7,"priority":1e300}', '{"fpof":true,"idof":true,"id":null,"queueKey":5}',
)  # fmt: skip
"""What may stand where JSON should: none at all, cut off, of another kind, out of range."""

NUMBERS: tuple[Argument, ...] = (
    "abc", "", "-5", "1.5", "1e300", "nan", "inf", "-inf", "0x10", " 7 ", "1_0", "9" * 40, "9007199254740993", b"\xff", "true", "3",
    "9223372036854775807", "-9223372036854775809", "1e15", "٣",
)  # fmt: skip
"""What may stand where a number should."""

TEXTS: tuple[Argument, ...] = (
    "",
    b"\xff\xfe",
    "x" * 5000,
    "a:b:c",
    "\n\x1b[31m",
    "bull:q:wait",
    "corral",
    "n",
    ":",
    "bull:q:",
    "💥",
)

JSON_FIELDS = ("data", "opts", "parent", "progress", "stacktrace", "returnvalue")
NUMBER_FIELDS = ("timestamp", "delay", "priority", "ats", "atm", "stc", "processedOn", "finishedOn")
TEXT_FIELDS = ("name", "parentKey", "deid", "rjk", "defa", "owner", "pb", "failedReason", "unknown", "state")

IDS: tuple[bytes, ...] = (
    b"\xff\xfe", b"caf\xe9", b"a:b", b"a:lock", b"7:logs", b"x:dependencies", b"-1", b"0", b"wait", b"meta", b"events", b"de", b"",
    b" ", b"\n", b"x" * 9000, b"repeat:s", b"repeat:s:5", b"repeat:gone:99", b"corral", b"corral:cancelling", b"99999999999999999999",
    "ünï".encode(), b"\x00", b"*", b"%d", b"de:x",
)  # fmt: skip

STRUCTURES = (b"wait", b"events", b"meta")
LISTS = ("wait", "paused", "active")
ZSETS = ("prioritized", "delayed", "completed", "failed", "waiting-children")


class Damage:
    """One broken queue: `await Damage(keys, seed).write(link)`. `bad` are the ids of what was broken."""

    def __init__(self, keys: Keys, seed: int, *, jobs: int = 14) -> None:
        self.random = random.Random(seed)
        self.keys = keys
        self.bad: list[bytes] = []
        self.commands: Commands = []
        for number in range(jobs):
            self._job(number)
        for break_something in self.random.sample(_WIDER, self.random.randint(0, len(_WIDER))):
            break_something(self)

    async def write(self, link: Link) -> None:
        """Put it on the server; what a command before made impossible is left out."""
        await link.call_many(self.commands)

    def key(self, suffix: str | bytes) -> bytes:
        return self.keys.jobs.encode() + (suffix.encode() if isinstance(suffix, str) else suffix)

    def fields(self) -> dict[str, Argument]:
        """The hash of a job of which up to four fields are broken or missing."""
        draw = self.random
        found: dict[str, Argument] = {
            "name": "n",
            "data": '{"bad":1}',
            "opts": "{}",
            "timestamp": 1,
            "delay": 0,
            "priority": 0,
        }
        for _ in range(draw.randint(0, 4)):
            match draw.randint(0, 3):
                case 0:
                    found[draw.choice(JSON_FIELDS)] = draw.choice(JSON_TEXTS)
                case 1:
                    found[draw.choice(NUMBER_FIELDS)] = draw.choice(NUMBERS)
                case 2:
                    found[draw.choice(TEXT_FIELDS)] = draw.choice(TEXTS)
                case 3 if len(found) > 1:
                    del found[draw.choice(list(found))]
        return found

    def _job(self, number: int) -> None:
        draw = self.random
        id = draw.choice(IDS) if draw.random() < 0.4 else b"bad-%d" % number
        if id in self.bad:
            return
        self.bad.append(id)
        self._hash(id)
        for place in draw.sample((*LISTS, *ZSETS), draw.choice((1, 1, 1, 1, 2))):
            self._stand(id, place)
        if draw.random() < 0.3:
            self.commands.append(
                self._foreign(
                    id
                    + b":"
                    + draw.choice((b"lock", b"logs", b"dependencies", b"processed", b"failed", b"unsuccessful"))
                )
            )

    def _hash(self, id: bytes) -> None:
        match self.random.randint(0, 9):
            case 0:
                return  # a dangling id
            case _ if id in STRUCTURES:
                return  # what a foreign key does there is another test's
            case 1:
                self.commands.append(self._foreign(id))
            case _:
                flat = [item for pair in self.fields().items() for item in pair]
                self.commands.append(["HSET", self.key(id), *flat])

    def _stand(self, id: bytes, place: str) -> None:
        draw = self.random
        if place in LISTS:
            self.commands += [[draw.choice(("LPUSH", "RPUSH")), self.key(place), id]] * draw.choice((1, 1, 2))
        else:
            score = draw.choice(("1", "0", "-5", "inf", "-inf", "1.5", str(2**53), str(5 * 2**32 + 1)))
            self.commands.append(["ZADD", self.key(place), score, id])

    def _foreign(self, suffix: bytes) -> list[Argument]:
        key = self.key(suffix)
        some: Commands = [["SET", key, "x"], ["LPUSH", key, "x"], ["ZADD", key, 1, "x"], ["SADD", key, "x"]]
        return self.random.choice(some)

    # --- beyond single jobs -------------------------------------------------------------------------------------------

    def _schedules(self) -> None:
        """Entries without a hash, hashes without an entry, and hashes that say nothing that can be understood."""
        draw = self.random
        for name in (b"s", b"gone", b"\xff", b"a:b", b"lock"):
            if draw.random() < 0.6:
                self.commands.append(["ZADD", self.key("repeat"), draw.choice((1, "inf", "-1", "1.5", 10**13)), name])
            if draw.random() < 0.6:
                said: dict[str, Argument] = {
                    "ic": draw.choice(NUMBERS), "every": draw.choice(NUMBERS), "pattern": draw.choice(TEXTS), "name": draw.choice(TEXTS),
                    "tz": draw.choice(TEXTS), "opts": draw.choice(JSON_TEXTS), "data": draw.choice(JSON_TEXTS), "offset": draw.choice(NUMBERS),
                    "limit": draw.choice(NUMBERS), "startDate": draw.choice(NUMBERS), "endDate": draw.choice(NUMBERS), "before": draw.choice(NUMBERS),
                    "misfire": draw.choice(TEXTS), "overlap": draw.choice(TEXTS), "running": draw.choice(TEXTS), "queued": draw.choice(TEXTS),
                    "late": draw.choice(NUMBERS), "ended": "1",
                }  # fmt: skip
                some = draw.sample(list(said), draw.randint(1, 8))
                flat = [item for field in some for item in (field, said[field])]
                self.commands.append(["HSET", self.key(b"repeat:" + name), *flat])

    def _deduplications(self) -> None:
        draw = self.random
        self.commands += [
            ["SET", self.key("de:x"), draw.choice(IDS)],
            ["HSET", self.key("dn:x"), "name", draw.choice(TEXTS), "opts", draw.choice(JSON_TEXTS)],
        ]

    def _letters(self) -> None:
        draw = self.random
        for id in draw.sample(IDS, 4):
            self.commands.append(
                [
                    "ZADD",
                    self.key(f"corral:dead:{draw.choice(('open', 'replayed'))}"),
                    draw.choice((5, "inf", "1.5")),
                    id,
                ]
            )
            if draw.random() < 0.7:
                record: dict[str, Argument] = {"finishedOn": draw.choice(NUMBERS), "name": draw.choice(TEXTS), "error": draw.choice(TEXTS),
                    "tenant": draw.choice(TEXTS), "times": draw.choice(NUMBERS), "replayedOn": draw.choice(NUMBERS), "opts": draw.choice(JSON_TEXTS),
                    "data": draw.choice(JSON_TEXTS)}  # fmt: skip
                some = draw.sample(list(record), draw.randint(1, 6))
                flat = [item for field in some for item in (field, record[field])]
                self.commands.append(["HSET", self.key(b"corral:dead:letter:" + id + b":record"), *flat])

    def _events(self) -> None:
        draw = self.random
        self.commands += [
            ["XADD", self.key("events"), "*", draw.choice(("event", "x")), draw.choice(("completed", "failed", "delayed", "", "mine")),
             "jobId", draw.choice(IDS), "delay", draw.choice(NUMBERS), "returnvalue", draw.choice(JSON_TEXTS)]
            for _ in range(5)
        ]  # fmt: skip

    def _parents(self) -> None:
        draw = self.random
        for id in draw.sample([id for id in self.bad if id not in STRUCTURES], 2):
            self.commands += [
                ["SADD", self.key(id + b":dependencies"), draw.choice(TEXTS), "bull:q:gone", "bull:q:good-1"],
                ["HSET", self.key(id + b":processed"), draw.choice(TEXTS), draw.choice(JSON_TEXTS)],
                [
                    "HSET",
                    self.key(id),
                    "parentKey",
                    draw.choice(("bull:q:good-1", "bull:other:x", "x", "", "bull:q:wait", "::")),
                ],
            ]

    def _metrics(self) -> None:
        draw = self.random
        self.commands += [
            ["HSET", self.key("metrics:completed"), "count", draw.choice(NUMBERS), "prevTS", draw.choice(NUMBERS), "prevCount", draw.choice(NUMBERS)],
            ["LPUSH", self.key("metrics:completed:data"), draw.choice(NUMBERS)],
        ]  # fmt: skip

    def _marker(self) -> None:
        self.commands.append(
            ["ZADD", self.key("marker"), self.random.choice((5, "inf", "-inf")), self.random.choice(IDS)]
        )

    def _cancelling(self) -> None:
        self.commands.append(
            ["ZADD", self.key("corral:cancelling"), self.random.choice((5, "inf")), self.random.choice(self.bad)]
        )

    def _stalled(self) -> None:
        self.commands.append(["SADD", self.key("stalled"), *self.random.sample(IDS, 3)])


_WIDER: list[Callable[[Damage], Any]] = [
    Damage._schedules, Damage._deduplications, Damage._letters, Damage._events, Damage._parents, Damage._metrics, Damage._marker,
    Damage._cancelling, Damage._stalled,
]  # fmt: skip
