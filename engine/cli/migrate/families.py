"""What is to be said of parents that wait for children. Reads only."""

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
"""Children of one parent that are looked at; of one with more nothing is said, unless all of these are open."""

_Fields = Sequence[bytes | None]


async def judge_parents(link: Link, keys: Keys, found: Findings, parents: Sequence[str]) -> None:
    """Parents whose children have ended, or are gone, without a word to them."""
    pages = await answers(
        link, [("SSCAN", raw(keys.helper(id, "dependencies")), 0, "COUNT", _CHILDREN) for id in parents]
    )
    whole = []
    for id, page in zip(parents, pages, strict=True):
        if page is None:
            found.add("wrong-type", f"{id}:dependencies")
        elif int(page[0]) == 0:
            whole.append((id, page[1]))
    children = [child for _, some in whole for child in some]
    said = iter(
        await answers(
            link, [("HMGET", child, "timestamp", "finishedOn", "failedReason", "parent") for child in children]
        )
    )
    for id, some in whole:
        _judge(found, id, list(zip(some, islice(said, len(some)), strict=True)))


def _judge(found: Findings, id: str, children: Sequence[tuple[bytes, _Fields | None]]) -> None:
    if any(job is None or (job[0] and not job[1]) for _, job in children):
        return  # one of them is still to end
    failed = [child for child, job in children if job and job[1] and job[2] is not None and not _has_policy(job[3])]
    if failed:
        found.add("parent-waits-for-failed", id, text(failed[0]))
    else:
        found.add("parent-forgotten", id, f"{len(children)} children that told nothing")


def _has_policy(parent: bytes | None) -> bool:
    try:
        said = codec.decode("parent", parent or b"{}")
    except InvalidData:
        return False
    return isinstance(said, dict) and any(said.get(word) is True for word in POLICIES.values())
