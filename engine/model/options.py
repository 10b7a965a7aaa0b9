"""Job options: checked when a job is added, stored as BullMQ stores them (wire specification, 2.2)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final, Required, TypedDict

import msgspec
from msgspec import Struct

from engine.errors import InvalidOption
from engine.model import wire
from engine.model.backoff import Backoff, BackoffOption
from engine.model.checks import LARGEST, check_fields, did_you_mean, flag, is_number, whole_number
from engine.model.clock import duration_ms, time_ms
from engine.model.keys import check_deduplication_id, check_job_id, check_queue_name


class Keep(Struct, frozen=True):
    """Retention of finished jobs: keep the newest `count`, and none older than `age`; None is no limit.

    age: ms or timedelta; stored in whole seconds, rounded up.
    limit: how many jobs over `age` one finishing job deletes; never more than 1,000 a call.
    """

    count: int | None = None
    age: int | timedelta | None = None
    limit: int | None = None

    @property
    def seconds(self) -> int | None:
        """`age` as BullMQ stores it: whole seconds, rounded up."""
        age = self.age
        if age is None:
            return None
        return -((-age) // timedelta(seconds=1)) if isinstance(age, timedelta) else -(-age // 1000)

    @classmethod
    def check(cls, name: str, value: Any) -> Keep:
        """The Keep for `True` (keep none), `False` (keep all), a count, a Keep, or BullMQ's dict.

        The dict has `count`, `age` and `limit`; its `age` is in seconds, as BullMQ's is, or a timedelta.
        """
        match value:
            case Keep(count, age, limit):
                if limit is not None and whole_number(f"{name}.limit", limit) == 0:
                    raise InvalidOption(
                        f"{name}.limit: 0 would keep jobs over `age` forever; to keep them, leave `age` out"
                    )
                return cls(
                    None if count is None else whole_number(f"{name}.count", count),
                    None if age is None else duration_ms(f"{name}.age", age),
                    limit,
                )
            case bool():
                return cls(count=0) if value else cls()
            case int():
                return cls(count=whole_number(name, value))
            case Mapping():
                check_fields(name, value, ("count", "age", "limit"))
                age = value.get("age")
                if age is not None and not isinstance(age, timedelta):
                    age = whole_number(f"{name}.age", age, hint="it is in seconds, as BullMQ's is") * 1000
                return cls.check(name, cls(value.get("count"), age, value.get("limit")))
        raise InvalidOption(
            f"{name}: {value!r} is not a retention; give True (keep none), False (keep all), a count, or Keep(count=100, age=86_400_000)"
        )

    def to_wire(self) -> bool | int | dict[str, int]:
        age = self.seconds
        if age is not None:
            rule = {"age": age, "count": self.count, "limit": self.limit}
            return {name: value for name, value in rule.items() if value is not None}
        if self.count is None:
            return False
        return self.count or True

    @classmethod
    def from_wire(cls, value: Any) -> Keep | None:
        """The Keep in a stored option of any producer; None if it is missing or unreadable."""
        match value:
            case bool():
                return cls(count=0) if value else cls()
            case int() | float():
                return cls(count=int(value)) if value >= 0 else cls()
            case dict():
                age = _number(value.get("age"), None)
                return cls(
                    _number(value.get("count"), None),
                    None if age is None else age * 1000,
                    _number(value.get("limit"), None) or None,
                )
        return None


class Deduplication(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Deduplication: while one job owns `id`, further adds with that id make no job. Field names are BullMQ's, in snake_case.

    id: what makes two jobs the same. A job owns it from its add until it finishes or is removed.
    ttl: ms or timedelta for which it owns the id instead, finished or not. extend: each deduplicated add restarts `ttl`.
    At most one of: replace: a delayed owner is replaced by the new job. reschedule: a delayed owner keeps its data and takes the
    new job's delay. keep_last_if_active: while the owner runs, the newest job is kept, and added when the owner ends.
    """

    id: str
    ttl: int | timedelta | None = None
    extend: bool = False
    replace: bool = False
    keep_last_if_active: bool = False
    reschedule: bool = False

    @classmethod
    def check(cls, name: str, value: Any) -> Deduplication:
        """The Deduplication of what a user gave: one, or a dict of its fields. Raises InvalidOption or InvalidName."""
        if isinstance(value, cls):
            value = msgspec.structs.asdict(value)
        if not isinstance(value, Mapping):
            raise InvalidOption(f'{name}: {value!r} is not a dict; give {{"id": "user:42"}}')
        check_fields(name, value, cls.__struct_fields__)
        check_deduplication_id(value.get("id"))
        ttl = value.get("ttl")
        if ttl is not None:
            ttl = duration_ms(f"{name}.ttl", ttl)
            if ttl == 0:
                raise InvalidOption(
                    f"{name}.ttl: 0 ms would deduplicate nothing; leave it out to deduplicate until the job has finished"
                )
        flags = {field: flag(f"{name}.{field}", value.get(field, False)) for field in cls.__struct_fields__[2:]}
        chosen = [field for field in ("replace", "reschedule", "keep_last_if_active") if flags[field]]
        if len(chosen) > 1:
            raise InvalidOption(f"{name}: {' and '.join(chosen)} exclude each other; choose one")
        if flags["keep_last_if_active"] and ttl is not None:
            raise InvalidOption(
                f"{name}.ttl: it has no effect with keep_last_if_active, which waits for the owner's end; leave ttl out"
            )
        if flags["extend"] and ttl is None:
            raise InvalidOption(f"{name}.extend: it restarts `ttl`, and there is none; give a ttl, or leave extend out")
        return cls(value["id"], ttl, **flags)

    @classmethod
    def from_wire(cls, value: Any) -> Deduplication | None:
        """The Deduplication in a stored option of any producer; None if it is missing or unreadable."""
        if not isinstance(value, dict) or not isinstance(value.get("id"), str):
            return None
        said = {field: value.get(encoded) is True for field, encoded in _DEDUPLICATION_FLAGS}
        return cls(value["id"], _number(value.get("ttl"), None), **said)


