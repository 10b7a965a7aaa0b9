"""Rules for parents that wait for children. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from engine.cli.migrate.findings import Findings
from engine.cli.migrate.pages import answers, raw, text
from engine.connection import Link
from engine.errors import InvalidData
from engine.model import codec
from engine.model.keys import Keys
from engine.model.options import POLICIES

_CHILDREN: Final = 100
"""Children of one parent that are checked; a parent with more is not reported."""

_Fields = Sequence[bytes | None]


async def check_parents(link: Link, keys: Keys, found: Findings, parents: Sequence[str]) -> None:
    """Find parents that wait although their children have ended or are gone."""
    pages = await answers(
        link, [("SSCAN", raw(keys.helper(id, "dependencies")), 0, "COUNT", _CHILDREN) for id in parents]
    )
    complete = []
    for id, page in zip(parents, pages, strict=True):
        if page is None:
            found.add("wrong-type", f"{id}:dependencies")
        elif int(page[0]) == 0:
            complete.append((id, page[1]))
    children = [child for _, some in complete for child in some]
    fields = iter(
        await answers(
            link, [("HMGET", child, "timestamp", "finishedOn", "failedReason", "parent") for child in children]
        )
    )
    for id, some in complete:
        _check(found, id, list(zip(some, islice(fields, len(some)), strict=True)))


def _check(found: Findings, id: str, children: Sequence[tuple[bytes, _Fields | None]]) -> None:
    if any(job is None or (job[0] and not job[1]) for _, job in children):
        return  # one has not ended yet
    failed = [child for child, job in children if job and job[1] and job[2] is not None and not _has_policy(job[3])]
    if failed:
        found.add("parent-waits-for-failed", id, text(failed[0]))
    else:
        found.add("parent-forgotten", id, f"{len(children)} children that did not report to it")


def _has_policy(parent: bytes | None) -> bool:
    try:
        stored = codec.decode("parent", parent or b"{}")
    except InvalidData:
        return False
    return isinstance(stored, dict) and any(stored.get(word) is True for word in POLICIES.values())
