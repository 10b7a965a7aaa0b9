"""What code under test has put into a queue. Works with any open Queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from msgspec import UNSET

from engine.job import Job
from engine.model import codec
from engine.model.options import AddOptions, JobOptions
from engine.model.records import Target, signature_of
from engine.queue import Queue, State

_IN_LINE: tuple[State, ...] = ("waiting", "prioritized", "delayed", "waiting-children")
_SHOWN = 10


async def enqueued(
    queue: Queue, name: str | Target[Any, Any] | None = None, data: Any = UNSET, **options: Unpack[AddOptions]
) -> list[Job[Any, Any]]:
    """The jobs that wait to be run, delayed ones too, of this name or processor, with this data and these options.

    data: what the jobs' data must contain. An object may have more fields than are given here, at any depth; all else is
    compared as it is. A Struct is compared as the JSON it becomes.
    options: as for `Queue.add`; those that are given are compared. Raises InvalidOption for one that does not exist.
    """
    checked = JobOptions.check(options)
    word = name if name is None or isinstance(name, str) else signature_of(name).name
    wanted = UNSET if data is UNSET else codec.decode("data", codec.encode("data", data))
    return [
        job
        for job in await _in_line(queue)
        if (word is None or job.name == word)
        and (wanted is UNSET or _contains(job.data, wanted))
        and all(_is_so(option, job.opts, checked) for option in options)
    ]


async def assert_enqueued(
    queue: Queue,
    name: str | Target[Any, Any] | None = None,
    data: Any = UNSET,
    *,
    times: int | None = None,
    **options: Unpack[AddOptions],
) -> list[Job[Any, Any]]:
    """Fail unless such jobs wait to be run: at least one, or exactly `times`. Returns them. See `enqueued`."""
    found = await enqueued(queue, name, data, **options)
    if len(found) == times or (times is None and found):
        return found
    expected = "at least one job" if times is None else f"{times} {'job' if times == 1 else 'jobs'}"
    raise AssertionError(
        f"{expected} {_asked(name, data, options)} expected, {len(found)} found; {await _there(queue)}"
    )


async def assert_not_enqueued(
    queue: Queue, name: str | Target[Any, Any] | None = None, data: Any = UNSET, **options: Unpack[AddOptions]
) -> None:
    """Fail if such a job waits to be run. See `enqueued`."""
    found = await enqueued(queue, name, data, **options)
    if found:
        raise AssertionError(f"no job {_asked(name, data, options)} expected; {await _there(queue)}")


def _is_so(option: str, opts: JobOptions, wanted: JobOptions) -> bool:
    if option == "run_at":
        return (opts.timestamp or 0) + opts.delay == (wanted.timestamp or 0) + wanted.delay
    return bool(getattr(opts, option) == getattr(wanted, option))


async def _in_line(queue: Queue) -> list[Job[Any, Any]]:
    found: list[Job[Any, Any]] = []
    for state in _IN_LINE:
        start = len(found)
        while page := await queue.jobs(state, len(found) - start, len(found) - start + 999):
            found += page
    return found


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and _contains(value[key], inner) for key, inner in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(value, list)
            and len(value) == len(wanted)
            and all(_contains(*pair) for pair in zip(value, wanted, strict=True))
        )
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _asked(name: str | Target[Any, Any] | None, data: Any, options: Mapping[str, Any]) -> str:
    parts = ["of any name" if name is None else f"named {name!r}"]
    if data is not UNSET:
        parts.append(f"with data {data!r}")
    parts += [f"{option}={value!r}" for option, value in options.items()]
    return " ".join(parts)


async def _there(queue: Queue) -> str:
    jobs = await _in_line(queue)
    if not jobs:
        return f"queue {queue.name!r} has no job in line"
    lines = [f"\n  {job.name} {job.id}: {job.data!r}" for job in jobs[:_SHOWN]]
    more = f"\n  and {len(jobs) - _SHOWN} more" if len(jobs) > _SHOWN else ""
    return f"queue {queue.name!r} has in line:{''.join(lines)}{more}"
