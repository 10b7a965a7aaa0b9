"""The commands of `corral` that control a queue: schedules, limits, cancellation, flows. As in commands.py."""

from __future__ import annotations

import argparse
from typing import Any

from msgspec import structs

from engine.cli.commands import each, existing
from engine.cli.printing import counted, duration, show_json, show_table
from engine.errors import InvalidOption, JobNotFound, ScheduleNotFound, WrongState
from engine.flows import FlowNode, FlowProducer
from engine.model.limits import RateLimit
from engine.queue import Queue
from engine.schedules import Schedule
from engine.scripts.cancel import Cancellation


async def schedules(args: argparse.Namespace) -> int:
    """List, run or remove the schedules of a queue."""
    if args.action == "list":
        return await _list_schedules(args)
    if not args.ids:
        raise InvalidOption(
            f"{args.action}: no schedule was named; give the ids that `corral schedules {args.queue}` lists"
        )
    return await each(args, _run_now if args.action == "run" else _remove_schedule)


async def _list_schedules(args: argparse.Namespace) -> int:
    if args.ids:
        raise InvalidOption("list: it shows all schedules; leave out the ids")
    async with await existing(args, args.queue) as queue:
        found = await queue.schedules.list(0, args.limit - 1)
    if args.json:
        show_json([structs.asdict(one) | {"options": one.options.to_wire().decode()} for one in found])
    elif found:
        rows = [[one.id, one.name, _when(one), one.next_run, one.runs, one.overlap] for one in found]
        show_table(["id", "name", "when", "next run", "runs", "overlap"], rows)
    else:
        print(f"no schedules in {args.queue}")
    return 0


def _when(one: Schedule) -> str:
    return f"every {duration(one.every or 0)}" if one.cron is None else f"{one.cron} {one.tz}"


async def _run_now(queue: Queue, id: str) -> str:
    return f"job {(await queue.schedules.run_now(id)).id} added"


async def _remove_schedule(queue: Queue, id: str) -> str:
    if not await queue.schedules.remove(id):
        raise ScheduleNotFound(id, queue.name)
    return "removed"


async def cancel(args: argparse.Namespace) -> int:
    """Cancel jobs: waiting ones fail at once, running ones are stopped by their worker."""

    async def one(queue: Queue, job_id: str) -> str:
        match await queue.cancel(job_id, args.reason):
            case Cancellation.MISSING:
                raise JobNotFound(job_id, queue.name)
            case Cancellation.ENDED:
                raise WrongState(f"job {job_id!r} has ended already; nothing to cancel")
            case Cancellation.ASKED:
                return "is running; its worker is asked to stop it"
            case Cancellation.CANCELLED:
                return "cancelled"

    return await each(args, one)


async def limit(args: argparse.Namespace) -> int:
    """Show or set how many jobs of a queue may start in some time and run at once."""
    async with await existing(args, args.queue) as queue:
        await _set_limits(args, queue)
        rate, concurrency = await queue.rate_limit(), await queue.concurrency()
        waits = await queue.rate_limit_ttl()
    if args.json:
        show_json({"rate": rate, "concurrency": concurrency, "nothingStartsFor": waits})
    else:
        print(
            f"{args.queue}: {_rate(rate)}; {'any number of jobs' if concurrency is None else counted(concurrency, 'job')} at once"
        )
        if waits:
            print(f"{args.queue}: paused by a rate limit for {duration(waits)}")
    return 0


async def _set_limits(args: argparse.Namespace, queue: Queue) -> None:
    if args.smooth and args.rate is None:
        raise InvalidOption("--smooth: it spreads the starts of a rate limit; give --rate MAX/TIME too")
    if args.rate is not None:
        await queue.set_rate_limit(args.rate.max, args.rate.duration, smooth=args.smooth)
    elif args.no_rate:
        await queue.remove_rate_limit()
    if args.concurrency is not None:
        await queue.set_concurrency(args.concurrency)
    elif args.no_concurrency:
        await queue.remove_concurrency()


def _rate(rate: RateLimit | None) -> str:
    if rate is None:
        return "no rate limit"
    return f"{counted(rate.max, 'job')} per {duration(rate.duration)}{', evenly spread' if rate.smooth else ''}"


async def flow(args: argparse.Namespace) -> int:
    """Show a job and its children as a tree."""
    async with await existing(args, args.queue):
        pass
    async with FlowProducer(redis=args.redis, prefix=args.prefix) as flows:
        found = await flows.get(args.queue, args.id, depth=args.depth, max_children=args.children)
        if found is None:
            raise JobNotFound(args.id, args.queue)
        tree = await _branch(found)
    if args.json:
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
