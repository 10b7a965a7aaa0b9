"""The arguments of `corral worker`: options, defaults, checks, and the types that other commands share. Starts nothing."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from msgspec import Struct, structs

from engine.connection import RedisSettings, read_secret
from engine.errors import InvalidInput
from engine.metrics import MAX_METRICS
from engine.model.checks import did_you_mean
from engine.model.clock import read_duration
from engine.model.keys import Keys
from engine.model.limits import RateLimit
from engine.model.options import Keep
from engine.settings import Settings
from engine.worker.process.health import Endpoint

ALLOWED = ("eviction", "old-server")
LEVELS = ("debug", "info", "warning", "error")
_MOST_PROCESSES = 256
_PARENTS_REDIS = "CORRAL_PARENTS_REDIS"
"""The variable by which child processes get the address of --redis."""
PASSWORD_SHOWN = (
    "the password in --redis is visible to every user of this machine (ps): "
    "use REDIS_URL, REDIS_PASSWORD_FILE or --redis-file PATH instead"
)
_SET = ("cancel_grace", "metrics", "dead_letters", "dead_letter_alert")
"""Options that override the settings of the same names."""
_OF_A_WORKER = frozenset({
    "--queue", "--concurrency", "--limit", "--redis", "--redis-file", "--prefix", "--name", "--lock-duration", "--stalled-interval",
    "--max-stalled", "--keep-completed", "--keep-failed", "--cancel-grace", "--metrics", "--dead-letters", "--dead-letter-alert",
    "--allow", "--require-durable",
})  # fmt: skip
"""Options that a Worker has as parameters."""
PROG = "corral worker"

EXAMPLES = """\
examples:
  corral worker shop.jobs
      the processors that shop/jobs.py lists as PROCESSORS = [...], each on a
      queue of its own: NAME-queue for a processor of that name
  corral worker shop.jobs --queue sms-queue=50 --queue email-queue
      the same processors on these queues: 50 jobs at a time on one, the
      default on the other
  corral worker shop.jobs:send_sms --queue sms-queue --processes 2 --health 8080
      one processor, in two processes, with a health check on port 8080
  corral worker shop.jobs:worker
      a Worker(...), with its own queue, address and options
  corral worker shop.jobs --reload
      for development: start again when a file of the project changes
  corral worker
      the bundled processors, or those of a package `processors` of your own

signals:
  SIGTERM, SIGINT  take no more jobs, finish the running jobs, end;
                   the second signal ends at once and gives running jobs back
  SIGUSR1          write the stacks of running jobs and of all threads to stderr

exit codes:
  0 all running jobs were finished
  1 it could not start, jobs were cut off, or Redis did not take jobs back
  2 wrong usage
  3 the server is unfit for jobs, at the start or after a reconnect

`python -m engine.worker` is the same command; in a folder with an engine.py of
your own, Python finds that file instead: use `corral worker` there.
"""


class Options(Struct, frozen=True, kw_only=True):
    """The arguments of one daemon. Times are in milliseconds."""

    target: str
    redis: RedisSettings
    prefix: str
    queues: Mapping[str, int | None]
    """Queue -> jobs at a time, None for the default; empty for one queue per processor."""
    concurrency: int | None
    settings: Settings
    processes: int = 1
    name: str | None = None
    lock_duration: int = 15_000
    stalled_interval: int = 5_000
    max_stalled: int = 1
    grace: int = 30_000
    wait_for_redis: int = 30_000
    keep_completed: Keep | None = None
    keep_failed: Keep | None = None
    limiter: RateLimit | None = None
    health: Endpoint | None = None
    allow: frozenset[str] = frozenset()
    require_durable: bool = False
    log_level: str = "info"
    log_json: bool = False
    reload: bool = False
    burst: bool = False
    for_workers: Sequence[str] = ()
    """The options on the command line that a Worker has itself, such as --queue."""
    redis_is_given: bool = False
    """Whether the command line holds the server's address."""
    supervised: int | None = None
    """In a child process: the descriptor of its connection to the parent."""

    def concurrency_of(self, queue: str) -> int:
        """Jobs at a time: of --queue Q=N, else of --concurrency, else the setting of the queue's job type."""
        given = self.queues.get(queue) or self.concurrency
        return given or self.settings.concurrency_of(queue.removesuffix("-queue"))


