"""The worker's command line: its options, their defaults, and what is wrong with them. Starts nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from engine.connection import RedisSettings, read_secret
from engine.errors import InvalidInput
from engine.metrics import MAX_METRICS
from engine.model.clock import read_duration
from engine.model.keys import Keys
from engine.model.limits import RateLimit
from engine.model.payloads import JOB_TYPES
from engine.settings import Settings
from engine.worker.process.health import Endpoint

ALLOWED = ("eviction", "old-server")
LEVELS = ("debug", "info", "warning", "error")
_MOST_PROCESSES = 256
_PARENTS_REDIS = "CORRAL_PARENTS_REDIS"
"""Where a parent leaves the address of its `--redis` for its children."""
PASSWORD_SHOWN = (
    "--redis shows its password to every user of this machine (ps): "
    "use REDIS_URL, REDIS_PASSWORD_FILE or --redis-file PATH instead"
)
_SET = ("cancel_grace", "metrics", "dead_letters", "dead_letter_alert")
"""Options that come before the settings of the same names."""

EXAMPLES = """\
examples:
  python -m engine.worker
      the processors of the package `processors`, each on its own queue (email-queue, sms-queue, ...)
  python -m engine.worker shop.jobs --queue sms-queue=50 --queue email-queue --redis-file /run/secrets/redis-url
      those that shop/jobs.py lists as PROCESSORS = [...]; 50 jobs at a time on one queue, the default on the other
  python -m engine.worker shop.jobs:send_sms --queue sms-queue --processes 2 --health 8080
      one processor, in two processes, and http://127.0.0.1:8080 that says whether they get on

signals:
  SIGTERM, SIGINT  take no more jobs, finish those that run, end; the second one does not wait for them
  SIGUSR1          write the stacks of the running jobs and of all threads to stderr

exit codes: 0 all running jobs were finished, 1 it could not start, jobs were cut off or Redis did not take them back,
  2 wrong usage, 3 the server is not fit for jobs (at the start, or when Redis has come back with other settings)
"""


class Options(Struct, frozen=True, kw_only=True):
    """What one worker process is called with. Times are in milliseconds."""

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
    limiter: RateLimit | None = None
    health: Endpoint | None = None
    allow: frozenset[str] = frozenset()
    require_durable: bool = False
    log_level: str = "info"
    log_json: bool = False
    redis_is_given: bool = False
    """Whether the command line holds the server's address."""
    supervised: int | None = None
    """The descriptor of the line to the parent, in a child of `--processes`."""

    def concurrency_of(self, queue: str) -> int:
        """Jobs at a time: said for the queue, said for all, or set for the queue's job type."""
        said = self.queues.get(queue) or self.concurrency
        return said or self.settings.concurrency_of(queue.removesuffix("-queue"))


def read_arguments(argv: Sequence[str] | None = None, env: Mapping[str, str] = os.environ) -> Options:
    """The options of a command line. Exits with 2 and one line about what is wrong."""
    parser = _parser()
    said = parser.parse_args(argv)
    try:
        return _options(said, env)
    except InvalidInput as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _options(said: argparse.Namespace, env: Mapping[str, str]) -> Options:
    redis = asked_redis(said)
    if redis is None and said.supervised is not None and env.get(_PARENTS_REDIS):
        redis = RedisSettings.parse(env[_PARENTS_REDIS])
    if redis is not None:  # then the environment's address is not looked at, right or wrong
        env = {name: value for name, value in env.items() if not name.startswith("REDIS_")}
    settings = Settings.load(env=env)
    asked = {name: getattr(said, name) for name in _SET}
    settings = structs.replace(settings, **{name: value for name, value in asked.items() if value is not None})
    prefix = settings.prefix if said.prefix is None else said.prefix
    queues = dict(said.queue or [])
    for queue in queues or ["any"]:
        Keys(queue, prefix)
    return Options(
        target=said.target,
        redis=redis or settings.redis,
        redis_is_given=said.redis is not None,
        prefix=prefix,
        queues=queues,
        concurrency=said.concurrency,
        settings=settings,
        processes=said.processes,
        name=said.name,
        lock_duration=said.lock_duration,
        stalled_interval=said.stalled_interval,
        max_stalled=said.max_stalled,
        grace=said.grace,
        wait_for_redis=said.wait_for_redis,
        limiter=said.limit,
        health=said.health,
        allow=frozenset(said.allow or ()),
        require_durable=said.require_durable,
        log_level=said.log_level,
        log_json=said.log_json,
        supervised=said.supervised,
    )