_DEDUPLICATION_FLAGS = tuple(
    zip(Deduplication.__struct_fields__[2:], Deduplication.__struct_encode_fields__[2:], strict=True)
)


class Parent(Struct, frozen=True):
    """The job that waits for this one.

    queue: its queue's name; in a stored job with the prefix, as BullMQ writes it: "bull:reports".
    """

    id: str
    queue: str

    @classmethod
    def check(cls, name: str, value: Any) -> Parent:
        """The Parent of what a user gave: one, or a dict of its fields. Raises InvalidOption or InvalidName."""
        if isinstance(value, cls):
            value = msgspec.structs.asdict(value)
        if not isinstance(value, Mapping) or value.keys() != {"id", "queue"} or not isinstance(value["id"], str):
            raise InvalidOption(f'{name}: {value!r} is not a parent; give {{"id": job.id, "queue": job.queue_name}}')
        check_queue_name(value["queue"])
        return cls(value["id"], value["queue"])

    @classmethod
    def from_wire(cls, value: Any) -> Parent | None:
        """The Parent in a stored option of any producer; None if it is missing or unreadable."""
        if (
            not isinstance(value, dict)
            or not isinstance(value.get("id"), str)
            or not isinstance(value.get("queue"), str)
        ):
            return None
        return cls(value["id"], value["queue"])


class KeepFields(TypedDict, total=False):
    """BullMQ's form of a Keep: its `age` is in seconds."""

    count: int | None
    age: int | timedelta | None
    limit: int | None


class DeduplicationFields(TypedDict, total=False):
    """A Deduplication as a dict."""

    id: Required[str]
    ttl: int | timedelta | None
    extend: bool
    replace: bool
    keep_last_if_active: bool
    reschedule: bool


class ParentFields(TypedDict):
    """A Parent as a dict."""

    id: str
    queue: str


KeepOption = Keep | KeepFields | bool | int


class ScheduleOptions(TypedDict, total=False):
    """Options of a schedule's jobs, as keyword arguments; described at `JobOptions`."""

    attempts: int | None
    backoff: BackoffOption | None
    timeout: int | timedelta | None
    expires_in: int | timedelta | None
    priority: int | None
    lifo: bool | None
    remove_on_complete: KeepOption | None
    remove_on_fail: KeepOption | None
    keep_logs: int | None
    stack_trace_limit: int | None
    size_limit: int | None
    telemetry: str | None


