"""Finds the queues of a keyspace and the clients connected to them. Reads only."""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from typing import Final

from engine.cli.migrate.findings import Clients
from engine.cli.migrate.pages import answers, glob, paged, scan_keys, text
from engine.connection import Link
from engine.errors import InvalidName, ServerError
from engine.model import wire
from engine.model.keys import Keys

_NAMED: Final = re.compile(r"(.+):([^:]+):(meta|id)")
_OF_QUEUES: Final = ("opts.maxLenEvents", "version", "paused", "concurrency", "max")


async def find_queues(link: Link) -> dict[str, list[str]]:
    """Prefix -> names of its queues, sorted."""
    bases: set[tuple[str, str]] = set()
    # One pass over all keys for both names; the pattern matches others too, which are left out here.
    async for page in scan_keys(link, b"*:[mi][ed]*"):
        for key in page:
            if (named := _NAMED.fullmatch(text(key))) and named[3] in ("meta", "id"):
                bases.add((named[1], named[2]))
    found: dict[str, list[str]] = defaultdict(list)
    for some in paged(sorted(bases)):
        for (prefix, queue), is_one in zip(some, await _are_queues(link, some), strict=True):
            if is_one:
                found[prefix].append(queue)
    return dict(found)


async def _are_queues(link: Link, bases: list[tuple[str, str]]) -> list[bool]:
    """Whether each is a queue: a schedule or a deduplication of that name has such a key too, with other content."""
    metas = await answers(link, [("HMGET", f"{prefix}:{queue}:meta", *_OF_QUEUES) for prefix, queue in bases])
    counters = await answers(link, [("GET", f"{prefix}:{queue}:id") for prefix, queue in bases])
    return [
        _is_fit(prefix, queue) and (any(meta or ()) or (_may_count(prefix, queue) and (counter or b"").isdigit()))
        for (prefix, queue), meta, counter in zip(bases, metas, counters, strict=True)
    ]


def _may_count(prefix: str, queue: str) -> bool:
    """False for `de:id`, a deduplication whose value is the number of its job."""
    return queue != "de" and not prefix.endswith(":de")


def _is_fit(prefix: str, queue: str) -> bool:
    try:
        Keys(queue, prefix)
    except InvalidName:
        return False
    return True


async def find_clients(link: Link, prefix: str, queues: list[str]) -> dict[str, Clients] | None:
    """Queue -> its connections, by the names that BullMQ and Corral give them; None where our user may not run CLIENT LIST."""
    try:
        reply: bytes = await link.call("CLIENT", "LIST")
    except ServerError:
        return None
    names = [found[1] for found in re.finditer(r" name=(\S*)", reply.decode(errors="replace"))]
    return {queue: _clients(names, prefix, queue) for queue in queues}


def _clients(names: list[str], prefix: str, queue: str) -> Clients:
    head = f"corral:{queue}:"
    ours = {name.removeprefix(head) for name in names if name.startswith(head)}
    # BullMQ's Python port writes the queue's name as it is.
    heads = {f"{prefix}:{base64.b64encode(queue.encode()).decode()}", f"{prefix}:{queue}"}
    workers = [name.partition(":w:")[2] for name in names if name.partition(":w:")[0] in heads]
    listeners = sum(name.endswith(":qe") and name.removesuffix(":qe") in heads for name in names)
    # A worker of Corral has a second connection, with a name of its own.
    theirs = [name for name in workers if name not in ours]
    return Clients(sorted(theirs), sorted(name for name in workers if name in ours), listeners)


def key_pattern(prefix: str, queue: str) -> bytes:
    return glob(f"{prefix}:{queue}:") + b"*"


def hints(found: set[str], version: str) -> list[str]:
    """Signs of the BullMQ versions that have worked on a queue. `found`: codes of what the scan has seen."""
    signs = {
        "paused": "the list `paused` is used: BullMQ 5",
        "nrjid": "a run of a schedule names the next one: BullMQ 5",
        "legacy": "repeatable jobs: BullMQ 5 or before",
        "dn": "deduplicated jobs that wait for an active one (dn:): BullMQ 5.72 or later, or 6",
        "bull": "keys of Bull, before BullMQ",
        "private": "keys of Corral",
    }
    seen = [words for word, words in signs.items() if word in found]
    return ([f"opened last by {version}"] if version else []) + seen


def is_private(suffix: str) -> bool:
    return suffix.partition(":")[0] == wire.PRIVATE
