"""The command line, `corral COMMAND` or `python -m engine COMMAND`: its words and exit codes.

What the commands do is in commands.py.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from engine.cli import commands, control
from engine.errors import CorralError, InvalidInput
from engine.queue import State
from engine.settings import Settings
from engine.worker.process.arguments import (
    PASSWORD_SHOWN,
    TIME,
    OneLineParser,
    add_server_options,
    asked_redis,
    duration,
    number,
    rate,
)

Command = Callable[[argparse.Namespace], Coroutine[None, None, int]]

_FOREVER = 10 * 366 * 86_400_000
_STATES = get_args(State)
_CLEANED = ("waiting", "paused", "active", "prioritized", "delayed", "completed", "failed")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0 well, 1 not done, 2 wrong usage."""
    parser = _parser()
    said = parser.parse_args(argv)
    run: Command = said.run
    try:
        _complete(said)
        return asyncio.run(run(said))
    except InvalidInput as error:
        return _say(parser.prog, error, 2)
    except (CorralError, TimeoutError) as error:
        return _say(parser.prog, error, 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter complains when it flushes at the end
        return 1
    except KeyboardInterrupt:
        return 130


def _say(prog: str, error: object, code: int) -> int:
    print(f"{prog}: {error}", file=sys.stderr)
    return code


def _complete(said: argparse.Namespace) -> None:
    """Put the settings where the command line is silent."""
    if not hasattr(said, "redis"):
        return
    asked = asked_redis(said)
    if said.redis and asked is not None and asked.password is not None:
        print(f"warning: {PASSWORD_SHOWN}", file=sys.stderr)
    settings = Settings.load(env={k: v for k, v in os.environ.items() if asked is None or not k.startswith("REDIS_")})
    said.redis = asked or settings.redis
    said.prefix = settings.prefix if said.prefix is None else said.prefix


# --- the words --------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    prog = "python -m engine" if Path(sys.argv[0]).name == "__main__.py" else "corral"
    parser = OneLineParser(prog=prog, description="Look after queues of jobs.", allow_abbrev=False)
    known = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)

    def command(name: str, run: Command, example: str, *, server: bool = True) -> argparse.ArgumentParser:
        words = (run.__doc__ or "").strip()
        made = known.add_parser(
            name,
            help=words,
            description=words,
            epilog=f"example:\n  {prog} {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        made.set_defaults(run=run)
        if server:
            add_server_options(made)
        return made

    _add_asking(command)
    _add_telling(command)
    _add_migrate(command)
    _add_steering(command)
    return parser


def _add_asking(command: Callable[..., argparse.ArgumentParser]) -> None:
    stats = command("stats", commands.stats, "stats --redis redis://localhost:6379/0")
    stats.add_argument("queues", metavar="QUEUE", nargs="*", help="(default: all)")
    jobs = command("jobs", commands.jobs, "jobs sms-queue failed --newest --count 5")
    jobs.add_argument("queue", metavar="QUEUE")
    jobs.add_argument("state", metavar="STATE", nargs="?", default="waiting", choices=_STATES, help=", ".join(_STATES))
    jobs.add_argument("--start", metavar="N", type=number(0, 2**31), default=0, help="number of the first (default: 0)")
    jobs.add_argument("--count", metavar="N", type=number(1, 10_000), default=20, help="(default: 20)")
    jobs.add_argument("--newest", action="store_true", help="the newest first")
    job = command("job", commands.job, "job sms-queue 17")
    job.add_argument("queue", metavar="QUEUE")
    job.add_argument("id", metavar="ID")
    for made in (stats, jobs, job):
        made.add_argument("--json", action="store_true", help="JSON, for programs")
    command("doctor", commands.doctor, "doctor --redis rediss://jobs.example:6379/0")


def _add_migrate(command: Callable[..., argparse.ArgumentParser]) -> None:
    made = command("migrate", commands.migrate, "migrate check --queue sms-queue --sample 1000")
    add = made.add_argument
    add("action", metavar="check", choices=("check",), help="exit code: 0 no difference, 1 some, 2 could not look")
    add("--queue", metavar="QUEUE", action="append", help="only this one; may be given again (default: all)")
    add("--sample", metavar="N", type=number(1, 2**31), help="look at N jobs of each state at most (default: all)")
    add("--examples", metavar="N", type=number(0, 1000), default=3, help="ids shown of each finding (default: 3)")
    add("--json", action="store_true", help="JSON, for programs")


def _add_telling(command: Callable[..., argparse.ArgumentParser]) -> None:
    data = '{"subAccountId": "1", "phoneNumbers": ["+15550100"], "message": "Hi"}'
    add = command("add", commands.add, f"add sms-queue sms '{data}' --wait 30s")
    add.add_argument("queue", metavar="QUEUE")
    add.add_argument("name", metavar="NAME", help="the word that chooses the processor")
    add.add_argument("data", metavar="DATA", nargs="?", default="{}", help="JSON, @FILE, or - for standard input")
    add.add_argument(
        "--delay", metavar="TIME", type=duration(0, _FOREVER), help=f"start no earlier than after it; {TIME}"
    )
    add.add_argument("--attempts", metavar="N", type=number(1, 1_000_000), help="runs in all (default: 1)")
    add.add_argument("--backoff", metavar="TIME", type=duration(0, _FOREVER), help="time between two attempts")
    add.add_argument("--priority", metavar="N", type=number(0, 2**21), help="0 goes first, then 1, 2, ... (default: 0)")
    add.add_argument("--job-id", metavar="ID", help="an id of your own: a second job with it is not added")
    add.add_argument("--lifo", action="store_true", help="before those that wait")
    add.add_argument("--wait", metavar="TIME", type=duration(0, 86_400_000), help="wait for the result and print it")
    for name, run in (("retry", commands.retry), ("remove", commands.remove)):
        made = command(name, run, f"{name} sms-queue 17 18")
        made.add_argument("queue", metavar="QUEUE")
        made.add_argument("ids", metavar="ID", nargs="+")
        if run is commands.retry:
            made.add_argument("--reset-attempts", action="store_true", help="as if it had never been run")
    for name, run in (("pause", commands.pause), ("resume", commands.resume)):
        command(name, run, f"{name} sms-queue email-queue").add_argument("queues", metavar="QUEUE", nargs="+")
    clean = command("clean", commands.clean, "clean sms-queue completed --older-than 7d")
    clean.add_argument("queue", metavar="QUEUE")
    clean.add_argument("state", metavar="STATE", choices=_CLEANED, help=", ".join(_CLEANED))
    clean.add_argument(
        "--older-than", metavar="TIME", type=duration(0, _FOREVER), default=0, help=f"{TIME} (default: 0)"
    )
    clean.add_argument("--limit", metavar="N", type=number(0, 2**31), default=1000, help="0 for all (default: 1000)")
    _add_dead_letters(command)
    demo = command("demo", commands.demo, "demo --dir /tmp/corral-demo", server=False)
    demo.add_argument("--dir", metavar="DIR", type=Path, help="folder for all that it makes (default: a new one)")
    demo.add_argument("--plain", action="store_true", help="plain lines, also on a terminal")


def _add_steering(command: Callable[..., argparse.ArgumentParser]) -> None:
    schedules = command("schedules", control.schedules, "schedules sms-queue run daily-report")
    schedules.add_argument("queue", metavar="QUEUE")
    actions = ("list", "run", "remove")
    words = f"{', '.join(actions)} (default: list)"
    schedules.add_argument("action", metavar="ACTION", nargs="?", default="list", choices=actions, help=words)
    schedules.add_argument("ids", metavar="ID", nargs="*", help="of the schedules, for run and remove")
    schedules.add_argument("--limit", metavar="N", type=number(1, 10_000), default=100, help="for list (default: 100)")
    cancel = command("cancel", control.cancel, 'cancel sms-queue 17 --reason "wrong number"')
    cancel.add_argument("queue", metavar="QUEUE")
    cancel.add_argument("ids", metavar="ID", nargs="+")
    cancel.add_argument("--reason", metavar="TEXT", help="for who waits for the job")
    _add_limit(command("limit", control.limit, "limit sms-queue --rate 100/60000 --concurrency 10"))
    flow = command("flow", control.flow, "flow report-queue 17")
    flow.add_argument("queue", metavar="QUEUE")
    flow.add_argument("id", metavar="ID")
    flow.add_argument("--depth", metavar="N", type=number(1, 1000), default=10, help="levels shown (default: 10)")
    flow.add_argument("--children", metavar="N", type=number(1, 1000), default=20, help="of each job (default: 20)")
    for made in (schedules, flow):
        made.add_argument("--json", action="store_true", help="JSON, for programs")


def _add_limit(made: argparse.ArgumentParser) -> None:
    made.add_argument("queue", metavar="QUEUE")
    rates, counts = made.add_mutually_exclusive_group(), made.add_mutually_exclusive_group()
    rates.add_argument("--rate", metavar="MAX/TIME", type=rate, help="how many jobs may start in some time")
    rates.add_argument("--no-rate", action="store_true", help="as fast as they can")
    made.add_argument("--smooth", action="store_true", help="spread the rate evenly")
    counts.add_argument("--concurrency", metavar="N", type=number(1, 2**31), help="how many may run at once")
    counts.add_argument("--no-concurrency", action="store_true", help="as many as the workers have slots")
    made.add_argument("--json", action="store_true", help="JSON, for programs")


def _add_dead_letters(command: Callable[..., argparse.ArgumentParser]) -> None:
    actions = ("list", "groups", "replay", "purge", "adopt")
    made = command(
        "dead-letters", commands.dead_letters, "dead-letters sms-queue replay --error ConnectionError --rate 50"
    )
    add = made.add_argument
    add("queue", metavar="QUEUE")
    add(
        "action",
        metavar="ACTION",
        nargs="?",
        default="list",
        choices=actions,
        help=f"{', '.join(actions)} (default: list)",
    )
    add("id", metavar="ID", nargs="?", help="of one job, for list, replay and purge")
    add("--type", metavar="NAME", help="of jobs of that name")
    add("--error", metavar="CLASS", help="of that class of error")
    add("--tenant", metavar="ID", help="of that tenant (subAccountId)")
    add("--text", metavar="TEXT", help="whose reason holds it")
    add(
        "--since", metavar="TIME", type=_time, help="failed then or later, such as 2026-11-24 or 2026-11-24T10:30 (UTC)"
    )
    add("--until", metavar="TIME", type=_time, help="failed earlier than that")
    add("--replayed", action="store_true", help="those that were replayed; without it, those that were not")
    add("--by", choices=("type", "error", "tenant", "day"), default="error", help="for groups (default: error)")
    add("--limit", metavar="N", type=number(1, 1000), default=100, help="for list and groups (default: 100)")
    add("--rate", metavar="N", type=number(1, 1_000_000), help="for replay: jobs a second (default: no limit)")
    add("--dry-run", action="store_true", help="for replay: change nothing, count")
    add("--all", action="store_true", help="for replay and purge: all open letters, where no filter is given")
    add("--json", action="store_true", help="JSON, for programs")


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-24T10:30") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
