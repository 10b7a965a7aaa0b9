"""Read a queue's keyspace: dumps, snapshots, the ids in each state, the event stream.

Reads in pages of `PAGE`, so a queue of a hundred thousand jobs can be read too. Lists are shown in the order in which
their jobs run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.connection import Argument, Link
from engine.model import wire
from engine.model.keys import Keys

PAGE = 1_000
_LISTS = ("wait", "paused", "active")


async def dump(link: Link, prefix: str = "") -> dict[str, Any]:
    """Every key that begins with `prefix` with its value, without times to live. Equal keyspaces have equal dumps."""
    names = sorted(await _scan(link, "SCAN", "MATCH", _escape(prefix) + "*"))
    types = await call_many(link, [["TYPE", name] for name in names])
    readers = {b"string": "GET", b"hash": "HGETALL"}
    simple = [(name, readers[kind]) for name, kind in zip(names, types, strict=True) if kind in readers]
    values = await call_many(link, [[command, name] for name, command in simple])
    found: dict[str, Any] = {}
    for (name, command), value in zip(simple, values, strict=True):
        if value not in (None, []):  # else it expired meanwhile
            found[_text(name)] = _text(value) if command == "GET" else _pairs(value)
    for name, kind in zip(names, types, strict=True):
        if kind not in readers and kind != b"none":
            found[_text(name)] = await _READERS[kind](link, name)
    return found


async def snapshot(link: Link, keys: Keys) -> dict[str, Any]:
    """The queue in a form that a test can spell out and compare.

    `wait paused active`: ids as they run. Sets by their wire names: id to score. `job:<id>`: the hash.
    `lock:<id>`, `logs:<id>`, ...: the keys beside it. `events`: lines such as "active a prev=waiting".
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
    """Every queue of the database, found by its events, counter or meta key."""
    found: dict[tuple[str, str], Keys] = {}
    for name in await _scan(link, "SCAN"):
        base, _, suffix = _text(name).rpartition(":")
        prefix, _, queue = base.rpartition(":")
        if suffix in ("events", "id", "meta") and prefix and queue not in (wire.PRIVATE, ""):
            found.setdefault((prefix, queue), Keys(queue, prefix))
    return list(found.values())


async def call_many(link: Link, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    """The replies to any number of commands, sent in pages."""
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
    """Text that keeps every byte, so that two different values never look the same."""
    return value.decode(errors="surrogateescape")


def _escape(prefix: str) -> str:
    return "".join("\\" + letter if letter in "*?[]\\^" else letter for letter in prefix)
