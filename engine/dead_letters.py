"""Dead letters: jobs that failed for good, kept for review and replay. The view of producers and operators.

Which letters there are, and what becomes of each, is decided by scripts; nothing here is read and then written back.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack, get_args

import msgspec
from msgspec import Struct, structs

from engine.connection import Link
from engine.errors import InvalidOption, LetterNotFound
from engine.model import codec
from engine.model.checks import flag, is_number, whole_number
from engine.model.clock import monotonic, time_ms, to_ms
from engine.model.keys import Keys
from engine.model.options import JobOptions, read_options
from engine.model.records import Snapshot, moment
from engine.scripting.key_types import call_typed
from engine.scripting.pace import LETTERS_PER_CALL, PER_CALL
from engine.scripting.snapshots import read_number, read_snapshot
from engine.scripts.count_dead_letters import count_dead_letters
from engine.scripts.fail import MAX_TENANT, UNKNOWN_ERROR
from engine.scripts.find_dead_letters import Cursor, LetterQuery, find_dead_letters
from engine.scripts.list_jobs import list_jobs
from engine.scripts.purge import purge
from engine.scripts.replay import replay
from engine.scripts.write_dead_letters import write_dead_letters

_Edit = Callable[["DeadLetter"], bytes]
Group = Literal["type", "error", "tenant", "day"]

_SAMPLE = 10
_LISTED = 100
"""Letters that one call of a list looks at: their data and stack traces come along."""
_MOST = 1_000
_MOST_DAYS = 366
"""Each is counted anew, at some 20 us."""


class DeadLetterFilter(TypedDict, total=False):
    """Which dead letters: all that is said must hold.

    type: the job's name. error: class name of the exception. tenant: the job's `subAccountId`.
    text: what the reason holds, in just these letters. since, until: times of the failure, aware datetimes or Unix
    milliseconds, `since` included and `until` not. replayed: True asks for those that were replayed, else those that
    were not are meant.
    """

    type: str
    error: str
    tenant: str
    text: str
    since: datetime | int
    until: datetime | int
    replayed: bool


class DeadLetter(Struct, frozen=True, kw_only=True):
    """The last failure of a job that failed for good, with all that is needed to judge it and to run it again."""

    id: str
    """Of the job; each job has one letter at most."""
    queue_name: str
    name: str
    """The job's type."""
    data: Any
    opts: JobOptions
    error: str | None
    """Class name of the exception; "NotRun" where a worker refused to run the job, "unknown" where nobody told."""
    failed_reason: str
    stacktrace: list[str]
    """One for each attempt, oldest first."""
    tenant: str | None
    attempts_made: int
    attempts_started: int
    stalls: int
    priority: int
    failures: int
    """How often a job of this id has failed for good while its letter was there: above 1 after replays in vain."""
    timestamp: datetime | None
    """When the job was added."""
    processed_on: datetime | None
    """When its last attempt began."""
    finished_on: datetime | None
    """When it failed."""
    processed_by: str | None
    """The worker."""
    replayed_on: datetime | None
    """When it was put in line again; None while the letter is open."""


class DeadLetterPage(Struct, frozen=True):
    """A page of dead letters, to be walked like a list. `cursor` asks for the next page; None on the last."""

    letters: list[DeadLetter]
    cursor: str | None

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(self.letters)

    def __len__(self) -> int:
        return len(self.letters)


class AtLeast(Struct, frozen=True):
    """A count that may have stopped before the end."""

    count: int
    is_all: bool
    """False: there may be more, further letters were not read."""


class ReplayReport(Struct, frozen=True):
    """What a replay did, or with `dry_run` would do."""

    count: int
    """Jobs put in line; on a dry run the letters that match."""
    skipped: dict[str, str]
    """Job id -> why its letter was left; the first 1,000."""
    sample: list[DeadLetter]
    """On a dry run the first ten letters."""


