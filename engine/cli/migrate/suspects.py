"""Jobs that look lost, doubled or dead, looked at a second time: others may have moved them in between. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.cli.migrate.findings import Findings
from engine.cli.migrate.pages import answers, paged, raw
from engine.cli.migrate.whole import LISTS
from engine.connection import Argument, Link
from engine.model.keys import Keys

_MOST: Final = 200
"""Suspects of one kind that are looked at again; of more, only these can count. Each may be a walk through a list."""


class Suspects:
    """Gathers them at the first look, judges them at the second."""

    def __init__(self, link: Link, keys: Keys, found: Findings, states: Sequence[str]) -> None:
        self._link = link
        self._keys = keys
        self._found = found
        self._states = states
        self.doubled: dict[str, None] = {}
        self.gone: dict[str, None] = {}
        self.unlocked: dict[str, None] = {}
        self.nowhere: dict[str, None] = {}

    async def judge(self) -> None:
        for id, places in (await self._where("in-two-places", self.doubled)).items():
            if len(places) > 1:
                self._found.add("in-two-places", id, " and ".join(places))
        await self._judge_gone()
        places_of = await self._where("active-without-lock", self.unlocked)
        locks = await answers(self._link, [("EXISTS", raw(self._keys.lock(id))) for id in places_of])
        for (id, places), locked in zip(places_of.items(), locks, strict=True):
            if "active" in places and not locked:
                self._found.add("active-without-lock", id)
        places_of = await self._where("nowhere", self.nowhere)
        left = await self._timestamps(list(places_of))
        for (id, places), there in zip(places_of.items(), left, strict=True):
            if there and not places:
                self._found.add("nowhere", id)

    async def _judge_gone(self) -> None:
        places_of = await self._where("missing-hash", self.gone)
        kinds = await answers(self._link, [("TYPE", raw(self._keys.job(id))) for id in places_of])
        left = await self._timestamps(list(places_of))
        for (id, places), kind, there in zip(places_of.items(), kinds, left, strict=True):
            if places and not there:
                rest = {b"none": "", b"hash": ", and what is left of its hash is no job"}
                self._found.add("missing-hash", id, places[0] + rest.get(kind, ", and its key is of another type"))

    async def _timestamps(self, ids: Sequence[str]) -> list[int | None]:
        return await answers(self._link, [("HEXISTS", raw(self._keys.job(id)), "timestamp") for id in ids])

    async def _where(self, code: str, suspects: dict[str, None]) -> dict[str, list[str]]:
        """In which structures the first of these are now, each as often as it is there."""
        if len(suspects) > _MOST:
            self._found.at_least(code)
        found: dict[str, list[str]] = {}
        for page in paged(list(suspects)[:_MOST], 50):
            replies = iter(await answers(self._link, [asked for id in page for asked in self._asked(id)]))
            for id in page:
                found[id] = [state for state in self._states for _ in range(_times(next(replies)))]
        return found

    def _asked(self, id: str) -> list[tuple[Argument, ...]]:
        return [
            ("LPOS", self._keys.jobs + state, raw(id), "COUNT", 2) if state in LISTS else ("ZSCORE", self._keys.jobs + state, raw(id))
            for state in self._states
        ]  # fmt: skip


def _times(reply: object) -> int:
    """Of LPOS with a count, or of ZSCORE."""
    return len(reply) if isinstance(reply, list) else int(reply is not None)
