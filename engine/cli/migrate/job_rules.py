"""Rules for one stored job. No I/O: takes the fields of its hash and uses the engine's own readers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from engine.errors import InvalidInput
from engine.model import codec, wire
from engine.model.backoff import BUILT_IN
from engine.model.options import MAX_CACHED, JobOptions, Parent, read_options
from engine.model.wire import JOB_HELPERS

Rules = Iterator[tuple[str, str]]
"""Codes of the catalogue that apply, each with details of this job."""

FINISHED: Final = ("completed", "failed")

_KNOWN: Final = frozenset({
    "attempts", "backoff", "delay", "priority", "lifo", "jobId", "timestamp", "removeOnComplete", "removeOnFail", "stackTraceLimit",
    "sizeLimit", "parent", "repeat", "prevMillis", "repeatJobKey", "timeout", "expiresIn", "de", "kl", "tm", "omc", "fpof", "rdof",
    "idof", "cpof", "group", "debounce", "deduplication", "keepLogs", "startDate", "endDate", "count", "offset", "key",
})  # fmt: skip
_BULLMQ_BACKOFFS: Final = ("fixed", "exponential")


class StoredJob(Struct, frozen=True):
    """The fields of a job's hash that the rules ask for. `data` is None where it was not read, `size` is its bytes."""

    id: str
    state: str
    size: int = 0
    name: bytes | None = None
    opts: bytes | None = None
    parent: bytes | None = None
    schedule: bytes | None = None
    old_attempts: bytes | None = None
    next_run: bytes | None = None
    data: bytes | None = None

    @property
    def is_there(self) -> bool:
        """As a claim decides it: a hash with none of the three fields is the rest of a job, or is not a job."""
        return self.name is not None or self.opts is not None or self.size > 0


def job_rules(job: StoredJob) -> Rules:
    """The findings of a job, also of one whose hash is missing."""
    if job.id in wire.STRUCTURES or job.id == wire.PRIVATE:
        yield "id-of-a-structure", ""
    elif not job.is_there:
        yield "missing-hash", job.state
    else:
        yield from _of_fields(job)
        yield from _of_options(job)


def _of_fields(job: StoredJob) -> Rules:
    if job.size > codec.DEFAULT_MAX_PAYLOAD:
        yield "large-data", f"{job.size:,} bytes"
    if job.state in FINISHED:
        return
    if job.name is None:
        yield "no-name", ""
    if job.data is not None and (problem := _unreadable(job.data)):
        yield "bad-data", problem
    if job.parent is not None and not isinstance(_decoded(job.parent), dict):
        yield "bad-parent", ""
    if job.old_attempts is not None:
        yield "legacy-attempts", job.old_attempts.decode(errors="replace")


def _of_options(job: StoredJob) -> Rules:
    finished = job.state in FINISHED
    try:
        opts = job.opts or b"{}"
        yield from (_known_rules if len(opts) <= MAX_CACHED else _options_rules)(opts, finished)
        if (
            job.schedule is not None
            and not finished
            and not isinstance(_STORED.decode(job.opts or b"{}").get("repeat"), dict)
        ):
            yield "schedule-without-repeat", job.schedule.decode(errors="replace")
    except (ValueError, RecursionError) as error:
        if not finished:
            yield "bad-options", str(error)


def _options_rules(opts: bytes, finished: bool) -> tuple[tuple[str, str], ...]:
    """Raises ValueError where the text is no JSON object."""
    found, options = _STORED.decode(opts), read_options(opts)
    found_rules = list(() if finished else _of_next_run(options))
    if problem := _refused(options):
        found_rules.append(("option-refused", problem))
    if unknown := sorted(found.keys() - _KNOWN):
        found_rules.append(("unknown-option", ", ".join(unknown)))
    if "group" in found:
        found_rules.append(("groups", "option group"))
    return tuple(found_rules)


_known_rules = lru_cache(maxsize=1024)(_options_rules)
_STORED = msgspec.json.Decoder(dict[str, Any])


def _of_next_run(options: JobOptions) -> Rules:
    if options.timeout or options.expires_in:
        limits = {"timeout": options.timeout, "expiresIn": options.expires_in}
        yield "timeout-heeded", ", ".join(f"{name} {ms} ms" for name, ms in limits.items() if ms)
    if options.attempts > 1 and options.backoff is not None and not _is_known(options):
        yield "own-backoff", options.backoff.type
    if options.attempts == 0:
        yield "attempts-open", ""
    if options.remove_on_complete is None:
        yield "kept-for-ever", ""


def _is_known(options: JobOptions) -> bool:
    """Whether a worker without strategies of its own knows the backoff; "list" is ours only if it has its delays."""
    backoff = options.backoff
    assert backoff is not None
    return backoff.type in _BULLMQ_BACKOFFS or (backoff.type in BUILT_IN and bool(backoff.delays))


def _refused(options: JobOptions) -> str:
    """Why our producers would refuse these options; empty if they would not."""
    given = options.given()
    if (options.job_id or "").startswith("repeat:"):
        del given["job_id"]  # a schedule's run: not chosen by a producer
    if options.parent is not None:
        # Stored with the prefix before it, which a producer does not give.
        given["parent"] = Parent(options.parent.id, options.parent.queue.rpartition(":")[2] or "q")
    try:
        JobOptions.check(given)
    except InvalidInput as error:
        return str(error)
    return ""


def _unreadable(data: bytes) -> str:
    try:
        codec.decode("data", data)
    except InvalidInput as error:
        return str(error)
    return ""


def _decoded(text: bytes) -> Any:
    try:
        return codec.decode("parent", text)
    except InvalidInput:
        return None


def is_job_key(suffix: str) -> bool:
    """Whether a key may be a job's hash, by its suffix: not a structure of the queue, nor a helper key of a job."""
    head, _, rest = suffix.partition(":")
    if suffix in wire.STRUCTURES or head in ("de", "dn", "metrics", "groups", wire.PRIVATE):
        return False
    if head == "repeat":
        return rest.rpartition(":")[2].isdecimal()
    return suffix.rpartition(":")[2] not in JOB_HELPERS
