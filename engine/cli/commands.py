"""The commands of the command line: what each asks or tells, and how it prints the answer.

Each takes the command line as it was read, with `redis` and `prefix` filled in, and returns an exit code. Their
docstrings are the help texts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from engine.cli.printing import show_json, show_pairs, show_table
from engine.connection import Link, open_link
from engine.dead_letters import DeadLetter, DeadLetters
from engine.errors import CorralError, DeadLetterNotFound, InvalidInput, InvalidOption, JobNotFound
from engine.job import Job
from engine.model import codec, payloads
from engine.model.keys import Keys
from engine.model.records import Counts
from engine.queue import Queue

_LOG_ROWS = 20
_MOST_QUEUES = 1000


# --- asking -----------------------------------------------------------------------------------------------------------


async def stats(said: argparse.Namespace) -> int:
    """Jobs in each state."""
    found = [await _counted(said, name) for name in said.queues or await _queue_names(said)]
    if said.json:
        show_json([{"queue": name, "paused": paused, "counts": _by_state(counts)} for name, paused, counts in found])
    elif found:
        heads = ["queue", *_by_state(Counts()), ""]
        rows = [[name, *_by_state(counts).values(), "paused" if paused else ""] for name, paused, counts in found]
        show_table(heads, rows)
    else:
        print(f"no queues with prefix {said.prefix!r} at {said.redis.shown}")
    return 0


def _by_state(counts: Counts) -> dict[str, int]:
    return {field.replace("_", "-"): count for field, count in structs.asdict(counts).items()}


async def _counted(said: argparse.Namespace, name: str) -> tuple[str, bool, Counts]:
    async with await existing(said, name) as queue:
        return name, await queue.is_paused(), await queue.counts()


async def jobs(said: argparse.Namespace) -> int:
    """The jobs of one state."""
    async with await existing(said, said.queue) as queue:
        jobs = await queue.jobs(said.state, said.start, said.start + said.count - 1, newest_first=said.newest)
    if said.json:
        show_json([_as_dict(job) for job in jobs])
    elif jobs:
        show_table(["id", "name", "added", "attempts", "about"], [_row(job) for job in jobs])
    else:
        print(f"no {said.state} jobs in {said.queue}" + (f" from number {said.start} on" if said.start else ""))
    return 0


def _row(job: Job[Any, Any]) -> list[Any]:
    about = job.failed_reason or job.return_value
    if about is None:
        about = f"priority {job.priority}" if job.priority else f"delay {job.delay} ms" if job.delay else job.data
    return [job.id, job.name, job.timestamp, job.attempts_made, about]


async def job(said: argparse.Namespace) -> int:
    """All about one job."""
    async with await existing(said, said.queue) as queue:
        job = await queue.get_job(said.id)
        if job is None:
            raise JobNotFound(said.id, said.queue)
        state, logs = await job.state(), await queue.logs(said.id, -_LOG_ROWS)
    found = {"state": state, **_as_dict(job), "logs": logs}
    if said.json:
        show_json(found)
    else:
        show_pairs({name: value for name, value in found.items() if value not in (None, [], "")})
    return 0


def _as_dict(job: Job[Any, Any]) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "queue": job.queue_name,
        "data": job.data,
        "options": msgspec.Raw(job.opts.to_wire()),
        "attemptsMade": job.attempts_made,
        "attemptsStarted": job.attempts_started,
        "priority": job.priority,
        "delay": job.delay,
        "progress": job.progress,
        "added": job.timestamp,
        "started": job.processed_on,
        "finished": job.finished_on,
        "result": job.return_value,
        "failedReason": job.failed_reason,
        "stacktrace": job.stacktrace,
    }


# --- telling ----------------------------------------------------------------------------------------------------------


async def add(said: argparse.Namespace) -> int:
    """Add a job and print its id."""
    data = _data(said.data)
    if said.name in payloads.JOB_TYPES and said.queue == f"{said.name}-queue":
        data = payloads.check(said.name, data)
    asked = {name: getattr(said, name) for name in ("delay", "attempts", "backoff", "priority", "job_id")}
    options = {name: value for name, value in asked.items() if value is not None}
    async with _queue(said, said.queue) as queue:
        job = await queue.add(said.name, data, lifo=said.lifo, **options)
        print(job.id, flush=True)
        if said.wait is not None:
            show_json(await job.result(timeout=said.wait))
    return 0


def _data(text: str) -> Any:
    """The JSON of an argument, of a file (`@path`), or of standard input (`-`)."""
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"data: cannot read {text[1:]!r}: {error}") from None
    return codec.decode("data", text.encode(errors="surrogateescape"))


async def retry(said: argparse.Namespace) -> int:
    """Put failed or completed jobs back in line."""

    async def one(queue: Queue, job_id: str) -> str:
        await queue.retry(job_id, reset_attempts=said.reset_attempts)
        return "back in line"

    return await each(said, one)


async def remove(said: argparse.Namespace) -> int:
    """Remove jobs."""

    async def one(queue: Queue, job_id: str) -> str:
        if not await queue.remove(job_id):
            raise JobNotFound(job_id, queue.name)
        return "removed"

    return await each(said, one)


async def each(said: argparse.Namespace, do: Callable[[Queue, str], Awaitable[str]]) -> int:
    """Do it for each id that was given, also after one for which it cannot be done."""
    failures = 0
    async with await existing(said, said.queue) as queue:
        for job_id in said.ids:
            try:
                print(f"{job_id}: {await do(queue, job_id)}")
            except CorralError as error:
                failures += 1
                print(f"{job_id}: {error}", file=sys.stderr)
    return 1 if failures else 0


async def pause(said: argparse.Namespace) -> int:
    """Let workers take no further jobs."""
    for name in said.queues:
        async with await existing(said, name) as queue:
            await queue.pause()
            print(f"{name}: paused; {(await queue.counts()).active} jobs are being finished")
    return 0


async def resume(said: argparse.Namespace) -> int:
    """Let workers take jobs again."""
    for name in said.queues:
        async with await existing(said, name) as queue:
            await queue.resume()
            print(f"{name}: resumed")
    return 0


async def clean(said: argparse.Namespace) -> int:
    """Remove old jobs of one state."""
    async with await existing(said, said.queue) as queue:
        gone = await queue.clean(said.state, grace=said.older_than, limit=said.limit)
    print(f"{said.queue}: {len(gone)} {said.state} jobs removed")
    return 0


async def dead_letters(said: argparse.Namespace) -> int:
    """Jobs that failed for good: list, group, replay, purge or adopt them."""
    asked = {name: getattr(said, name) for name in ("type", "error", "tenant", "text", "since", "until")}
    filter = {name: value for name, value in asked.items() if value is not None}
    if said.replayed:
        filter["replayed"] = True
    async with await existing(said, said.queue) as queue:
        return await _LETTER_ACTIONS[said.action](said, queue.dead_letters, filter)


async def _list_letters(said: argparse.Namespace, dead: DeadLetters, filter: dict[str, Any]) -> int:
    if said.id is not None:
        return await _show_letter(said, dead)
    found = (await dead.list(limit=said.limit, **filter)).items
    if said.json:
        show_json([_letter_as_dict(letter) for letter in found])
    elif found:
        heads = ["id", "name", "failed", "tenant", "error", "reason"]
        rows = [
            [letter.id, letter.name, letter.finished_on, letter.tenant, letter.error, letter.failed_reason]
            for letter in found
        ]
        show_table(heads, rows)
        there = await dead.at_least(**filter)
        print(f"{len(found)} of {'' if there.complete else 'at least '}{max(there.count, len(found))}")
    else:
        print(f"no dead letters of that kind in {said.queue}")
    return 0


async def _show_letter(said: argparse.Namespace, dead: DeadLetters) -> int:
    letter = await dead.get(said.id)
    if letter is None:
        raise DeadLetterNotFound(said.id, said.queue)
    found = _letter_as_dict(letter)
    if said.json:
        show_json(found)
    else:
        show_pairs({name: value for name, value in found.items() if value not in (None, [], "")})
    return 0


async def _group_letters(said: argparse.Namespace, dead: DeadLetters, filter: dict[str, Any]) -> int:
    if filter or said.id is not None:
        raise InvalidOption("groups: it counts all open letters and takes no id and no filter")
    found = await dead.groups(said.by, limit=said.limit)
    if said.json:
        show_json(found)
    else:
        show_table([said.by, "letters"], list(found.items()))
    return 0


async def _replay_letters(said: argparse.Namespace, dead: DeadLetters, filter: dict[str, Any]) -> int:
    report = await dead.replay(said.id, dry_run=said.dry_run, rate=said.rate, everything=said.all, **filter)
    print(f"{said.queue}: {report.count} {'would be put' if said.dry_run else 'put'} in line again")
    for id, why in report.skipped.items():
        print(f"{id}: {why}", file=sys.stderr)
    return 1 if report.skipped else 0


async def _purge_letters(said: argparse.Namespace, dead: DeadLetters, filter: dict[str, Any]) -> int:
    print(f"{said.queue}: {await dead.purge(said.id, everything=said.all, **filter)} dead letters deleted")
    return 0


async def _adopt_letters(said: argparse.Namespace, dead: DeadLetters, filter: dict[str, Any]) -> int:
    if filter or said.id is not None:
        raise InvalidOption("adopt: it takes in all failed jobs and takes no id and no filter")
    print(f"{said.queue}: {await dead.adopt()} dead letters written")
    return 0


_LETTER_ACTIONS = {
    "list": _list_letters,
    "groups": _group_letters,
    "replay": _replay_letters,
    "purge": _purge_letters,
    "adopt": _adopt_letters,
}


def _letter_as_dict(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "name": letter.name,
        "queue": letter.queue_name,
        "tenant": letter.tenant,
        "data": letter.data,
        "options": msgspec.Raw(letter.opts.to_wire()),
        "error": letter.error,
        "failedReason": letter.failed_reason,
        "attemptsMade": letter.attempts_made,
        "attemptsStarted": letter.attempts_started,
        "failures": letter.failures,
        "added": letter.timestamp,
        "started": letter.processed_on,
        "failed": letter.finished_on,
        "replayed": letter.replayed_on,
        "worker": letter.processed_by,
        "stacktrace": letter.stacktrace,
    }


async def doctor(said: argparse.Namespace) -> int:
    """Look at the server and at this installation."""
    from engine.cli.doctor import examine

    is_bad = False
    async for finding in examine(said.redis, said.prefix):
        is_bad |= finding.verdict == "bad"
        print(f"{finding.verdict:<5} {finding.subject:<11} {finding.words}", flush=True)
    return 1 if is_bad else 0


async def migrate(said: argparse.Namespace) -> int:
    """Say what of BullMQ's live queues would behave differently here; changes nothing."""
    from engine.cli.migrate.check import check
    from engine.cli.migrate.shown import lines

    try:
        report = await check(said.redis, said.prefix, said.queue or (), sample=said.sample, examples=said.examples)
    except (CorralError, TimeoutError) as error:
        raise InvalidInput(str(error)) from None  # for this command 1 means that something would differ
    if said.json:
        show_json(report)
    else:
        print("\n".join(lines(report)))
    return 1 if report.differs else 0