def read_arguments(argv: Sequence[str] | None = None, env: Mapping[str, str] = os.environ) -> Options:
    """The options of a command line. Exits with code 2 and one line if something is wrong with them."""
    words = sys.argv[1:] if argv is None else argv
    parser = worker_parser()
    args = parser.parse_args(words)
    try:
        return _options(args, env, [word.partition("=")[0] for word in words])
    except InvalidInput as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _options(args: argparse.Namespace, env: Mapping[str, str], words: Sequence[str]) -> Options:
    _check_together(words)
    redis = asked_redis(args)
    if redis is None and args.supervised is not None and env.get(_PARENTS_REDIS):
        redis = RedisSettings.parse(env[_PARENTS_REDIS])
    if redis is not None:  # the environment's address does not count then, and may be wrong
        env = {name: value for name, value in env.items() if not name.startswith("REDIS_")}
    settings = Settings.load(env=env)
    given = {name: getattr(args, name) for name in _SET}
    settings = structs.replace(settings, **{name: value for name, value in given.items() if value is not None})
    prefix = settings.prefix if args.prefix is None else args.prefix
    queues = dict(args.queue or [])
    for queue in queues or ["any"]:
        Keys(queue, prefix)
    return Options(
        target=args.target,
        redis=redis or settings.redis,
        redis_is_given=args.redis is not None,
        prefix=prefix,
        queues=queues,
        concurrency=args.concurrency,
        settings=settings,
        processes=args.processes,
        name=args.name,
        lock_duration=args.lock_duration,
        stalled_interval=args.stalled_interval,
        max_stalled=args.max_stalled,
        grace=args.grace,
        wait_for_redis=args.wait_for_redis,
        keep_completed=args.keep_completed,
        keep_failed=args.keep_failed,
        limiter=args.limit,
        health=args.health,
        allow=frozenset(args.allow or ()),
        require_durable=args.require_durable,
        log_level=args.log_level,
        log_json=args.log_json,
        reload=args.reload,
        burst=args.burst,
        for_workers=[word for word in words if word in _OF_A_WORKER],
        supervised=args.supervised,
    )


def _check_together(words: Sequence[str]) -> None:
    for option, others in (("--reload", ("--processes", "--burst", "--health")), ("--burst", ("--processes",))):
        wrong = [other for other in others if other in words]
        if option in words and wrong:
            raise InvalidInput(f"{option}: it is for one process alone; leave out {wrong[0]}")


class OneLineParser(argparse.ArgumentParser):
    """Reports wrong usage in one line, with a suggestion for a near miss."""

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"(?:unrecognized arguments: |invalid choice: ')(-*[a-z][\w-]*)", message)
        hint = did_you_mean(wrong[1], _words(self)) if wrong else ""
        self.exit(2, f"{self.prog}: {message}{hint or '; see --help'}\n")


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Every option, choice and command of a parser and of its commands."""
    found: list[str] = []
    for action in parser._actions:
        found += [*action.option_strings, *map(str, action.choices or ())]
        if isinstance(action, argparse._SubParsersAction):
            found += [word for inner in action.choices.values() for word in _words(inner)]
    return found


class Help(argparse.RawDescriptionHelpFormatter):
    """For 80 columns, with options and commands beside their descriptions."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)
        self._action_max_length = (
            16  # argparse forgets the indent of commands, and would break the line after the longest
        )


