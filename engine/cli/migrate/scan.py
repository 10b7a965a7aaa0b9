"""The scan of one queue: every structure page by page, then schedules and helper keys. Reads only.

Workers keep running meanwhile, and a job that moves may look like one that is lost: recheck.py reads it again.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.cli.migrate.discovery import hints, is_private, key_pattern
from engine.cli.migrate.findings import Clients, Example, Findings, QueueReport
from engine.cli.migrate.job_rules import StoredJob, is_job_key, job_rules
from engine.cli.migrate.pages import PAGE, answers, ids_of, pairs, raw, read_jobs, scan_keys, text
from engine.cli.migrate.parents import check_parents
from engine.cli.migrate.queue_rules import LISTS, count_states, queue_rules
from engine.cli.migrate.recheck import Recheck
from engine.cli.migrate.schedule_rules import FoundSchedule, schedule_rules
from engine.connection import Link
from engine.model.keys import Keys

MAX_NAMES = 1_000
"""Different names of jobs that are collected at most."""


class QueueScan:
    """Scans one queue. `sample`: jobs checked in each state, None for all. `examples`: shown for each finding."""

    def __init__(self, link: Link, keys: Keys, *, now: int, sample: int | None, examples: int) -> None:
        self._link = link
        self._keys = keys
        self._now = now
        self._sample = sample
        self._found = Findings(examples)
        self._seen: set[str] = set()
        self._checked: dict[str, int] = {}
        self._placed: set[str] = set()
        self._names: dict[str, str] = {}
        """Name -> id of the first unfinished job that has it."""

    async def report(self, clients: Clients | None) -> QueueReport:
        link, keys = self._link, self._keys
        counts = await count_states(link, keys, self._found)
        facts = await queue_rules(link, keys, self._found, self._seen, counts, self._now)
        recheck = Recheck(link, keys, self._found, list(counts))
        for state, count in counts.items():
            if count:
                await self._state(state, recheck)
        if len(self._names) > 1:
            examples = [Example(name, f"job {id}") for name, id in self._names.items()]
            self._found.total("many-names", len(examples), *examples)
        await self._schedules()
        await self._helper_keys(recheck)
        await recheck.run()
        if any(self._checked.get(state, 0) < count for state, count in counts.items()):
            self._found.cut_short()
        return QueueReport(
            keys.queue, facts.version, hints(self._seen, facts.version), facts.paused, counts, facts.schedules, self._checked,
            clients, list(self._found),
        )  # fmt: skip

    def _key(self, suffix: str) -> bytes:
        return raw(self._keys.jobs + suffix)

    # -- jobs by their state ---------------------------------------------------------------------------------------

    async def _state(self, state: str, recheck: Recheck) -> None:
        self._checked[state] = 0
        async for page in ids_of(self._link, self._keys.jobs + state, state in LISTS, self._sample):
            ids = [text(id) for id in page]
            self._checked[state] += len(ids)
            for id in ids:
                if id in self._placed:
                    recheck.doubled[id] = None
                self._placed.add(id)
            jobs = await read_jobs(self._link, self._keys, state, ids)
            for job in jobs:
                self._check(job, recheck)
                if job.name is not None and state not in ("completed", "failed") and len(self._names) < MAX_NAMES:
                    self._names.setdefault(text(job.name), job.id)
            await self._check_beside(state, [job.id for job in jobs if job.is_there], recheck)

    def _check(self, job: StoredJob, recheck: Recheck) -> None:
        if job.next_run is not None:
            self._seen.add("nrjid")
        for code, detail in job_rules(job):
            if code == "missing-hash":
                recheck.gone[job.id] = None
            else:
                self._found.add(code, job.id, detail)

    async def _check_beside(self, state: str, ids: Sequence[str], recheck: Recheck) -> None:
        match state:
            case "active":
                locks = await answers(self._link, [("PTTL", raw(self._keys.lock(id))) for id in ids])
                for id, left in zip(ids, locks, strict=True):
                    if left == -1:
                        self._found.add("lock-without-end", id)
                    elif left == -2:
                        recheck.unlocked[id] = None
            case "failed":
                dead_letters = await answers(self._link, [("EXISTS", raw(self._keys.dead_letter(id))) for id in ids])
                for id, there in zip(ids, dead_letters, strict=True):
                    if not there:
                        self._found.add("without-dead-letter", id)
            case "waiting-children":
                await check_parents(self._link, self._keys, self._found, ids)

    # -- schedules -------------------------------------------------------------------------------------------------

    async def _schedules(self) -> None:
        start = 0
        while page := await self._page_of_schedules(start):
            fields = await answers(self._link, [("HGETALL", self._key(f"repeat:{id}")) for id, _ in page])
            runs = await answers(self._link, [("HGET", self._key(f"repeat:{id}:{due}"), "opts") for id, due in page])
            for (id, due), found, run in zip(page, fields, runs, strict=True):
                schedule = FoundSchedule(id, due, pairs(found or ()), run is not None, run or b"")
                if schedule.is_legacy:
                    self._seen.add("legacy")
                for code, detail in schedule_rules(schedule, self._now):
                    self._found.add(code, id, detail)
            start += len(page)

    async def _page_of_schedules(self, start: int) -> list[tuple[str, int]]:
        (flat,) = await answers(self._link, [("ZRANGE", self._keys.repeat, start, start + PAGE - 1, "WITHSCORES")])
        return [(text(flat[i]), int(float(flat[i + 1]))) for i in range(0, len(flat or ()), 2)]

    # -- helper keys ----------------------------------------------------------------------------------------

    async def _helper_keys(self, recheck: Recheck) -> None:
        async for page in scan_keys(self._link, key_pattern(self._keys.prefix, self._keys.queue)):
            # A key may come twice while the table grows: hence a set.
            suffixes = {text(key).removeprefix(self._keys.jobs) for key in page}
            self._mark(suffixes)
            await self._deduplications([suffix for suffix in suffixes if suffix.startswith("de:")])
            if self._sample is None:
                unplaced = [one for one in suffixes if is_job_key(one) and one not in self._placed]
                jobs = await answers(self._link, [("HEXISTS", self._key(id), "timestamp") for id in unplaced])
                recheck.nowhere |= {id: None for id, is_job in zip(unplaced, jobs, strict=True) if is_job}

    def _mark(self, suffixes: set[str]) -> None:
        for suffix in suffixes:
            if suffix.startswith("dn:"):
                self._seen.add("dn")
            elif is_private(suffix):
                self._seen.add("private")
            elif suffix in ("groups", "groups-lid") or suffix.startswith("groups:"):
                self._found.add("groups", suffix)
            elif suffix == "meta-paused":
                self._seen.add("bull")

    async def _deduplications(self, suffixes: Sequence[str]) -> None:
        owners = [
            text(owner or b"") for owner in await answers(self._link, [("GET", self._key(one)) for one in suffixes])
        ]
        ends = await answers(self._link, [("PTTL", self._key(one)) for one in suffixes])
        jobs = await answers(self._link, [("HEXISTS", self._key(owner), "timestamp") for owner in owners])
        for suffix, owner, left, there in zip(suffixes, owners, ends, jobs, strict=True):
            if left == -1 and not there:
                self._found.add("deduplication-dead", suffix.removeprefix("de:"), f"its job was {owner}")