class FlowOptions(ScheduleOptions, total=False):
    """Options of a job in a flow, as keyword arguments; described at `JobOptions`."""

    delay: int | timedelta | None
    run_at: datetime | None
    job_id: str | None
    timestamp: datetime | int | None
    fail_parent_on_failure: bool | None
    continue_parent_on_failure: bool | None
    ignore_dependency_on_failure: bool | None
    remove_dependency_on_failure: bool | None


class AddOptions(FlowOptions, total=False):
    """Options of `Queue.add`, as keyword arguments; described at `JobOptions`."""

    deduplication: Deduplication | DeduplicationFields | None
    parent: Parent | ParentFields | None


POLICIES: Final = {
    "fail_parent_on_failure": "fpof",
    "continue_parent_on_failure": "cpof",
    "ignore_dependency_on_failure": "idof",
    "remove_dependency_on_failure": "rdof",
}
"""What a child's final failure does to its parent: our option -> BullMQ's field."""


class JobOptions(Struct, frozen=True, kw_only=True):
    """The options of one job. Durations are whole milliseconds.

    attempts: runs in all, the first included, until the job fails for good; 0 uses the processor's number, or one run.
    backoff: how long to wait before each retry; None retries at once.
    delay: earliest start, counted from `timestamp`. The option `run_at`, an aware datetime, sets delay and timestamp; a time in
    the past means no delay.
    timeout: time limit of one run; None uses the processor's.
    expires_in: how long after `timestamp` plus `delay` a run may still start; a later run fails at once, without retry.
    priority: 0 runs first, then 1, 2, ... (BullMQ's order); first in, first out within one priority.
    lifo: put the job at the front of the queue; only without a priority.
    job_id: your own id; adding it a second time returns the first job.
    timestamp: when the job was created, Unix milliseconds; None uses the server's time.
    remove_on_complete, remove_on_fail: retention when this job finishes; None uses the worker's.
    keep_logs: how many rows of `job.log()` are kept. stack_trace_limit: how many stack traces. size_limit: largest `data`, bytes.
    parent: the job that waits for this one, {"id": ..., "queue": ...}; not in a flow, whose tree defines it.
    fail_parent_on_failure, continue_parent_on_failure, ignore_dependency_on_failure, remove_dependency_on_failure: what happens to
    the parent when this job fails for good, at most one of: it fails too; it runs at once; it runs when the other children are
    done, and can read the reason; it runs when the others are done. Without one it waits until this job is retried or removed.
    deduplication: a `Deduplication` or a dict of its fields: {"id": "user:42"}.
    telemetry: text that a tracing middleware passes from the producer to the worker (BullMQ's `tm`).
    """

    attempts: int = 0
    backoff: Backoff | None = None
    delay: int = 0
    timeout: int | None = None
    expires_in: int | None = None
    priority: int = 0
    lifo: bool = False
    job_id: str | None = None
    timestamp: int | None = None
    remove_on_complete: Keep | None = None
    remove_on_fail: Keep | None = None
    keep_logs: int | None = None
    stack_trace_limit: int | None = None
    size_limit: int | None = None
    deduplication: Deduplication | None = None
    telemetry: str | None = None
    parent: Parent | None = None
    fail_parent_on_failure: bool = False
    continue_parent_on_failure: bool = False
    ignore_dependency_on_failure: bool = False
    remove_dependency_on_failure: bool = False

    @classmethod
    def check(cls, options: Mapping[str, Any], *, in_flow: bool = False) -> JobOptions:
        """JobOptions from keyword arguments. Raises InvalidOption or InvalidName, naming the option.

        in_flow: the job is part of a flow, whose tree defines its parent.
        """
        if not options:
            return NO_OPTIONS
        checked: dict[str, Any] = {}
        for name, value in options.items():
            check = _CHECKS.get(name)
            if check is None:
                raise _unknown(name)
            if value is not None:
                checked[name] = check(name, value)
        if "run_at" in checked:
            _run_at(checked)
        if checked.get("lifo") and checked.get("priority"):
            raise InvalidOption("lifo: it has no effect on a job with a priority; leave one of the two out")
        if not checked.keys().isdisjoint(_OF_CHILDREN):
            _check_child(checked, in_flow)
        return cls(**checked)

    def given(self) -> dict[str, Any]:
        """The options that differ from the defaults, as keyword arguments for `check`."""
        fields = self.__struct_fields__
        return {name: value for name in fields if (value := getattr(self, name)) != getattr(NO_OPTIONS, name)}

    def to_wire(self) -> bytes:
        """The stored JSON, with BullMQ's field names."""
        stored: dict[str, Any] = {"attempts": self.attempts}
        if self.backoff is not None:
            stored["backoff"] = self.backoff
        if self.delay:
            stored["delay"] = self.delay
        if self.timeout is not None:
            stored["timeout"] = self.timeout
        if self.expires_in is not None:
            stored["expiresIn"] = self.expires_in
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
        if self.deduplication is not None:
            stored["de"] = self.deduplication
        if self.telemetry is not None:
            stored["tm"] = self.telemetry
        if self.parent is not None:
            stored["parent"] = self.parent
            stored |= self.policy()
        return msgspec.json.encode(stored)

    def policy(self) -> dict[str, bool]:
        """What a failure does to the parent, as BullMQ's fields."""
        return {word: True for name, word in POLICIES.items() if getattr(self, name)}


