"""Schedules in a worker: each run adds the next run before it starts, and broken chains of runs are repaired.

The scripts decide, each time against the stored next run: any number of workers may try at once.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any, Final

import msgspec

from engine.connection import Link
from engine.model.cron import Timetable
from engine.model.keys import Keys
from engine.model.records import Claimed, Completed, Delayed
from engine.schedules import read_table, run_options, stored_options
from engine.scripts.advance_schedule import Advanced, Chain, Start, advance_schedule
from engine.scripts.find_stuck_schedules import StuckSchedule, find_stuck_schedules
from engine.scripts.list_schedules import StoredSchedule, list_schedules
from engine.worker.retry_delay import Report, Service

RUN: Final = "repeat:"
"""How the ids of schedules' runs begin; `<schedule>:<ms>` follows."""
PATIENCE = 5.0
"""Seconds that a run waits for the server to take the next one. Then it runs, and a later check repairs the chain."""
ASK_AGAIN = 1_000
"""Milliseconds after which a run asks again whether the one before it has ended."""
LATE = Completed(b'{"skipped":"late"}')
OVERLAPS = Completed(b'{"skipped":"overlap"}')
"""Results of runs that were skipped."""


class Scheduling:
    """`admit` is called before each run of a schedule; every `interval_ms` one worker of all repairs broken chains."""

    def __init__(self, link: Link, keys: Keys, *, interval_ms: int, report: Report) -> None:
        self._link = link
        self._keys = keys
        self._interval_ms = interval_ms
        self._report = report
        self._reported: set[str] = set()
        self._service = Service("scheduling", self._turn, report)

    def __repr__(self) -> str:
        return f"<Scheduling {self._service!r}>"

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    async def admit(self, claimed: Claimed) -> Completed | Delayed | None:
        """Add the run after this one. Returns the outcome of this run if it has to be skipped or postponed, else None.

        An error is reported and never keeps a job from running.
        """
        due = claimed.id.rpartition(":")[2]
        if not (due.isdecimal() and b'"repeat"' in claimed.opts):
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._admit(claimed, int(due))
        except Exception as error:
            self._report(error)
            return None

    async def _admit(self, claimed: Claimed, due: int) -> Completed | Delayed | None:
        found = await list_schedules(self._link, self._keys, run=claimed.id)
        stored = found.schedules[0]
        if stored is None or not stored.fields:
            return None
        # Options that the schedule does not set are those of this run; each run passes them to the next.
        stored = msgspec.structs.replace(stored, run_options=claimed.opts.decode(errors="surrogateescape"))
        table = read_table(stored.fields, stored.options)
        is_next = stored.due == due
        if not is_next and table.overlap == "allow":
            return None  # another attempt of a run that added the next one
        late = is_next and table.catch_up == 0 and found.now - due > table.misfire_after
        advanced = await self._advance(
            stored,
            table,
            due=due if is_next else None,
            times=table.following(due, found.now) if is_next else [],
            count=_count(claimed.opts) or stored.count,
            runs=claimed.id.rpartition(":")[0] + ":",
            run=claimed.id,
            starts=not late,
        )
        if late and advanced.chain is not Chain.ELSEWHERE:
            return LATE
        match advanced.start:
            case Start.SKIP:
                return OVERLAPS
            case Start.WAIT:
                return Delayed(ASK_AGAIN)
        return None

    async def _advance(
        self,
        stored: StoredSchedule,
        table: Timetable,
        *,
        due: int | None,
        times: list[int],
        count: int,
        run: str,
        runs: str = "",
        starts: bool = False,
    ) -> Advanced:
        if table.limit is not None and count >= table.limit:
            times = []
        options = stored_options(stored)
        return await advance_schedule(
            self._link,
            self._keys,
            id=stored.id,
            due=due,
            times=times,
            runs=runs,
            head=run_options(stored.options, table, stored.id, count + 1, runs),
            priority=options.priority,
            lifo=options.lifo,
            run=run,
            starts=starts,
        )

    # -- repairing ---------------------------------------------------------------------------------------------------

    async def _turn(self) -> float:
        skip = 0
        while skip != -1:
            stuck, skip = await find_stuck_schedules(self._link, self._keys, interval_ms=self._interval_ms, skip=skip)
            for one in stuck:
                await self._repair(one)
        # With jitter, so that many workers do not check at once.
        return self._interval_ms / 1000 * random.uniform(1.0, 1.2)

    async def _repair(self, stuck: StuckSchedule) -> None:
        """Add the run that is lost, or the one after it. A schedule that cannot be repaired delays no other."""
        try:
            found = await list_schedules(self._link, self._keys, ids=[stuck.id])
            stored = found.schedules[0]
            if stored is None or stored.due != stuck.due:
                return
            table = read_table(stored.fields, stored.options)
            if stuck.again:
                # The lost run had this number: it is used again.
                times, count = [stuck.due, *table.following(stuck.due, found.now)], stored.count - 1
            else:
                times, count = table.following(stuck.due, found.now), stored.count
            run = f"{RUN}{stuck.id}:{stuck.due}"
            await self._advance(stored, table, due=stuck.due, times=times, count=count, run=run)
        except ValueError as error:
            if stuck.id not in self._reported:
                self._reported.add(stuck.id)
                self._report(error)


class _Repeat(msgspec.Struct):
    count: Any = None


class _Options(msgspec.Struct):
    repeat: _Repeat = msgspec.field(default_factory=_Repeat)


_READ = msgspec.json.Decoder(_Options)


def _count(opts: bytes) -> int:
    """The number of a run, as stored in its options; 0 without one."""
    with suppress(ValueError):
        count = _READ.decode(opts).repeat.count
        if isinstance(count, int | float):
            return int(count)
    return 0
