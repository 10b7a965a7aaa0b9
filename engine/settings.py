"""Settings of the service and the daemon: from the environment, then an optional TOML file, then the defaults."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine.connection import DEFAULT_WAIT, RedisSettings
from engine.errors import InvalidOption
from engine.metrics import MAX_METRICS
from engine.model import wire
from engine.model.checks import did_you_mean
from engine.model.clock import MAX_DURATION_MS
from engine.model.payloads import JOB_TYPES

_NUMBERS = {
    "JOB_QUEUE_REMOVE_ON_SUCCESS": "remove_on_success",
    "JOB_QUEUE_REMOVE_ON_FAILURE": "remove_on_failure",
    "JOB_QUEUE_DEFAULT_RETRIES": "default_retries",
    "JOB_QUEUE_MAX_CONCURRENCY": "max_concurrency",
    "JOB_QUEUE_WAIT": "wait",
    "JOB_QUEUE_METRICS": "metrics",
    "JOB_QUEUE_CANCEL_GRACE": "cancel_grace",
    "JOB_QUEUE_DEAD_LETTERS": "dead_letters",
    "JOB_QUEUE_DEAD_LETTER_ALERT": "dead_letter_alert",
}
_BOUNDS = {
    "max_concurrency": (1, 2**53),
    "metrics": (1, MAX_METRICS),
    "cancel_grace": (10, 3_600_000),
    "wait": (0, MAX_DURATION_MS),
}
_CONCURRENCY = "JOB_QUEUE_CONCURRENCY_"


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of JobQueueService and of `corral worker`.

    redis, prefix: where the queues are.
    remove_on_success, remove_on_failure: completed and failed jobs kept in each queue. The service puts the number into
    each job that it adds. A worker applies it to jobs that say nothing, such as those of `Queue.add`, if the environment
    or the file has it (it is in `given`); else it keeps all of them.
    default_retries: runs after the first, for jobs that the service adds without `retries`. Jobs of `Queue.add` have
    `attempts`, their own or their processor's, and this does not change them.
    max_concurrency: jobs that one worker runs at a time; `concurrency` has exceptions by job type.
    wait: ms that adding and asking wait for Redis to be able to take a call; as a Queue's.
    metrics, cancel_grace (ms), dead_letters (how many are kept, 0 for none): as a Worker's; None is the Worker's default.
    dead_letter_alert: dead letters of a queue, replayed ones apart, above which a worker logs an error.
    given: names of the settings that were read from the environment or the file.
    """

    redis: RedisSettings = RedisSettings()
    prefix: str = wire.DEFAULT_PREFIX
    remove_on_success: int = 10
    remove_on_failure: int = 50
    default_retries: int = 3
    max_concurrency: int = 5
    wait: int = DEFAULT_WAIT
    metrics: int | None = None
    cancel_grace: int | None = None
    dead_letters: int | None = None
    dead_letter_alert: int | None = None
    concurrency: Mapping[str, int] = {}
    given: frozenset[str] = frozenset()

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, env: Mapping[str, str] | None = None) -> Settings:
        """Read the settings. `path` is a TOML file; without one, CORRAL_CONFIG names it, if it is set.

        The file has `prefix`, a table `[redis]` (url, or host, port, username, password, db, tls; url_file and password_file name files), a table
        `[job_queue]` with the numbers, and `[job_queue.concurrency]`. Raises InvalidOption, naming what is wrong.
        """
        env = os.environ if env is None else env
        path = path or env.get("CORRAL_CONFIG") or None
        file = _read_file(Path(path)) if path else {}
        queue = dict(file.get("job_queue", {}))
        concurrency = {
            name: _number(f"job_queue.concurrency.{name}", value, 1, 2**53)
            for name, value in queue.pop("concurrency", {}).items()
        }
        numbers = {name: _number(f"job_queue.{name}", value, *_bounds(name)) for name, value in queue.items()}
        for variable, name in _NUMBERS.items():
            if text := env.get(variable, "").strip():
                numbers[name] = _number(variable, text, *_bounds(name))
        for variable, text in env.items():
            if variable.startswith(_CONCURRENCY) and text.strip():
                job_type = variable.removeprefix(_CONCURRENCY).lower().replace("_", "-")
                concurrency[job_type] = _number(variable, text, 1, 2**53)
        _refuse_unknown("job_queue", numbers, set(_NUMBERS.values()))
        _refuse_unknown("job_queue.concurrency", concurrency, set(JOB_TYPES))
        return cls(
            redis=_redis(file.get("redis", {}), env),
            prefix=env.get("JOB_QUEUE_PREFIX") or file.get("prefix", wire.DEFAULT_PREFIX),
            concurrency=concurrency,
            given=frozenset(numbers),
            **numbers,
        )

    def concurrency_of(self, job_type: str) -> int:
        """Jobs of that type that one worker runs at a time."""
        return self.concurrency.get(job_type, self.max_concurrency)


def _redis(file: Mapping[str, Any], env: Mapping[str, str]) -> RedisSettings:
    """The address from the file's table [redis] and the environment, which overrides it name by name."""
    if not isinstance(file, dict):
        raise InvalidOption(
            'redis: the settings file has no table [redis]; write [redis] and below it url = "redis://..."'
        )
    found = {
        f"REDIS_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in file.items()
    }
    # REDIS_URL and REDIS_HOST, and a value and its _FILE, are alternatives: one in the environment overrides both in the file.
    if any(name in env for name in ("REDIS_HOST", "REDIS_URL", "REDIS_URL_FILE")):
        for name in ("REDIS_URL", "REDIS_URL_FILE"):
            found.pop(name, None)
    if any(name in env for name in ("REDIS_PASSWORD", "REDIS_PASSWORD_FILE")):
        for name in ("REDIS_PASSWORD", "REDIS_PASSWORD_FILE"):
            found.pop(name, None)
    return RedisSettings.from_environment(
        found | {name: value for name, value in env.items() if name.startswith("REDIS_") and value}
    )


def _read_file(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidOption(
            f"settings file: {path} cannot be read ({error.strerror}); give the path of a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidOption(f"settings file: {path} is not TOML: {error}") from None
    _refuse_unknown(str(path), found, {"redis", "prefix", "job_queue"})
    return found


def _refuse_unknown(where: str, found: Mapping[str, Any], known: set[str]) -> None:
    if unknown := found.keys() - known:
        raise InvalidOption(
            f"{where}: {', '.join(sorted(unknown))} is not a setting; there are {', '.join(sorted(known))}"
            f"{did_you_mean(min(unknown), known)}"
        )


def _bounds(name: str) -> tuple[int, int]:
    return _BOUNDS.get(name, (0, 2**53))


def _number(name: str, value: Any, least: int, most: int) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal() or not least <= int(text) <= most:
        bounds = f"of {least} or more" if most == 2**53 else f"from {least} to {most:,}"
        raise InvalidOption(f"{name}: {value!r} is not a whole number {bounds}")
    return int(text)