class OneLineParser(argparse.ArgumentParser):
    """Errors are one line, without the usage above it."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m engine.worker",
        description="Run the jobs of one or more queues.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "target",
        metavar="MODULE[:NAME]",
        nargs="?",
        default="processors",
        help="where the processors are: a list, one of them, or a function that returns them "
        "(default: processors, and NAME is PROCESSORS)",
    )
    add(
        "--queue",
        metavar="Q[=N]",
        action="append",
        type=_queue,
        help="a queue to work on, N jobs at a time; may be repeated (default: NAME-queue for each processor's NAME)",
    )
    types = f"JOB_QUEUE_CONCURRENCY_{next(iter(JOB_TYPES)).upper()} and so on"
    add(
        "--concurrency",
        metavar="N",
        type=number(1, 100_000),
        help=f"jobs at a time on each queue (default: {types}, JOB_QUEUE_MAX_CONCURRENCY, or 5)",
    )
    add("--processes", metavar="N", type=number(1, _MOST_PROCESSES), default=1, help="worker processes (default: 1)")
    add_server_options(parser)
    add(
        "--wait-for-redis",
        metavar="TIME",
        type=duration(0, 86_400_000),
        default=30_000,
        help="at the start, time for a Redis that is not there yet; 0 ends at once with 1 (default: 30s)",
    )
    add("--name", metavar="NAME", help="what the worker is called where workers are listed")
    span = duration(100, 3_600_000)
    add(
        "--lock-duration",
        metavar="TIME",
        type=span,
        default=15_000,
        help=f"life of a job's lock; {TIME} (default: 15s)",
    )
    add(
        "--stalled-interval",
        metavar="TIME",
        type=span,
        default=5_000,
        help="longest time between two searches for jobs whose worker died (default: 5s)",
    )
    add(
        "--max-stalled",
        metavar="N",
        type=number(0, 1_000_000),
        default=1,
        help="how often a job whose worker died is run again before it fails (default: 1)",
    )
    add(
        "--grace",
        metavar="TIME",
        type=duration(0, 86_400_000),
        default=30_000,
        help="time for running jobs at a stop (default: 30s)",
    )
    add(
        "--cancel-grace",
        metavar="TIME",
        type=duration(10, 3_600_000),
        help="time that a job has to end after it was cancelled or timed out (default: JOB_QUEUE_CANCEL_GRACE, or 5s)",
    )
    add(
        "--limit", metavar="MAX/TIME", type=rate, help="how many jobs may start in some time, on all workers so limited"
    )
    add(
        "--metrics",
        metavar="MINUTES",
        type=number(1, MAX_METRICS),
        help="count the jobs that finish in each minute, for so long (default: JOB_QUEUE_METRICS, or not at all)",
    )
    add(
        "--dead-letters",
        metavar="N",
        type=number(0, 2**53),
        help="how many are kept, 0 to write none (default: JOB_QUEUE_DEAD_LETTERS, or 10000 of 90 days)",
    )
    add(
        "--dead-letter-alert",
        metavar="N",
        type=number(0, 2**53),
        help="log an error when a queue has come to have more (default: JOB_QUEUE_DEAD_LETTER_ALERT, or never)",
    )
    add("--health", metavar="[HOST:]PORT", type=_endpoint, help="answer HTTP there: 200 while jobs get on, else 503")
    add("--allow", choices=ALLOWED, action="append", help="start although the server is old or evicts keys")
    add(
        "--require-durable",
        action="store_true",
        help="refuse a server without appendonly yes and appendfsync everysec (or always)",
    )
    add("--log-level", choices=LEVELS, default="info", help="(default: info)")
    add("--log-json", action="store_true", help="log one JSON object a line")
    add("--supervised", type=int, help=argparse.SUPPRESS)
    return parser


def for_children(argv: Sequence[str], options: Options) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment for the processes of `--processes`. An address of `--redis` goes into the environment,
    which only this user can read: arguments are shown to every user of the machine.
    """
    env = dict(os.environ)
    if not options.redis_is_given:
        return list(argv), env
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--redis":
            next(words)
        elif not word.startswith("--redis="):
            kept.append(word)
    return kept, env | {_PARENTS_REDIS: options.redis.url}


def asked_redis(said: argparse.Namespace) -> RedisSettings | None:
    """The server of `--redis` or `--redis-file`; None where neither is given. Raises InvalidOption."""
    if said.redis_file is not None:
        return RedisSettings.parse(read_secret("--redis-file", said.redis_file).strip())
    return None if said.redis is None else RedisSettings.parse(said.redis)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """--redis, --redis-file and --prefix."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--redis",
        metavar="URL",
        help="redis://host:6379/0, rediss:// (TLS), unix:///path/redis.sock, or embedded:[DIR] for a server of one's own; "
        "a password here is shown to every user of the machine (default: REDIS_URL, REDIS_HOST and so on, else "
        "redis://localhost:6379/0)",
    )
    place.add_argument("--redis-file", metavar="PATH", help="a file that holds the URL, password and all")
    parser.add_argument("--prefix", metavar="P", help="first part of all keys (default: JOB_QUEUE_PREFIX, or bull)")


def number(least: int, most: int) -> Callable[[str], int]:
    """A whole number within limits, for argparse."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


TIME = "TIME is 500ms, 30s, 2m, 1h or 7d; a plain number is milliseconds"


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