NO_OPTIONS = JobOptions()
NO_OPTIONS_WIRE = NO_OPTIONS.to_wire()


def read_options(stored: bytes) -> JobOptions:
    """The options of a stored job of any producer; a field that is unreadable counts as missing.

    Raises ValueError where the text is not a JSON object at all.
    """
    return _read_known(stored) if len(stored) <= MAX_CACHED else decode_options(stored)


MAX_CACHED: Final = 1024
"""Longest stored options, in bytes, that are cached. Most jobs of a queue share one short text; long ones seldom repeat."""


def decode_options(stored: bytes) -> JobOptions:
    """`read_options` without its cache."""
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
            _numbers(backoff.get("delays")),
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
        timeout=_number(found.get("timeout"), None) or None,
        expires_in=_number(found.get("expiresIn"), None) or None,
        priority=_number(found.get("priority"), 0),
        lifo=found.get("lifo") is True,
        job_id=job_id if isinstance(job_id, str) else None,
        timestamp=_number(found.get("timestamp"), None),
        remove_on_complete=Keep.from_wire(found.get("removeOnComplete")),
        remove_on_fail=Keep.from_wire(found.get("removeOnFail")),
        keep_logs=_number(found.get("kl"), None),
        stack_trace_limit=_number(found.get("stackTraceLimit"), None),
        size_limit=_number(found.get("sizeLimit"), None),
        deduplication=Deduplication.from_wire(found.get("de")),
        telemetry=telemetry if isinstance(telemetry, str) else None,
        parent=Parent.from_wire(found["parent"]) if "parent" in found else None,
        **{name: True for name, word in POLICIES.items() if found.get(word) is True},
    )


_read_known = lru_cache(maxsize=1024)(decode_options)
_STORED = msgspec.json.Decoder(dict[str, Any])


def _number(value: Any, otherwise: Any) -> Any:
    """A count or duration stored by any producer; `otherwise` if it is no number of 0 or more."""
    if not is_number(value) or not 0 <= value <= LARGEST:
        return otherwise
    return int(value)


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(_number(one, 0) for one in value) if isinstance(value, list) else ()


def limit_ms(name: str, value: int | timedelta) -> int:
    """Whole milliseconds of a time limit. Raises InvalidOption for anything but a duration over 0."""
    ms = duration_ms(name, value)
    if not ms:
        raise InvalidOption(f"{name}: 0 ms is too short for any run; leave it out for no limit")
    return ms