class DeadLetters:
    """The dead letters of a queue: `queue.dead_letters`.

        for letter in await queue.dead_letters.list(error="SMTPServerDisconnected", since=yesterday):
            print(letter.id, letter.failed_reason)
        await queue.dead_letters.replay(error="SMTPServerDisconnected", rate=50)

    Methods take a filter by keyword, see DeadLetterFilter. Raise InvalidOption, naming what is wrong with it.
    """

    def __init__(self, keys: Keys, ready: Callable[[], Awaitable[Link]], max_payload: int) -> None:
        self._keys = keys
        self._ready = ready
        self._max_payload = max_payload

    def __repr__(self) -> str:
        return f"<DeadLetters of {self._keys.queue}>"

    # --- asking -------------------------------------------------------------------------------------------------------

    async def list(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        oldest_first: bool = False,
        **filter: Unpack[DeadLetterFilter],
    ) -> DeadLetterPage:
        """Up to `limit` letters, at most 1,000, the newest failure first; `cursor` of one page asks for the next."""
        sought, left, at = _sought(filter), whole_number("limit", limit, 1, _MOST), _read_cursor(cursor)
        link = await self._ready()
        found: list[DeadLetter] = []
        while True:
            slice = await find_dead_letters(
                link, self._keys, sought, what="records", newest=not oldest_first, cursor=at, scan=_LISTED, most=left
            )
            found += [self._letter(id, record) for id, record in slice.records if record]
            left, at = left - slice.count, slice.cursor
            if not left or at is None:
                return DeadLetterPage(found, None if at is None else f"{at[0]},{at[1]}")

    async def count(self, **filter: Unpack[DeadLetterFilter]) -> int:
        """How many letters there are.

        One look at the server, whatever of type, error, tenant and time is asked together. With `text`, or with
        `replayed` beside a type, an error or a tenant, each letter in question is read: some 10 us each, see `at_least`.
        """
        return (await self._counted(_sought(filter), None)).count

    async def at_least(self, *, look: int = 10_000, **filter: Unpack[DeadLetterFilter]) -> AtLeast:
        """How many letters there are, after reading `look` of them at most; all, where none need be read (see `count`)."""
        return await self._counted(_sought(filter), whole_number("look", look, 1, 10_000_000))

    async def groups(self, by: Group, *, limit: int = 100) -> dict[str, int]:
        """How many open letters each type, error, tenant or day has: the `limit` largest groups, or the newest days.

        limit: at most 1,000, or 366 days. A day is text such as "2026-11-24", in UTC. Letters without a tenant are in no tenant's group.
        """
        if by not in get_args(Group):
            raise InvalidOption(f"by: {by!r} is no group; letters are grouped by {', '.join(get_args(Group))}")
        most = whole_number("limit", limit, 1, _MOST_DAYS if by == "day" else _MOST)
        found = await count_dead_letters(await self._ready(), self._keys, by=by, most=most)
        if by == "day":
            dated = [(moment(int(day) * 86_400_000), count) for day, count in found]
            return {f"{day:%Y-%m-%d}": count for day, count in dated if day is not None}
        return dict(found)

    async def get(self, job_id: str) -> DeadLetter | None:
        """The letter of that job, open or replayed, or None."""
        pairs = await call_typed(await self._ready(), "hash", "HGETALL", self._keys.letter(_id(job_id)))
        return self._letter(job_id, dict(zip(pairs[::2], pairs[1::2], strict=True))) if pairs else None

    # --- telling ------------------------------------------------------------------------------------------------------

    async def replay(
        self,
        job_id: str | None = None,
        *,
        data: Any = msgspec.UNSET,
        dry_run: bool = False,
        rate: float | None = None,
        everything: bool = False,
        **filter: Unpack[DeadLetterFilter],
    ) -> ReplayReport:
        """Put the job of one letter, or of all that a filter names, in line again, as if it had never run.

        A job keeps its id. The server marks its letter in the same call, so a letter is replayed once, however many
        operators replay at the same time; after a crash the same call goes on with the letters that are left. Jobs that
        fail again while it goes on are not taken twice.
        data: new data: for one job its data, or for any number a function that is given each letter and returns it.
        dry_run: change nothing, count. rate: jobs a second. everything: without a filter all open letters are meant.
        Raises LetterNotFound and WrongState for one job; InvalidOption; InvalidData and PayloadTooLarge for new data;
        OutcomeUnknown when the line was lost: the same call may be made again.
        """
        edit = None if data is msgspec.UNSET else self._editor(data, job_id)
        pace = _Pace(rate)
        if job_id is not None:
            return await self._replay_one(_id(job_id), edit, dry_run, filter)
        sought = _meant(filter, everything, "replay")
        if sought.replayed:
            raise InvalidOption("replayed: a letter is replayed once; leave it out")
        if dry_run:
            sample = await self.list(limit=_SAMPLE, oldest_first=True, **filter)
            return ReplayReport((await self._counted(sought, None)).count, {}, sample.letters)
        link, by, count, at = await self._ready(), secrets.token_hex(8), 0, None
        skipped: dict[str, str] = {}
        while True:
            most = min(pace.slice, LETTERS_PER_CALL) if edit else pace.slice
            slice = await find_dead_letters(
                link, self._keys, sought, what="records" if edit else "ids", cursor=at, scan=PER_CALL, most=most
            )
            if sought.until is None:
                sought = structs.replace(sought, until=slice.server_time + 1)
            rows: list[tuple[str, int | None, bytes | None]]
            if edit is None:
                rows = [(id, failed, None) for id, failed in slice.ids]
            else:
                found = [(self._letter(id, record), record) for id, record in slice.records]
                rows = [
                    (letter.id, read_number(record, b"finishedOn"), edit(letter)) for letter, record in found if record
                ]
            refused = await replay(link, self._keys, rows, by=by)
            count += len(rows) - len(refused)
            for id, why in refused.items():
                if len(skipped) < _MOST:
                    skipped[id] = str(why.error(id, self._keys.queue))
            at = slice.cursor
            if at is None:
                return ReplayReport(count, skipped, [])
            await pace.wait(len(rows))

    async def purge(
        self, job_id: str | None = None, *, everything: bool = False, **filter: Unpack[DeadLetterFilter]
    ) -> int:
        """Delete the letter of one job, or all that a filter names; how many went. Jobs themselves are left alone.

        everything: without a filter all open letters are meant.
        """
        link = await self._ready()
        if job_id is not None:
            _alone(filter)
            return await purge(link, self._keys, [(_id(job_id), None)])
        sought, gone, at = _meant(filter, everything, "purge"), 0, None
        while True:
            slice = await find_dead_letters(
                link, self._keys, sought, what="ids", cursor=at, scan=PER_CALL, most=PER_CALL
            )
            if sought.until is None:
                sought = structs.replace(sought, until=slice.server_time + 1)
            gone += await purge(link, self._keys, slice.ids)
            at = slice.cursor
            if at is None:
                return gone

    async def adopt(self) -> int:
        """Write letters of the failed jobs that have none, such as those of BullMQ workers; how many were written.

        The class of the error is read from the last stack trace, the tenant from the data.
        """
        link, written = await self._ready(), 0
        for start in range(0, 2**53, PER_CALL):
            # The newest first: what retention takes away meanwhile is at the other end.
            jobs = await list_jobs(
                link, self._keys, state="failed", start=start, end=start + PER_CALL - 1, ascending=False
            )
            written += await write_dead_letters(link, self._keys, [(job.id, *_origin(job)) for job in jobs])
            if len(jobs) < PER_CALL:
                break
        return written

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _counted(self, sought: LetterQuery, most: int | None) -> AtLeast:
        link, count, looked, at = await self._ready(), 0, 0, None
        while True:
            look = PER_CALL if most is None else min(PER_CALL, most - looked)
            slice = await find_dead_letters(link, self._keys, sought, what="count", cursor=at, scan=look, most=look)
            count, looked, at = count + slice.count, looked + look, slice.cursor
            if at is None or looked == most:
                return AtLeast(count, at is None)

    async def _replay_one(
        self, job_id: str, edit: _Edit | None, dry_run: bool, filter: Mapping[str, Any]
    ) -> ReplayReport:
        _alone(filter)
        letter = await self.get(job_id) if edit or dry_run else None
        if (edit or dry_run) and letter is None:
            raise LetterNotFound(job_id, self._keys.queue)
        if letter is not None and dry_run:
            return ReplayReport(0 if letter.replayed_on else 1, {}, [letter])
        failed = None if letter is None or letter.finished_on is None else to_ms(letter.finished_on)
        encoded = edit(letter) if edit and letter else None
        rows = [(job_id, failed, encoded)]
        refused = await replay(await self._ready(), self._keys, rows, by=secrets.token_hex(8))
        if job_id in refused:
            raise refused[job_id].error(job_id, self._keys.queue)
        return ReplayReport(1, {}, [])

    def _editor(self, data: Any, job_id: str | None) -> _Edit:
        if job_id is None and not callable(data):
            raise InvalidOption("data: many jobs would get the same data; give a function that makes it of each letter")

        def edit(letter: DeadLetter) -> bytes:
            encoded = codec.encode("data", data(letter) if callable(data) else data)
            codec.check_size("data", encoded, self._max_payload)
            return encoded

        return edit

    def _letter(self, id: str, record: Mapping[bytes, bytes]) -> DeadLetter:
        job = read_snapshot((id.encode(), [item for pair in record.items() for item in pair]), "failed")
        try:
            opts = read_options(job.opts)
        except (ValueError, RecursionError):
            opts = JobOptions()
        return DeadLetter(
            id=id,
            queue_name=self._keys.queue,
            name=job.name,
            data=_value(job.data),
            opts=opts,
            error=_text(record, b"error"),
            failed_reason=job.failed_reason or "",
            stacktrace=_traces(job.stacktrace),
            tenant=_text(record, b"tenant"),
            attempts_made=job.attempts_made,
            attempts_started=job.attempts_started,
            stalls=job.stalls,
            priority=job.priority,
            failures=read_number(record, b"times") or 1,
            timestamp=moment(job.timestamp),
            processed_on=moment(job.processed_on),
            finished_on=moment(job.finished_on),
            processed_by=job.processed_by,
            replayed_on=moment(read_number(record, b"replayedOn")),
        )


