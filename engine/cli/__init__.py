"""`corral COMMAND`, also as `python -m engine COMMAND`: parses the arguments, runs the command, and maps errors to exit codes.

The commands are in commands.py and control.py; `corral worker` is in engine/worker/process/.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from engine.cli import commands, control
from engine.errors import CorralError, InvalidInput
from engine.model import wire
from engine.queue import State
from engine.settings import Settings
from engine.worker.process.arguments import (
    PASSWORD_SHOWN,
    TIME,
    Help,
    OneLineParser,
    add_server_options,
    asked_redis,
    duration,
    number,
    rate,
)

Command = Callable[[argparse.Namespace], Coroutine[None, None, int]]

AddCommand = Callable[..., argparse.ArgumentParser]

_PROG = "corral"
_JSON = "print JSON"
_FOREVER = 10 * 366 * 86_400_000
_STATES = get_args(State)
_CLEANED = ("waiting", "paused", "active", "prioritized", "delayed", "completed", "failed")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0 done, 1 not done, 2 wrong usage."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["worker"]:
        from engine.worker.process import daemon  # loads uvloop and all that runs jobs, which no other command needs

        return daemon.main(words[1:])
    args = _parser().parse_args(words)
    run: Command = args.run
    try:
        _complete(args)
        return asyncio.run(run(args))
    except InvalidInput as error:
        return _fail(error, 2)
    except (CorralError, TimeoutError) as error:
        return _fail(error, 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter complains when it flushes at the end
        return 1
    except KeyboardInterrupt:
        return 130


def _fail(error: object, code: int) -> int:
    print(f"{_PROG}: {error}", file=sys.stderr)
    return code


def _complete(args: argparse.Namespace) -> None:
    """Fill in `redis` and `prefix` from the settings where the command line does not have them."""
    if not hasattr(args, "redis"):
        return
    asked = asked_redis(args)
    if args.redis and asked is not None and asked.password is not None:
        print(f"warning: {PASSWORD_SHOWN}", file=sys.stderr)
    settings = Settings.load(env={k: v for k, v in os.environ.items() if asked is None or not k.startswith("REDIS_")})
    args.redis = asked or settings.redis
    args.prefix = settings.prefix if args.prefix is None else args.prefix


# --- the arguments ----------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=_PROG,
        description="Run, inspect and operate queues of jobs in Redis.",
        epilog="`corral COMMAND --help` shows the options of a command, with an example.",
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"corral {wire.VERSION}", help="print the version")
    known = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)

    def command(name: str, run: Command, example: str, *, server: bool = True) -> argparse.ArgumentParser:
        summary, _, details = (run.__doc__ or "").strip().partition("\n\n")
        summary = " ".join(summary.split())
        made = known.add_parser(
            name,
            help=summary,
            description="\n\n".join([summary, *([inspect.cleandoc(details)] if details else [])]),
            epilog=f"example:\n  {_PROG} {example}",
            formatter_class=Help,
            allow_abbrev=False,
        )
        made.set_defaults(run=run)
        if server:
            add_server_options(made)
        return made

    known.add_parser(
        "worker", help="Run the jobs of queues until a signal: the daemon.", add_help=False
    )  # `main` has its arguments
    _add_demo(command)
    _add_asking(command)
    _add_telling(command)
    _add_steering(command)
    _add_dead_letters(command)
    _add_checks(command)
    for made in known.choices.values():
        if "TIME" in made.format_usage():
            made.description = f"{made.description}\n\n{TIME}"
    return parser


def _add_demo(command: AddCommand) -> None:
    demo = command("demo", commands.demo, "demo --dir /tmp/corral-demo", server=False)
    demo.add_argument("--dir", metavar="DIR", type=Path, help="folder for all files of the demo (default: a new one)")
    demo.add_argument("--plain", action="store_true", help="plain lines instead of a live table")


def _add_asking(command: AddCommand) -> None:
    stats = command("stats", commands.stats, "stats sms-queue email-queue")
    stats.add_argument("queues", metavar="QUEUE", nargs="*", help="(default: all queues of the prefix)")
    jobs = command("jobs", commands.jobs, "jobs sms-queue failed --newest --count 5")
    jobs.add_argument("queue", metavar="QUEUE")
    jobs.add_argument(
        "state",
        metavar="STATE",
        nargs="?",
        default="waiting",
        choices=_STATES,
        help=f"{', '.join(_STATES)} (default: waiting)",
    )
    jobs.add_argument("--start", metavar="N", type=number(0, 2**31), default=0, help="skip N jobs (default: 0)")
    jobs.add_argument("--count", metavar="N", type=number(1, 10_000), default=20, help="jobs shown (default: 20)")
    jobs.add_argument("--newest", action="store_true", help="newest first")
    job = command("job", commands.job, "job sms-queue 17")
    job.add_argument("queue", metavar="QUEUE")
    job.add_argument("id", metavar="ID")
    for made in (stats, jobs, job):
        made.add_argument("--json", action="store_true", help=_JSON)


def _add_checks(command: AddCommand) -> None:
    command("doctor", commands.doctor, "doctor --redis rediss://jobs.example:6379/0")
    made = command("migrate", commands.migrate, "migrate check --queue sms-queue --sample 1000")
    add = made.add_argument
    add("action", metavar="check", choices=("check",), help="the one action: report what would differ")
    add("--queue", metavar="QUEUE", action="append", help="check this queue only; may be repeated (default: all)")
    add("--sample", metavar="N", type=number(1, 2**31), help="check at most N jobs of each state (default: all)")
    add("--examples", metavar="N", type=number(0, 1000), default=3, help="ids shown for each finding (default: 3)")
    add("--json", action="store_true", help=_JSON)


def _add_telling(command: AddCommand) -> None:
    data = '{"firstName": "Ada"}'
    add = command("add", commands.add, f"add greetings greet '{data}' --delay 10s --wait 1m")
    add.add_argument("queue", metavar="QUEUE")
    add.add_argument("name", metavar="NAME", help="the job's name, which chooses its processor")
    add.add_argument(
        "data", metavar="DATA", nargs="?", default="{}", help="JSON, @FILE, or - for standard input (default: {})"
    )
    span = duration(0, _FOREVER)
    add.add_argument("--delay", metavar="TIME", type=span, help="start no earlier than after this time")
    add.add_argument("--attempts", metavar="N", type=number(1, 1_000_000), help="runs in all (default: 1)")
    add.add_argument("--backoff", metavar="TIME", type=span, help="time between a failed attempt and the next")
    add.add_argument(
        "--priority",
        metavar="N",
        type=number(0, 2**21),
        help="0 goes first, then 1, 2, ...: the lower the number, the sooner, as in BullMQ (default: 0)",
    )
    add.add_argument("--job-id", metavar="ID", help="an id of your own; a second job with this id is not added")
    add.add_argument("--lifo", action="store_true", help="put the job before those that wait")
    add.add_argument("--wait", metavar="TIME", type=duration(0, 86_400_000), help="wait for the result and print it")
    for name, run in (("retry", commands.retry), ("remove", commands.remove)):
        made = command(name, run, f"{name} sms-queue 17 18")
        made.add_argument("queue", metavar="QUEUE")
        made.add_argument("ids", metavar="ID", nargs="+")
        if run is commands.retry:
            made.add_argument("--reset-attempts", action="store_true", help="count attempts from 0 again")
    cancel = command("cancel", control.cancel, 'cancel sms-queue 17 --reason "wrong number"')
    cancel.add_argument("queue", metavar="QUEUE")
    cancel.add_argument("ids", metavar="ID", nargs="+")
    cancel.add_argument("--reason", metavar="TEXT", help="stored with the job, for whoever waits for its result")


def _add_steering(command: AddCommand) -> None:
    for name, run in (("pause", commands.pause), ("resume", commands.resume)):
        command(name, run, f"{name} sms-queue email-queue").add_argument("queues", metavar="QUEUE", nargs="+")
    _add_limit(command("limit", control.limit, "limit sms-queue --rate 100/1m --concurrency 10"))
    schedules = command("schedules", control.schedules, "schedules sms-queue run daily-report")
    schedules.add_argument("queue", metavar="QUEUE")
    actions = ("list", "run", "remove")
    words = f"{', '.join(actions)} (default: list)"
    schedules.add_argument("action", metavar="ACTION", nargs="?", default="list", choices=actions, help=words)
    schedules.add_argument("ids", metavar="ID", nargs="*", help="ids of schedules, for run and remove")
    schedules.add_argument("--limit", metavar="N", type=number(1, 10_000), default=100, help="for list (default: 100)")
    flow = command("flow", control.flow, "flow report-queue 17")
    flow.add_argument("queue", metavar="QUEUE")
    flow.add_argument("id", metavar="ID")
    flow.add_argument("--depth", metavar="N", type=number(1, 1000), default=10, help="levels shown (default: 10)")
    flow.add_argument(
        "--children", metavar="N", type=number(1, 1000), default=20, help="children shown of each job (default: 20)"
    )
    for made in (schedules, flow):
        made.add_argument("--json", action="store_true", help=_JSON)
    clean = command("clean", commands.clean, "clean sms-queue completed --older-than 7d")
    clean.add_argument("queue", metavar="QUEUE")
    clean.add_argument("state", metavar="STATE", choices=_CLEANED, help=", ".join(_CLEANED))
    clean.add_argument(
        "--older-than",
        metavar="TIME",
        type=duration(0, _FOREVER),
        default=0,
        help="jobs that finished, or else were added, at least this long ago (default: 0)",
    )
    clean.add_argument("--limit", metavar="N", type=number(0, 2**31), default=1000, help="0 for all (default: 1000)")


def _add_limit(made: argparse.ArgumentParser) -> None:
    made.add_argument("queue", metavar="QUEUE")
    rates, counts = made.add_mutually_exclusive_group(), made.add_mutually_exclusive_group()
    rates.add_argument("--rate", metavar="MAX/TIME", type=rate, help="how many jobs may start in some time")
    rates.add_argument("--no-rate", action="store_true", help="remove the rate limit")
    made.add_argument("--smooth", action="store_true", help="spread the starts evenly over the time")
    counts.add_argument("--concurrency", metavar="N", type=number(1, 2**31), help="how many jobs may run at once")
    counts.add_argument("--no-concurrency", action="store_true", help="remove the limit on jobs at once")
    made.add_argument("--json", action="store_true", help=_JSON)


def _add_dead_letters(command: AddCommand) -> None:
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
    add("id", metavar="ID", nargs="?", help="one job, for list, replay and purge")
    add("--type", metavar="NAME", help="jobs of this name")
    add("--error", metavar="CLASS", help="failed with this class of error")
    add("--tenant", metavar="ID", help="of this tenant (subAccountId)")
    add("--text", metavar="TEXT", help="with this text in the reason")
    add("--since", metavar="DATE", type=_date, help="failed at this UTC time or later: 2026-11-24, 2026-11-24T10:30")
    add("--until", metavar="DATE", type=_date, help="failed before this time")
    add("--replayed", action="store_true", help="dead letters that were replayed; others without this option")
    add("--by", choices=("type", "error", "tenant", "day"), default="error", help="for groups (default: error)")
    add("--limit", metavar="N", type=number(1, 1000), default=100, help="for list and groups (default: 100)")
    add("--rate", metavar="N", type=number(1, 1_000_000), help="for replay: jobs a second (default: no limit)")
    add("--dry-run", action="store_true", help="for replay: only count them")
    add("--all", action="store_true", help="for replay and purge without a filter: all that were not replayed")
    add("--json", action="store_true", help=_JSON)


def _date(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2026-11-24 or 2026-11-24T10:30") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