async def demo(said: argparse.Namespace) -> int:
    """Run one job of every type."""
    from engine.cli.demo.run import run_demo

    return await run_demo(said.dir, plain=said.plain)


# --- queues -----------------------------------------------------------------------------------------------------------


def _queue(said: argparse.Namespace, name: str) -> Queue:
    return Queue(name, redis=said.redis, prefix=said.prefix)


async def existing(said: argparse.Namespace, name: str) -> Queue:
    """A queue that is there. Opening any other would make it, and a misspelt name would look like an empty queue."""
    keys = Keys(name, said.prefix)
    link = await open_link(said.redis)
    try:
        if await link.call("EXISTS", keys.meta, keys.id, keys.wait, keys.events):
            return _queue(said, name)
        there = ", ".join(await _scan(link, said.prefix)) or "none"
    finally:
        await link.close()
    raise InvalidOption(
        f"queue {name!r} does not exist at {said.redis.shown} with prefix {said.prefix!r}; there are: {there}"
    )


async def _queue_names(said: argparse.Namespace) -> list[str]:
    link = await open_link(said.redis)
    try:
        return await _scan(link, said.prefix)
    finally:
        await link.close()


async def _scan(link: Link, prefix: str) -> list[str]:
    """The queues of a prefix, at most 1,000, sorted: each has a `meta` key."""
    head, tail = f"{prefix}:".encode(), b":meta"
    pattern = b"".join(b"\\" + bytes([c]) if c in b"*?[]^\\" else bytes([c]) for c in head) + b"*" + tail
    names: set[str] = set()
    cursor = b"0"
    while len(names) < _MOST_QUEUES:
        cursor, found = await link.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        names.update(key[len(head) : -len(tail)].decode(errors="replace") for key in found)
        if int(cursor) == 0:
            break
    return sorted(names)