class _Pace:
    """Holds a replay to so many jobs a second, in ten calls a second or fewer."""

    def __init__(self, rate: float | None) -> None:
        if rate is not None and (not is_number(rate) or not 0 < rate < 1e9):
            raise InvalidOption(f"rate: {rate!r} is not a number of jobs a second above 0; leave it out for no limit")
        self.slice = PER_CALL if rate is None else max(1, min(LETTERS_PER_CALL, int(rate / 10)))
        self._rate = rate
        self._due = monotonic()

    async def wait(self, count: int) -> None:
        """Until it is time for the next call, after one of `count` jobs."""
        if self._rate is not None:
            self._due = max(self._due, monotonic() - 1) + count / self._rate
            await asyncio.sleep(self._due - monotonic())


def _sought(filter: Mapping[str, Any]) -> LetterQuery:
    """The filter that a caller gave by keyword. Raises InvalidOption."""
    checked: dict[str, Any] = {}
    for name, value in filter.items():
        if name in ("type", "error", "tenant", "text"):
            if not isinstance(value, str) or not value:
                raise InvalidOption(f"{name}: {value!r} is empty or not text; leave it out to mean any")
            checked[name] = value
        elif name in ("since", "until"):
            checked[name] = time_ms(name, value)
        elif name == "replayed":
            checked[name] = flag(name, value)
        else:
            known = ", ".join(DeadLetterFilter.__annotations__)
            raise InvalidOption(f"{name}: dead letters have no such filter; there are {known}")
    sought = LetterQuery(**checked)
    if sought.since is not None and sought.until is not None and sought.since >= sought.until:
        raise InvalidOption("until: it is not after since, so nothing is between them")
    return sought