def _job_id(name: str, value: Any) -> str:
    check_job_id(value)
    return str(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidOption(f"{name}: {value!r} is not a non-empty text; give the text to pass to the worker")
    return value


def _start_time(name: str, value: Any) -> int:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidOption(f"{name}: {value!r} is not an aware datetime; give datetime.now(UTC) + timedelta(hours=1)")
    return time_ms(name, value)


def _run_at(checked: dict[str, Any]) -> None:
    """Replace `run_at` by what BullMQ stores: the time at which the job was made, and a delay from that time."""
    if "delay" in checked:
        raise InvalidOption("run_at: `delay` is given too, and both set when the job runs; leave one of them out")
    start = checked.pop("run_at")
    made = checked.setdefault("timestamp", time.time_ns() // 1_000_000)
    checked["delay"] = duration_ms("run_at", max(0, start - made))


_CHECKS: dict[str, Any] = {
    "attempts": partial(whole_number, high=1_000_000, hint="it counts runs, the first included"),
    "backoff": lambda name, value: Backoff.check(value),
    "delay": duration_ms,
    "run_at": _start_time,
    "timeout": limit_ms,
    "expires_in": limit_ms,
    "priority": partial(whole_number, high=wire.MAX_PRIORITY, hint="0 runs first, then 1, 2, ..."),
    "lifo": flag,
    "job_id": _job_id,
    "timestamp": time_ms,
    "remove_on_complete": Keep.check,
    "remove_on_fail": Keep.check,
    "keep_logs": whole_number,
    "stack_trace_limit": whole_number,
    "size_limit": whole_number,
    "deduplication": Deduplication.check,
    "telemetry": _text,
    "parent": Parent.check,
    **dict.fromkeys(POLICIES, flag),
}
_ELSEWHERE: dict[str, tuple[str, str]] = {
    "countdown": ("Celery", "delay=, in ms or a timedelta"),
    "eta": ("Celery", "run_at=, an aware datetime"),
    "expires": ("Celery", "expires_in=, in ms or a timedelta"),
    "max_retries": ("Celery", "attempts=, which counts the first run too"),
    "retries": ("Celery", "attempts=, which counts the first run too"),
    "default_retry_delay": ("Celery", "backoff="),
    "retry_backoff": ("Celery", "backoff="),
    "retry_jitter": ("Celery", 'backoff={"type": "exponential", "delay": 1000, "jitter": 0.5}'),
    "time_limit": ("Celery", "timeout=, in ms or a timedelta"),
    "soft_time_limit": ("Celery", "timeout=, in ms or a timedelta"),
    "task_id": ("Celery", "job_id="),
    "ignore_result": ("Celery", "remove_on_complete=True"),
    "job_timeout": ("RQ", "timeout=, in ms or a timedelta"),
    "result_ttl": ("RQ", "remove_on_complete=Keep(age=), in ms or a timedelta"),
    "failure_ttl": ("RQ", "remove_on_fail=Keep(age=), in ms or a timedelta"),
    "ttl": ("RQ", "expires_in=, in ms or a timedelta"),
    "at_front": ("RQ", "lifo=True"),
    "depends_on": ("RQ", "parent=, or a flow"),
    "retry": ("RQ", "attempts=, which counts the first run too, and backoff="),
    "_defer_by": ("arq", "delay=, in ms or a timedelta"),
    "_defer_until": ("arq", "run_at=, an aware datetime"),
    "_expires": ("arq", "expires_in=, in ms or a timedelta"),
    "_job_id": ("arq", "job_id="),
    "scheduled": ("saq", "run_at=, an aware datetime"),
    "retry_delay": ("saq", "backoff="),
    "key": ("saq", "job_id="),
    "max_age": ("Dramatiq", "expires_in=, in ms or a timedelta"),
}
"""Options of other job queues -> the library, and our option."""


def _unknown(name: str) -> InvalidOption:
    if name in _ELSEWHERE:
        whose, ours = _ELSEWHERE[name]
        return InvalidOption(f"{name}: this is {whose}'s word; use {ours}")
    suggestion = did_you_mean(name, _CHECKS) or f"; a job has {', '.join(sorted(_CHECKS))}"
    return InvalidOption(f"{name}: unknown option{suggestion}")


_OF_CHILDREN = frozenset({"parent", *POLICIES})


def _check_child(checked: Mapping[str, Any], in_flow: bool) -> None:
    """Check the options that only a job with a parent may have."""
    chosen = [name for name in POLICIES if checked.get(name)]
    if len(chosen) > 1:
        raise InvalidOption(f"{' and '.join(chosen)}: they exclude each other; choose one")
    if in_flow and "parent" in checked:
        raise InvalidOption("parent: it is not allowed in a flow; put the job into the `children` of its parent")
    if chosen and not in_flow and "parent" not in checked:
        raise InvalidOption(f"{chosen[0]}: the job has no parent; give `parent`, or add both as a flow")
    if "parent" in checked and "deduplication" in checked:
        raise InvalidOption("deduplication: its parent would wait for a job that is not made; leave it out of a child")
