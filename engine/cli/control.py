"""Commands of the command line that steer a queue: its schedules and limits, running jobs, flows.

As in commands.py each takes the command line as it was read and returns an exit code; their docstrings are the help texts.
"""

from __future__ import annotations

import argparse
from typing import Any

from msgspec import structs

from engine.cli.commands import each, existing
from engine.cli.printing import show_json, show_table
from engine.errors import InvalidOption, JobNotFound, ScheduleNotFound, WrongState
from engine.flows import FlowNode, FlowProducer
from engine.model.limits import RateLimit
from engine.queue import Queue
from engine.schedules import Schedule
from engine.scripts.cancel import Cancellation


async def schedules(said: argparse.Namespace) -> int:
    """Schedules of a queue: list them, run one now, remove them."""
    if said.action == "list":
        return await _list_schedules(said)
    if not said.ids:
        raise InvalidOption(f"{said.action}: no schedule was named; give one id or more, see `schedules {said.queue}`")
    return await each(said, _run_now if said.action == "run" else _remove_schedule)


async def _list_schedules(said: argparse.Namespace) -> int:
    if said.ids:
        raise InvalidOption("list: it shows all schedules and takes no id")
    async with await existing(said, said.queue) as queue:
        found = await queue.schedules.list(0, said.limit - 1)
    if said.json:
        show_json([structs.asdict(one) | {"options": one.options.to_wire().decode()} for one in found])
    elif found:
        rows = [[one.id, one.name, _when(one), one.next_run, one.runs, one.overlap] for one in found]
        show_table(["id", "name", "when", "next run", "runs", "overlap"], rows)
    else:
        print(f"no schedules in {said.queue}")
    return 0


def _when(one: Schedule) -> str:
    return f"every {one.every} ms" if one.cron is None else f"{one.cron} {one.tz}"


async def _run_now(queue: Queue, id: str) -> str:
    return f"job {(await queue.schedules.run_now(id)).id} added"


async def _remove_schedule(queue: Queue, id: str) -> str:
    if not await queue.schedules.remove(id):
        raise ScheduleNotFound(id, queue.name)
    return "removed"


async def cancel(said: argparse.Namespace) -> int:
    """Cancel jobs: those that wait fail now, those that run are told to stop."""

    async def one(queue: Queue, job_id: str) -> str:
        match await queue.cancel(job_id, said.reason):
            case Cancellation.MISSING:
                raise JobNotFound(job_id, queue.name)
            case Cancellation.ENDED:
                raise WrongState(f"job {job_id!r} has ended already; there is nothing to cancel")
            case Cancellation.ASKED:
                return "its worker is asked to end it"
            case Cancellation.CANCELLED:
                return "cancelled"

    return await each(said, one)


async def limit(said: argparse.Namespace) -> int:
    """Say how fast jobs of a queue start and how many run at once; without an option, show it."""
    async with await existing(said, said.queue) as queue:
        await _set_limits(said, queue)
        rate, concurrency = await queue.rate_limit(), await queue.concurrency()
        waits = await queue.rate_limit_ttl()
    if said.json:
        show_json({"rate": rate, "concurrency": concurrency, "nothingStartsFor": waits})
    else:
        print(f"{said.queue}: {_rate(rate)}; {'any number' if concurrency is None else concurrency} at once")
        if waits:
            print(f"{said.queue}: nothing starts for {waits} ms")
    return 0


async def _set_limits(said: argparse.Namespace, queue: Queue) -> None:
    if said.smooth and said.rate is None:
        raise InvalidOption("smooth: it spreads a rate; give --rate MAX/TIME with it")
    if said.rate is not None:
        await queue.set_rate_limit(said.rate.max, said.rate.duration, smooth=said.smooth)
    elif said.no_rate:
        await queue.remove_rate_limit()
    if said.concurrency is not None:
        await queue.set_concurrency(said.concurrency)
    elif said.no_concurrency:
        await queue.remove_concurrency()


def _rate(rate: RateLimit | None) -> str:
    if rate is None:
        return "jobs start as fast as they can"
    return f"{rate.max} jobs start in {rate.duration} ms{', evenly spread' if rate.smooth else ''}"


async def flow(said: argparse.Namespace) -> int:
    """A job and those that it waits for, or waited for, as a tree."""
    async with await existing(said, said.queue):
        pass
    async with FlowProducer(redis=said.redis, prefix=said.prefix) as flows:
        found = await flows.get(said.queue, said.id, depth=said.depth, max_children=said.children)
        if found is None:
            raise JobNotFound(said.id, said.queue)
        tree = await _branch(found)
    if said.json:
        show_json(tree)
    else:
        _show_branch(tree, 0)
    return 0


async def _branch(node: FlowNode) -> dict[str, Any]:
    job = node.job
    return {
        "id": job.id,
        "name": job.name,
        "queue": job.queue_name,
        "state": await job.state(),
        "failedReason": job.failed_reason,
        "children": [await _branch(child) for child in node.children],
    }


def _show_branch(branch: dict[str, Any], depth: int) -> None:
    reason = f": {branch['failedReason']}" if branch["failedReason"] else ""
    print(f"{'  ' * depth}{branch['name']} {branch['id']} in {branch['queue']}  {branch['state']}{reason}")
    for child in branch["children"]:
        _show_branch(child, depth + 1)