def _meant(filter: Mapping[str, Any], everything: bool, verb: str) -> LetterQuery:
    """The filter of what changes many letters: one that names none is a slip unless `everything` says it is not."""
    if not filter and not everything:
        raise InvalidOption(f"filter: none was given; name a job id or a filter, or say everything=True to {verb} all")
    if filter and everything:
        raise InvalidOption("everything: it means all letters; leave it out beside a filter")
    return _sought(filter)


def _alone(filter: Mapping[str, Any]) -> None:
    if filter:
        raise InvalidOption(f"{next(iter(filter))}: a job id names one letter; give either an id or a filter")


def _id(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidOption(f"job_id: {value!r} is empty or not text; it is the id of the job that failed")
    return value


def _read_cursor(cursor: str | None) -> Cursor | None:
    if cursor is None:
        return None
    at, _, id = cursor.partition(",") if isinstance(cursor, str) else ("", "", "")
    if not (at.isascii() and at.isdecimal() and id):
        raise InvalidOption(f"cursor: {cursor!r} is not one that list() gave; leave it out for the first page")
    return int(at), id


# --- reading what is stored -------------------------------------------------------------------------------------------

_PYTHON_ERROR = re.compile(r"^ {2}File .*\n(?: .*\n)*(?!\s)([\w.]+)", re.MULTILINE)
_NODE_ERROR = re.compile(r"\A(\w+)(?::|\n)")


def _origin(job: Snapshot) -> tuple[str, str]:
    """The class of the error that a failed job's last stack trace names, and the tenant in its data; empty for none."""
    trace = next(reversed(_traces(job.stacktrace)), "")
    # Of a chain of errors the last one is what failed the job.
    names = _PYTHON_ERROR.findall(trace + "\n") or _NODE_ERROR.findall(trace)
    data = _value(job.data)
    tenant = data.get("subAccountId") if isinstance(data, dict) else None
    return names[-1].rpartition(".")[2] if names else UNKNOWN_ERROR, "" if tenant is None else str(tenant)[:MAX_TENANT]


def _traces(stored: bytes) -> list[str]:
    traces = _value(stored)
    return [str(trace) for trace in traces] if isinstance(traces, list) else []


def _value(encoded: bytes) -> Any:
    """A stored JSON value of any producer; text where it is not JSON."""
    try:
        return codec.decode("", encoded)
    except ValueError:
        return encoded.decode(errors="replace")


def _text(record: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = record.get(name)
    return None if value is None else value.decode(errors="replace")