def worker_parser() -> argparse.ArgumentParser:
    """The parser of `corral worker`."""
    parser = OneLineParser(
        prog=PROG,
        usage=f"{PROG} [MODULE[:NAME]] [options]",
        description=f"Run the jobs of one or more queues until a signal.\n\n{TIME}",
        epilog=EXAMPLES,
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.add_argument(
        "target",
        metavar="MODULE[:NAME]",
        nargs="?",
        default="processors",
        help="what runs the jobs: a processor, a function, a Worker, a list of these, or a function that returns them "
        "(default: PROCESSORS of the module `processors`)",
    )
    _add_queues(parser.add_argument_group("queues"))
    add_server_options(parser)
    _add_start(parser.add_argument_group("start and stop"))
    _add_jobs(parser.add_argument_group("jobs"))
    _add_development(parser.add_argument_group("development and one-off runs"))
    _add_operation(parser.add_argument_group("operation"))
    parser.add_argument("--supervised", type=int, help=argparse.SUPPRESS)
    return parser


def _add_queues(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--queue",
        metavar="Q[=N]",
        action="append",
        type=_queue,
        help="a queue to work on, with N jobs at a time; may be repeated (default: NAME-queue for each processor)",
    )
    group.add_argument(
        "--concurrency",
        metavar="N",
        type=number(1, 100_000),
        help="jobs at a time on each queue (default: JOB_QUEUE_CONCURRENCY_SMS and so on by job type, "
        "JOB_QUEUE_MAX_CONCURRENCY, or 5)",
    )
    group.add_argument(
        "--limit",
        metavar="MAX/TIME",
        type=rate,
        help="how many jobs of a queue may start in some time, such as 100/1m, on all workers with this limit",
    )
    group.add_argument(
        "--processes", metavar="N", type=number(1, _MOST_PROCESSES), default=1, help="worker processes (default: 1)"
    )


def _add_start(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--wait-for-redis",
        metavar="TIME",
        type=duration(0, 86_400_000),
        default=30_000,
        help="how long to wait at the start for a Redis that is not there yet; 0 does not wait (default: 30s)",
    )
    group.add_argument(
        "--grace",
        metavar="TIME",
        type=duration(0, 86_400_000),
        default=30_000,
        help="how long running jobs may take to end at a stop (default: 30s)",
    )
    group.add_argument(
        "--allow", choices=ALLOWED, action="append", help="start although the server evicts keys or is too old"
    )
    group.add_argument(
        "--require-durable",
        action="store_true",
        help="refuse a server without appendonly yes and appendfsync everysec or always",
    )


def _add_jobs(group: argparse._ArgumentGroup) -> None:
    span = duration(100, 3_600_000)
    for state, setting in (("completed", "SUCCESS"), ("failed", "FAILURE")):
        group.add_argument(
            f"--keep-{state}",
            metavar="KEEP",
            type=keep,
            help=f"{state} jobs that are kept, where a job itself does not say: a count, an age, or both: 1000, 7d, "
            f"1000,7d; `all` keeps all (default: JOB_QUEUE_REMOVE_ON_{setting}, or all)",
        )
    group.add_argument(
        "--lock-duration",
        metavar="TIME",
        type=span,
        default=15_000,
        help="how long a job stays locked without a renewal (default: 15s)",
    )
    group.add_argument(
        "--stalled-interval",
        metavar="TIME",
        type=span,
        default=5_000,
        help="longest time between two checks for stalled jobs, those of dead workers (default: 5s)",
    )
    group.add_argument(
        "--max-stalled",
        metavar="N",
        type=number(0, 1_000_000),
        default=1,
        help="how often a stalled job is run again before it fails (default: 1)",
    )
    group.add_argument(
        "--cancel-grace",
        metavar="TIME",
        type=duration(10, 3_600_000),
        help="how long a job may take to end once cancelled or timed out (default: JOB_QUEUE_CANCEL_GRACE, or 5s)",
    )
    group.add_argument(
        "--dead-letters",
        metavar="N",
        type=number(0, 2**53),
        help="dead letters that are kept, 0 to write none (default: JOB_QUEUE_DEAD_LETTERS, or 10000 for 90 days)",
    )
    group.add_argument(
        "--dead-letter-alert",
        metavar="N",
        type=number(0, 2**53),
        help="log an error when a queue has more dead letters (default: JOB_QUEUE_DEAD_LETTER_ALERT, or never)",
    )


def _add_development(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--reload", action="store_true", help="start again when a Python file of the current folder changes"
    )
    group.add_argument(
        "--burst",
        action="store_true",
        help="end, with 0, once no job waits in the queues or runs here; delayed jobs, retries that wait for their "
        "backoff among them, and paused queues are left as they are",
    )


def _add_operation(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--name", metavar="NAME", help="the worker's name in lists of workers (default: host and pid)")
    group.add_argument(
        "--health",
        metavar="[HOST:]PORT",
        type=_endpoint,
        help="answer HTTP there: 200 while the worker makes progress, else 503",
    )
    group.add_argument(
        "--metrics",
        metavar="MINUTES",
        type=number(1, MAX_METRICS),
        help="for how many minutes the counts of finished jobs are kept (default: JOB_QUEUE_METRICS, or no counts)",
    )
    group.add_argument("--log-level", choices=LEVELS, default="info", help="(default: info)")
    group.add_argument("--log-json", action="store_true", help="log one JSON object a line")


def for_children(argv: Sequence[str], options: Options) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of child processes. The address of --redis goes into the environment, which only
    this user can read; arguments are shown to every user of the machine.
    """
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--redis":
            next(words)
        elif word != "--reload" and not word.startswith("--redis="):
            kept.append(word)
    return kept, dict(os.environ) | ({_PARENTS_REDIS: options.redis.url} if options.redis_is_given else {})


def asked_redis(args: argparse.Namespace) -> RedisSettings | None:
    """The server of --redis or --redis-file; None without either. Raises InvalidOption."""
    if args.redis_file is not None:
        return RedisSettings.parse(read_secret("--redis-file", args.redis_file).strip())
    return None if args.redis is None else RedisSettings.parse(args.redis)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """--redis, --redis-file and --prefix."""
    group = parser.add_argument_group("server")
    place = group.add_mutually_exclusive_group()
    place.add_argument(
        "--redis",
        metavar="URL",
        help="redis://host:6379/0, rediss:// for TLS, unix:///path/redis.sock, or embedded:[DIR] for a server of your "
        "own; put a password into --redis-file or REDIS_URL, since arguments are visible to every user of the machine "
        "(default: REDIS_URL, REDIS_HOST and so on, or redis://localhost:6379/0)",
    )
    place.add_argument("--redis-file", metavar="PATH", help="a file with the URL in it")
    group.add_argument("--prefix", metavar="P", help="first part of all keys (default: JOB_QUEUE_PREFIX, or bull)")


def number(least: int, most: int) -> Callable[[str], int]:
    """A whole number within limits, for argparse."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


TIME = "TIME is 500ms, 30s, 2m, 1h or 7d; a plain number is milliseconds."


def duration(least: int, most: int) -> Callable[[str], int]:
    """Milliseconds within limits from text such as 30s, for argparse."""

    def read(text: str) -> int:
        try:
            ms = read_duration("time", text)
        except InvalidInput as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix("time: ")) from None
        if not least <= ms <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a time from {least:,} to {most:,} ms")
        return ms

    return read


def rate(text: str) -> RateLimit:
    """MAX/TIME, for argparse: so many starts in some time."""
    most, _, time = text.partition("/")
    if not (most.isascii() and most.isdecimal() and time):
        raise argparse.ArgumentTypeError(f"{text!r} is not MAX/TIME, such as 100/1m for 100 a minute")
    try:
        return RateLimit.check("limit", int(most), read_duration("limit", time))
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def keep(text: str) -> Keep:
    """Which finished jobs are kept, for argparse: a count, an age with its unit, both with a comma between, or `all`."""
    count, age = None, None
    for part in [] if text == "all" else text.split(","):
        try:
            if part.isascii() and part.isdecimal():
                count, twice = int(part), count is not None
            else:
                age, twice = read_duration("age", part), age is not None
        except InvalidInput:
            twice = True
        if twice:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a count, an age or both, such as 1000, 7d or 1000,7d; `all` keeps all"
            )
    return Keep(count=count, age=age)


def _queue(text: str) -> tuple[str, int | None]:
    name, equals, count = text.rpartition("=")
    if not equals:
        return text, None
    return name, number(1, 100_000)(count)


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port or HOST:PORT, such as 8080 or 0.0.0.0:8080")
    return Endpoint(host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port))
