"""What a user may ask of a job: checked when it is asked, and written as BullMQ stores it (wire specification, 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from engine import wire
from engine.backoff import Backoff
from engine.clock import duration_ms, to_ms
from engine.errors import InvalidOption
from engine.keys import check_job_id


class Keep(Struct, frozen=True):
    """How many finished jobs stay, and for how long: the newest `count`, none older than `age` seconds; None is no limit."""

    count: int | None = None
    age: int | None = None

    @classmethod
    def check(cls, name: str, value: Any) -> Keep:
        """The rule that `True` (keep none), `False` (keep all), a count, or {"count": n, "age": seconds} stands for."""
        match value:
            case Keep():
                return value
            case bool():
                return cls(count=0) if value else cls()
            case int():
                return cls(count=_whole(name, value))
            case Mapping():
                unknown = value.keys() - {"count", "age"}
                if unknown:
                    raise InvalidOption(
                        f"{name}: {', '.join(sorted(map(repr, unknown)))} is not a field; it has count and age"
                    )
                count, age = value.get("count"), value.get("age")
                if isinstance(age, timedelta):
                    age = int(age.total_seconds())
                return cls(
                    None if count is None else _whole(f"{name}.count", count),
                    None if age is None else _whole(f"{name}.age", age, "seconds"),
                )
        raise InvalidOption(f'{name}: {value!r} is none of True, False, a count, or {{"count": n, "age": seconds}}')

    def to_wire(self) -> bool | int | dict[str, int]:
        if self.age is not None:
            return {"age": self.age} if self.count is None else {"age": self.age, "count": self.count}
        if self.count is None:
            return False
        return self.count or True

    @classmethod
    def from_wire(cls, value: Any) -> Keep | None:
        """The rule in a stored option of any producer; None where it says nothing that can be understood."""
        match value:
            case bool():
                return cls(count=0) if value else cls()
            case int() | float():
                return cls(count=int(value)) if value >= 0 else cls()
            case dict():
                return cls(_number(value.get("count"), None), _number(value.get("age"), None))
        return None


class JobOptions(Struct, frozen=True, kw_only=True):
    """The options of one job. Durations are whole milliseconds.

    attempts: runs in all, before the job fails for good; 0 leaves it to the processor, or else one run.
    backoff: how long to wait between them; None retries at once.
    delay: earliest start, counted from `timestamp`.
    priority: 0 goes first, then 1, 2, ... (BullMQ's order); first in, first out within one priority.
    lifo: go to the front of the line; only without a priority.
    job_id: an id of the caller's own; a second add with it answers with the first job.
    timestamp: when the job was made, Unix milliseconds; None takes the server's time.
    remove_on_complete, remove_on_fail: what is kept when this job finishes; None leaves it to the worker.
    keep_logs: rows of `job.log()` kept. stack_trace_limit: stack traces kept. size_limit: bytes that `data` may have.
    telemetry: text that a tracing middleware hands from the producer to the worker (BullMQ's `tm`).
    """

    attempts: int = 0
    backoff: Backoff | None = None
    delay: int = 0
    priority: int = 0
    lifo: bool = False
    job_id: str | None = None
    timestamp: int | None = None
    remove_on_complete: Keep | None = None
    remove_on_fail: Keep | None = None
    keep_logs: int | None = None
    stack_trace_limit: int | None = None
    size_limit: int | None = None
    telemetry: str | None = None

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> JobOptions:
        """The options a caller gave by keyword. Raises InvalidOption or InvalidName, naming the option."""
        if not options:
            return NO_OPTIONS
        checked: dict[str, Any] = {}
        for name, value in options.items():
            check = _CHECKS.get(name)
            if check is None:
                raise InvalidOption(f"{name}: no such option; a job has {', '.join(sorted(_CHECKS))}")
            if value is not None:
                checked[name] = check(name, value)
        if checked.get("lifo") and checked.get("priority"):
            raise InvalidOption("lifo: a job with a priority has its place by that priority; leave one of the two out")
        return cls(**checked)

    def given(self) -> dict[str, Any]:
        """The options that say something, as `check` takes them."""
        fields = self.__struct_fields__
        return {name: value for name in fields if (value := getattr(self, name)) != getattr(NO_OPTIONS, name)}

    def to_wire(self) -> bytes:
        """The stored JSON; the names are BullMQ's, some of them shortened."""
        stored: dict[str, Any] = {"attempts": self.attempts}
        if self.backoff is not None:
            stored["backoff"] = self.backoff
        if self.delay:
            stored["delay"] = self.delay
        if self.priority:
            stored["priority"] = self.priority
        if self.lifo:
            stored["lifo"] = True
        if self.job_id is not None:
            stored["jobId"] = self.job_id
        if self.timestamp is not None:
            stored["timestamp"] = self.timestamp
        if self.remove_on_complete is not None:
            stored["removeOnComplete"] = self.remove_on_complete.to_wire()
        if self.remove_on_fail is not None:
            stored["removeOnFail"] = self.remove_on_fail.to_wire()
        if self.keep_logs is not None:
            stored["kl"] = self.keep_logs
        if self.stack_trace_limit is not None:
            stored["stackTraceLimit"] = self.stack_trace_limit
        if self.size_limit is not None:
            stored["sizeLimit"] = self.size_limit
        if self.telemetry is not None:
            stored["tm"] = self.telemetry
        return msgspec.json.encode(stored)


NO_OPTIONS = JobOptions()
NO_OPTIONS_WIRE = NO_OPTIONS.to_wire()


@lru_cache(maxsize=4096)
def read_options(stored: bytes) -> JobOptions:
    """The options of a stored job, whoever wrote it: what cannot be understood counts as not said.

    Raises ValueError where the text is not a JSON object at all. Most jobs of a queue share one text, hence the cache.
    """
    if not stored:
        return NO_OPTIONS
    found = _STORED.decode(stored)
    backoff = found.get("backoff")
    if isinstance(backoff, dict):
        jitter = backoff.get("jitter")
        backoff = Backoff(
            str(backoff.get("type", "fixed")),
            _number(backoff.get("delay"), 0),
            min(max(jitter, 0), 1) if isinstance(jitter, int | float) else 0,
        )
    elif isinstance(backoff, int | float) and backoff > 0:
        backoff = Backoff("fixed", int(backoff))
    else:
        backoff = None
    job_id, telemetry = found.get("jobId"), found.get("tm")
    return JobOptions(
        attempts=_number(found.get("attempts"), 0),
        backoff=backoff,
        delay=_number(found.get("delay"), 0),
        priority=_number(found.get("priority"), 0),
        lifo=found.get("lifo") is True,
        job_id=job_id if isinstance(job_id, str) else None,
        timestamp=_number(found.get("timestamp"), None),
        remove_on_complete=Keep.from_wire(found.get("removeOnComplete")),
        remove_on_fail=Keep.from_wire(found.get("removeOnFail")),
        keep_logs=_number(found.get("kl"), None),
        stack_trace_limit=_number(found.get("stackTraceLimit"), None),
        size_limit=_number(found.get("sizeLimit"), None),
        telemetry=telemetry if isinstance(telemetry, str) else None,
    )


_STORED = msgspec.json.Decoder(dict[str, Any])


def _number(value: Any, otherwise: Any) -> Any:
    """A count or duration that any producer stored, or `otherwise`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return otherwise
    return int(value)


def _whole(name: str, value: Any, unit: str = "") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise InvalidOption(f"{name}: {value!r} is not a whole number of 0 or more{' ' + unit if unit else ''}")
    return value


def _attempts(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000_000:
        raise InvalidOption(
            f"{name}: {value!r} is not a whole number between 0 and 1,000,000; it counts runs, the first included"
        )
    return value


def _priority(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= wire.MAX_PRIORITY:
        raise InvalidOption(f"{name}: {value!r} is not a whole number between 0 (goes first) and {wire.MAX_PRIORITY}")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidOption(f"{name}: {value!r} is neither True nor False")
    return value


def _job_id(name: str, value: Any) -> str:
    check_job_id(value)
    return str(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidOption(f"{name}: {value!r} is empty or not text; give the text that the worker is to read")
    return value


def _timestamp(name: str, value: Any) -> int:
    if isinstance(value, datetime):
        return to_ms(value)
    return _whole(name, value, "Unix milliseconds")


_CHECKS: dict[str, Any] = {
    "attempts": _attempts,
    "backoff": lambda name, value: Backoff.check(value),
    "delay": duration_ms,
    "priority": _priority,
    "lifo": _flag,
    "job_id": _job_id,
    "timestamp": _timestamp,
    "remove_on_complete": Keep.check,
    "remove_on_fail": Keep.check,
    "keep_logs": _whole,
    "stack_trace_limit": _whole,
    "size_limit": _whole,
    "telemetry": _text,
}
