"""Reads jobs that look lost, duplicated or stalled a second time: they may have moved during the scan. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.cli.migrate.findings import Findings
from engine.cli.migrate.pages import answers, paged, raw
from engine.cli.migrate.queue_rules import LISTS
from engine.connection import Argument, Link
from engine.model.keys import Keys

_MOST: Final = 200
"""Jobs of one kind that are read again, and so counted, at most. Each may be a walk through a list."""


class Recheck:
    """Collects suspicious jobs during the scan; `run` reads them again and adds the findings."""

    def __init__(self, link: Link, keys: Keys, found: Findings, states: Sequence[str]) -> None:
        self._link = link
        self._keys = keys
        self._found = found
        self._states = states
        self.doubled: dict[str, None] = {}
        self.gone: dict[str, None] = {}
        self.unlocked: dict[str, None] = {}
        self.nowhere: dict[str, None] = {}

    async def run(self) -> None:
        for id, places in (await self._where("in-two-places", self.doubled)).items():
            if len(places) > 1:
                self._found.add("in-two-places", id, " and ".join(places))
        await self._check_gone()
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

    async def _check_gone(self) -> None:
        places_of = await self._where("missing-hash", self.gone)
        kinds = await answers(self._link, [("TYPE", raw(self._keys.job(id))) for id in places_of])
        left = await self._timestamps(list(places_of))
        for (id, places), kind, there in zip(places_of.items(), kinds, left, strict=True):
            if places and not there:
                rest = {b"none": "", b"hash": ", and the rest of its hash is not a job"}
                self._found.add("missing-hash", id, places[0] + rest.get(kind, ", and its key is of another type"))

    async def _timestamps(self, ids: Sequence[str]) -> list[int | None]:
        return await answers(self._link, [("HEXISTS", raw(self._keys.job(id)), "timestamp") for id in ids])

    async def _where(self, code: str, ids: dict[str, None]) -> dict[str, list[str]]:
        """Id -> the structures in which it is now, each as often as it is in there; of the first 200 ids."""
        if len(ids) > _MOST:
            self._found.at_least(code)
        found: dict[str, list[str]] = {}
        for page in paged(list(ids)[:_MOST], 50):
            replies = iter(await answers(self._link, [command for id in page for command in self._commands(id)]))
            for id in page:
                found[id] = [state for state in self._states for _ in range(_times(next(replies)))]
        return found

    def _commands(self, id: str) -> list[tuple[Argument, ...]]:
        return [
            ("LPOS", self._keys.jobs + state, raw(id), "COUNT", 2) if state in LISTS else ("ZSCORE", self._keys.jobs + state, raw(id))
            for state in self._states
        ]  # fmt: skip


def _times(reply: object) -> int:
    """How often the id is there, by a reply of LPOS with COUNT or of ZSCORE."""
    return len(reply) if isinstance(reply, list) else int(reply is not None)
