"""A queue's Redis keys, and the checks of names and ids that become part of one. No other module spells a key."""

from __future__ import annotations

import base64
import re

from engine.errors import InvalidName
from engine.model import wire

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INTEGER = re.compile(r"-?[0-9]+")
MAX_NAME_BYTES = 128


class Keys:
    """The keys of one queue: `keys.wait`, `keys.job(id)`; `keys.jobs` is the prefix to which a job id is appended."""

    __slots__ = ("_by_names", "active", "cancelling", "completed", "delayed", "events", "failed", "id", "jobs", "limiter", "marker", "meta",
                 "paused", "pc", "prefix", "prioritized", "queue", "repeat", "smoothed", "stalled", "stalled_check", "wait", "waiting_children", "watch")  # fmt: skip

    def __init__(self, queue: str, prefix: str = wire.DEFAULT_PREFIX) -> None:
        check_queue_name(queue)
        check_prefix(prefix)
        self.queue = queue
        self.prefix = prefix
        self.jobs = base = f"{prefix}:{queue}:"
        self.meta = base + "meta"
        self.id = base + "id"
        self.wait = base + "wait"
        self.paused = base + "paused"
        self.active = base + "active"
        self.prioritized = base + "prioritized"
        self.pc = base + "pc"
        self.delayed = base + "delayed"
        self.waiting_children = base + "waiting-children"
        self.completed = base + "completed"
        self.failed = base + "failed"
        self.stalled = base + "stalled"
        self.stalled_check = base + "stalled-check"
        self.marker = base + "marker"
        self.events = base + "events"
        self.limiter = base + "limiter"
        self.smoothed = f"{base}{wire.PRIVATE}:smooth"
        self.repeat = base + "repeat"
        self.cancelling = base + "corral:cancelling"
        self.watch = f"{base}{wire.PRIVATE}:watch"
        self._by_names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __repr__(self) -> str:
        return f"Keys({self.queue!r}, prefix={self.prefix!r})"

    def pick(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The keys of these names, in their order; resolved once per queue."""
        picked = self._by_names.get(names)
        if picked is None:
            picked = self._by_names[names] = tuple(getattr(self, name) for name in names)
        return picked

    def job(self, job_id: str) -> str:
        return self.jobs + job_id

    def lock(self, job_id: str) -> str:
        return f"{self.jobs}{job_id}:lock"

    def helper(self, job_id: str, word: str) -> str:
        """One of the keys that stand beside a job's hash (`wire.JOB_HELPERS`)."""
        return f"{self.jobs}{job_id}:{word}"

    def logs(self, job_id: str) -> str:
        return f"{self.jobs}{job_id}:logs"

    def deduplication(self, deduplication_id: str) -> str:
        """Holds the id of the job that owns this deduplication."""
        return f"{self.jobs}de:{deduplication_id}"

    def dead_letter(self, job_id: str) -> str:
        """The dead letter of a job."""
        return f"{self.jobs}{wire.PRIVATE}:dead:letter:{job_id}:record"

    def poke(self, token: str) -> str:
        """Written for a moment to end a blocking call of the process that has this token."""
        return f"{self.jobs}{wire.PRIVATE}:poke:{token}"

    def client_name(self, suffix: str = "") -> str:
        """The connection name by which BullMQ's `getWorkers` and `getQueueEvents` find a client of this queue."""
        return f"{self.prefix}:{base64.b64encode(self.queue.encode()).decode()}{suffix}"


def check_queue_name(name: str) -> None:
    """Raise InvalidName unless `name` is a valid queue name."""
    if not isinstance(name, str) or not name:
        raise InvalidName(f"queue name: {name!r} is empty or not text; give a name such as 'sms-queue'")
    if ":" in name:
        raise InvalidName(f"queue name: {name!r} holds ':', which separates the parts of a key; use '-' instead")
    _check_text("queue name", name)


def check_schedule_id(schedule_id: str) -> None:
    """Raise InvalidName unless `schedule_id` is a valid id of a schedule."""
    if not isinstance(schedule_id, str) or not schedule_id:
        raise InvalidName(f"schedule id: {schedule_id!r} is empty or not text; give a name such as 'nightly-report'")
    if ":" in schedule_id:
        raise InvalidName(
            f"schedule id: {schedule_id!r} holds ':', which separates the parts of a key; use '-' instead"
        )
    if schedule_id in wire.JOB_HELPERS:
        raise InvalidName(
            f"schedule id: {schedule_id!r} is reserved for a key beside a job's hash; put a word before it"
        )
    _check_text("schedule id", schedule_id)


def check_prefix(prefix: str) -> None:
    """Raise InvalidName unless `prefix` is a valid key prefix."""
    if not isinstance(prefix, str) or not prefix:
        raise InvalidName(f"prefix: {prefix!r} is empty or not text; BullMQ's default is {wire.DEFAULT_PREFIX!r}")
    _check_text("prefix", prefix)


def check_job_id(job_id: str) -> None:
    """Raise InvalidName unless `job_id` is valid for a new job (wire specification, section 1.1)."""
    if not isinstance(job_id, str) or not job_id:
        raise InvalidName(f"job_id: {job_id!r} is empty or not text; leave it out to get a number")
    if _INTEGER.fullmatch(job_id):
        raise InvalidName(
            f"job_id: {job_id!r} is a number, which the queue's counter may give to another job; put a word before it: 'job-{job_id}'"
        )
    if ":" in job_id:
        raise InvalidName(f"job_id: {job_id!r} holds ':', which separates the parts of a key; use '-' instead")
    if job_id in wire.STRUCTURES or job_id == wire.PRIVATE:
        raise InvalidName(
            f"job_id: {job_id!r} names a structure of the queue and would overwrite it; put a word before it"
        )
    _check_text("job_id", job_id)


def check_deduplication_id(deduplication_id: object) -> None:
    """Raise InvalidName unless this is a valid deduplication id. It is the last part of its key, so it may hold ':'."""
    if not isinstance(deduplication_id, str) or not deduplication_id:
        raise InvalidName(
            f"deduplication.id: {deduplication_id!r} is empty or not text; give what makes two jobs the same, such as 'user:42'"
        )
    _check_text("deduplication.id", deduplication_id)


def _check_text(field: str, text: str) -> None:
    if _CONTROL.search(text):
        raise InvalidName(f"{field}: {text!r} holds control characters; use printable text")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidName(f"{field}: {text!r} is not valid Unicode (a lone surrogate); use printable text") from None
    if size > MAX_NAME_BYTES:
        raise InvalidName(
            f"{field}: {size} bytes are over the limit of {MAX_NAME_BYTES}; use a shorter one, such as a digest"
        )
