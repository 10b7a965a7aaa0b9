"""The worker's command line: its options, their defaults, and what is wrong with them. Starts nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from engine.errors import InvalidInput
from engine.keys import Keys
from engine.limits import RateLimit
from engine.link import RedisSettings
from engine.measures import MAX_METRICS
from engine.payloads import JOB_TYPES
from engine.settings import Settings
from engine.worker.health import Endpoint

ALLOWED = ("eviction", "old-server")
LEVELS = ("debug", "info", "warning", "error")
_MOST_PROCESSES = 256
_SET = ("cancel_grace", "metrics", "dead_letters", "dead_letter_alert")
"""Options that come before the settings of the same names."""

EXAMPLES = """\
examples:
  python -m engine.worker
      the processors of the package `processors`, each on its own queue (email-queue, sms-queue, ...)
  python -m engine.worker shop.jobs --queue sms-queue=50 --queue email-queue --redis redis://localhost:6379/0
      those that shop/jobs.py lists as PROCESSORS = [...]; 50 jobs at a time on one queue, the default on the other
  python -m engine.worker shop.jobs:send_sms --queue sms-queue --processes 2 --health 8080
      one processor, in two processes, and http://127.0.0.1:8080 that says whether they get on

signals:
  SIGTERM, SIGINT  take no more jobs, finish those that run, end; the second one does not wait for them
  SIGUSR1          write the stacks of the running jobs and of all threads to stderr

exit codes: 0 all running jobs were finished, 1 it could not start or jobs were cut off, 2 wrong usage
"""


class Options(Struct, frozen=True, kw_only=True):
    """What one worker process is told. Times are in milliseconds, but for `grace`: seconds."""

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
    grace: float = 30.0
    limiter: RateLimit | None = None
    health: Endpoint | None = None
    allow: frozenset[str] = frozenset()
    require_durable: bool = False
    log_level: str = "info"
    log_json: bool = False
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
    if said.redis is not None:  # then the environment's address is not looked at, right or wrong
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
        redis=settings.redis if said.redis is None else RedisSettings.parse(said.redis),
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
    add("--name", metavar="NAME", help="what the worker is called where workers are listed")
    milliseconds = number(100, 3_600_000)
    add(
        "--lock-duration", metavar="MS", type=milliseconds, default=15_000, help="life of a job's lock (default: 15000)"
    )
    add(
        "--stalled-interval",
        metavar="MS",
        type=milliseconds,
        default=5_000,
        help="longest time between two searches for jobs whose worker died (default: 5000)",
    )
    add(
        "--max-stalled",
        metavar="N",
        type=number(0, 1_000_000),
        default=1,
        help="how often a job whose worker died is run again before it fails (default: 1)",
    )
    add("--grace", metavar="SECONDS", type=_seconds, default=30.0, help="time for running jobs at a stop (default: 30)")
    add(
        "--cancel-grace",
        metavar="MS",
        type=number(10, 3_600_000),
        help="time that a job has to end after it was cancelled or timed out (default: JOB_QUEUE_CANCEL_GRACE, or 5000)",
    )
    add("--limit", metavar="MAX/MS", type=rate, help="how many jobs may start in some time, on all workers so limited")
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
    add("--require-durable", action="store_true", help="refuse a server that keeps no append-only file")
    add("--log-level", choices=LEVELS, default="info", help="(default: info)")
    add("--log-json", action="store_true", help="log one JSON object a line")
    add("--supervised", type=int, help=argparse.SUPPRESS)
    return parser


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """--redis and --prefix."""
    parser.add_argument(
        "--redis",
        metavar="URL",
        help="redis://user:password@host:6379/0, rediss:// (TLS), unix:///path/redis.sock, or embedded:[DIR] for a "
        "server of one's own (default: REDIS_URL, REDIS_HOST and so on, else redis://localhost:6379/0)",
    )
    parser.add_argument("--prefix", metavar="P", help="first part of all keys (default: JOB_QUEUE_PREFIX, or bull)")


def number(least: int, most: int) -> Callable[[str], int]:
    """A whole number within limits, for argparse."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def rate(text: str) -> RateLimit:
    """MAX/MS, for argparse: so many starts in so many milliseconds."""
    most, _, ms = text.partition("/")
    if not (most.isascii() and most.isdecimal() and ms.isascii() and ms.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not MAX/MS, such as 100/60000 for 100 a minute")
    try:
        return RateLimit.check("limit", int(most), int(ms))
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 86400")
    return value


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
