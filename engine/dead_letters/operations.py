"""`queue.dead_letters`: list, count, group, replay and purge the jobs that failed for good.

Scripts decide what happens to each dead letter: nothing is read here and then written back.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Unpack, get_args

from msgspec import UNSET, structs

from engine.connection import Link
from engine.dead_letters.filter import (
    DeadLetterFilter,
    Group,
    check_alone,
    check_filter,
    check_id,
    check_many,
    read_cursor,
)
from engine.dead_letters.records import (
    AtLeast,
    DeadLetter,
    DeadLetterPage,
    ReplayReport,
    error_and_tenant,
    read_dead_letter,
)
from engine.errors import DeadLetterNotFound, InvalidOption
from engine.model import codec
from engine.model.checks import is_number, whole_number
from engine.model.clock import monotonic, to_ms
from engine.model.keys import Keys
from engine.model.records import to_datetime
from engine.scripting.key_types import call_typed
from engine.scripting.pace import DEAD_LETTERS_PER_CALL, PER_CALL
from engine.scripting.snapshots import read_number
from engine.scripts.count_dead_letters import count_dead_letters
from engine.scripts.find_dead_letters import LetterQuery, find_dead_letters
from engine.scripts.list_jobs import list_jobs
from engine.scripts.purge import purge
from engine.scripts.replay import replay
from engine.scripts.write_dead_letters import write_dead_letters

_Edit = Callable[[DeadLetter], bytes]

_SAMPLE = 10
_SCANNED_PER_PAGE_CALL = 100
"""Dead letters that one call of `list` scans: their data and stack traces come along."""
_MOST = 1_000
_MOST_DAYS = 366
"""Each day is a count of its own in Redis, at some 20 us."""


class DeadLetters:
    """The jobs of a queue that failed for good: `queue.dead_letters`.

        for dead_letter in await queue.dead_letters.list(error="SMTPServerDisconnected", since=yesterday):
            print(dead_letter.id, dead_letter.failed_reason)
        await queue.dead_letters.replay(error="SMTPServerDisconnected", rate=50)

    Methods take filters by keyword, see DeadLetterFilter, and raise InvalidOption for one that is wrong.
    A dead letter is open until it is replayed.
    """

    def __init__(self, keys: Keys, ready: Callable[[], Awaitable[Link]], max_payload: int) -> None:
        self._keys = keys
        self._ready = ready
        self._max_payload = max_payload

    def __repr__(self) -> str:
        return f"<DeadLetters of {self._keys.queue}>"

    # --- reading ------------------------------------------------------------------------------------------------------

    async def list(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        oldest_first: bool = False,
        **filter: Unpack[DeadLetterFilter],
    ) -> DeadLetterPage:
        """A page of up to `limit` dead letters (at most 1,000), the newest failure first.

        cursor: that of the page before, to get the next page.
        """
        sought, left, at = check_filter(filter), whole_number("limit", limit, 1, _MOST), read_cursor(cursor)
        link = await self._ready()
        items: list[DeadLetter] = []
        while True:
            found = await find_dead_letters(
                link,
                self._keys,
                sought,
                what="records",
                newest=not oldest_first,
                cursor=at,
                scan=_SCANNED_PER_PAGE_CALL,
                most=left,
            )
            items += [read_dead_letter(self._keys.queue, id, record) for id, record in found.records if record]
            left, at = left - found.count, found.cursor
            if not left or at is None:
                return DeadLetterPage(items, None if at is None else f"{at[0]},{at[1]}")

    async def count(self, **filter: Unpack[DeadLetterFilter]) -> int:
        """How many dead letters match.

        Type, error, tenant and time together cost one lookup. With `text`, or with `replayed` beside a type, an error or a
        tenant, every candidate is read, at some 10 us each: `at_least` puts a limit to that.
        """
        return (await self._count(check_filter(filter), None)).count

    async def at_least(self, *, limit: int = 10_000, **filter: Unpack[DeadLetterFilter]) -> AtLeast:
        """How many dead letters match, after reading at most `limit` of them; complete if no reading is needed, see `count`."""
        return await self._count(check_filter(filter), whole_number("limit", limit, 1, 10_000_000))

    async def groups(self, by: Group, *, limit: int = 100) -> dict[str, int]:
        """How many open dead letters each type, error, tenant or day has: the `limit` largest groups, or the newest days.

        limit: at most 1,000 groups, or 366 days. A day is text such as "2026-11-24", in UTC. Dead letters without a tenant
        are in no tenant's group.
        """
        if by not in get_args(Group):
            raise InvalidOption(f"by: {by!r} is not a group; group by {', '.join(get_args(Group))}")
        most = whole_number("limit", limit, 1, _MOST_DAYS if by == "day" else _MOST)
        found = await count_dead_letters(await self._ready(), self._keys, by=by, most=most)
        if by == "day":
            dated = [(to_datetime(int(day) * 86_400_000), count) for day, count in found]
            return {f"{day:%Y-%m-%d}": count for day, count in dated if day is not None}
        return dict(found)

    async def get(self, job_id: str) -> DeadLetter | None:
        """The dead letter of that job, open or replayed; None if it has none."""
        pairs = await call_typed(await self._ready(), "hash", "HGETALL", self._keys.dead_letter(check_id(job_id)))
        if not pairs:
            return None
        return read_dead_letter(self._keys.queue, job_id, dict(zip(pairs[::2], pairs[1::2], strict=True)))

    # --- changing -----------------------------------------------------------------------------------------------------

    async def replay(
        self,
        job_id: str | None = None,
        *,
        data: Any = UNSET,
        dry_run: bool = False,
        rate: float | None = None,
        everything: bool = False,
        **filter: Unpack[DeadLetterFilter],
    ) -> ReplayReport:
        """Enqueue the failed job again, or all jobs that match a filter, as if they had never run. Job ids stay the same.

        The server marks a dead letter as replayed in the same step, so it is replayed once, however many operators replay
        at the same time. After a crash the same call continues with those that are left. Jobs that fail again while the
        call runs are not replayed twice.
        data: new data. For one job its data; for any number, a function that gets each DeadLetter and returns the data.
        dry_run: change nothing, only count. rate: jobs a second; None is no limit. everything: without a filter, replay
        all open dead letters.
        Raises DeadLetterNotFound and WrongState for one job; InvalidOption; InvalidData and PayloadTooLarge for new data;
        OutcomeUnknown if the connection was lost: the same call can be made again.
        """
        edit = None if data is UNSET else self._editor(data, job_id)
        pace = _Pace(rate)
        if job_id is not None:
            return await self._replay_one(check_id(job_id), edit, dry_run, filter)
        sought = check_many(filter, everything, "replay")
        if sought.replayed:
            raise InvalidOption("replayed: a dead letter is replayed once; leave replayed= out")
        if dry_run:
            sample = await self.list(limit=_SAMPLE, oldest_first=True, **filter)
            return ReplayReport((await self._count(sought, None)).count, {}, sample.items)
        link, by, count, at = await self._ready(), secrets.token_hex(8), 0, None
        skipped: dict[str, str] = {}
        while True:
            most = min(pace.jobs_per_call, DEAD_LETTERS_PER_CALL) if edit else pace.jobs_per_call
            found = await find_dead_letters(
                link, self._keys, sought, what="records" if edit else "ids", cursor=at, scan=PER_CALL, most=most
            )
            if sought.until is None:
                sought = structs.replace(sought, until=found.server_time + 1)
            rows: list[tuple[str, int | None, bytes | None]]
            if edit is None:
                rows = [(id, failed, None) for id, failed in found.ids]
            else:
                rows = [
                    (id, read_number(record, b"finishedOn"), edit(read_dead_letter(self._keys.queue, id, record)))
                    for id, record in found.records
                    if record
                ]
            refused = await replay(link, self._keys, rows, by=by)
            count += len(rows) - len(refused)
            for id, why in refused.items():
                if len(skipped) < _MOST:
                    skipped[id] = str(why.error(id, self._keys.queue))
            at = found.cursor
            if at is None:
                return ReplayReport(count, skipped, [])
            await pace.wait(len(rows))

    async def purge(
        self, job_id: str | None = None, *, everything: bool = False, **filter: Unpack[DeadLetterFilter]
    ) -> int:
        """Delete the dead letter of one job, or all that match a filter; returns how many. The jobs themselves stay.

        everything: without a filter, purge all open dead letters.
        """
        link = await self._ready()
        if job_id is not None:
            check_alone(filter)
            return await purge(link, self._keys, [(check_id(job_id), None)])
        sought, purged, at = check_many(filter, everything, "purge"), 0, None
        while True:
            found = await find_dead_letters(
                link, self._keys, sought, what="ids", cursor=at, scan=PER_CALL, most=PER_CALL
            )
            if sought.until is None:
                sought = structs.replace(sought, until=found.server_time + 1)
            purged += await purge(link, self._keys, found.ids)
            at = found.cursor
            if at is None:
                return purged

    async def adopt(self) -> int:
        """Write dead letters for failed jobs that have none, such as those of BullMQ workers; returns how many.

        The class of the error is read from the last stack trace, the tenant from the data.
        """
        link, written = await self._ready(), 0
        for start in range(0, 2**53, PER_CALL):
            # The newest first: what retention removes meanwhile is at the other end.
            jobs = await list_jobs(
                link, self._keys, state="failed", start=start, end=start + PER_CALL - 1, ascending=False
            )
            written += await write_dead_letters(link, self._keys, [(job.id, *error_and_tenant(job)) for job in jobs])
            if len(jobs) < PER_CALL:
                break
        return written

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _count(self, sought: LetterQuery, limit: int | None) -> AtLeast:
        link, count, scanned, at = await self._ready(), 0, 0, None
        while True:
            scan = PER_CALL if limit is None else min(PER_CALL, limit - scanned)
            found = await find_dead_letters(link, self._keys, sought, what="count", cursor=at, scan=scan, most=scan)
            count, scanned, at = count + found.count, scanned + scan, found.cursor
            if at is None or scanned == limit:
                return AtLeast(count, at is None)

    async def _replay_one(
        self, job_id: str, edit: _Edit | None, dry_run: bool, filter: Mapping[str, Any]
    ) -> ReplayReport:
        check_alone(filter)
        dead_letter = await self.get(job_id) if edit or dry_run else None
        if (edit or dry_run) and dead_letter is None:
            raise DeadLetterNotFound(job_id, self._keys.queue)
        if dead_letter is not None and dry_run:
            return ReplayReport(0 if dead_letter.replayed_on else 1, {}, [dead_letter])
        failed = None if dead_letter is None or dead_letter.finished_on is None else to_ms(dead_letter.finished_on)
        encoded = edit(dead_letter) if edit and dead_letter else None
        rows = [(job_id, failed, encoded)]
        refused = await replay(await self._ready(), self._keys, rows, by=secrets.token_hex(8))
        if job_id in refused:
            raise refused[job_id].error(job_id, self._keys.queue)
        return ReplayReport(1, {}, [])

    def _editor(self, data: Any, job_id: str | None) -> _Edit:
        if job_id is None and not callable(data):
            raise InvalidOption(
                "data: many jobs would get the same data; give a function that returns it for each dead letter"
            )

        def edit(dead_letter: DeadLetter) -> bytes:
            encoded = codec.encode("data", data(dead_letter) if callable(data) else data)
            codec.check_size("data", encoded, self._max_payload)
            return encoded

        return edit


class _Pace:
    """Limits a replay to `rate` jobs a second, in at most ten calls a second."""

    def __init__(self, rate: float | None) -> None:
        if rate is not None and (not is_number(rate) or not 0 < rate < 1e9):
            raise InvalidOption(f"rate: {rate!r} is not a number of jobs a second above 0; leave it out for no limit")
        self.jobs_per_call = PER_CALL if rate is None else max(1, min(DEAD_LETTERS_PER_CALL, int(rate / 10)))
        self._rate = rate
        self._due = monotonic()

    async def wait(self, count: int) -> None:
        """Wait until the next call is due, after one of `count` jobs."""
        if self._rate is not None:
            self._due = max(self._due, monotonic() - 1) + count / self._rate
            await asyncio.sleep(self._due - monotonic())
