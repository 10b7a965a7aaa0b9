"""Assertions on the jobs that the code under test has enqueued. They work with any open Queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from msgspec import UNSET

from engine.job import Job
from engine.model import codec
from engine.model.options import AddOptions, JobOptions
from engine.model.records import Target, signature_of
from engine.queue import Queue, State

_STATES: tuple[State, ...] = ("waiting", "prioritized", "delayed", "waiting-children")
_SHOWN = 10


async def enqueued(
    queue: Queue, name: str | Target[Any, Any] | None = None, data: Any = UNSET, **options: Unpack[AddOptions]
) -> list[Job[Any, Any]]:
    """The waiting and delayed jobs of this name or processor, with this data and these options.

    data: what the jobs' data must contain. Objects may have further fields, at any depth; all other values must be equal. A
    Struct is compared as the JSON that it is encoded to.
    options: as for `Queue.add`; only those given are compared. Raises InvalidOption for an unknown option.
    """
    checked = JobOptions.check(options)
    wanted_name = name if name is None or isinstance(name, str) else signature_of(name).name
    wanted = UNSET if data is UNSET else codec.decode("data", codec.encode("data", data))
    return [
        job
        for job in await _waiting(queue)
        if (wanted_name is None or job.name == wanted_name)
        and (wanted is UNSET or _contains(job.data, wanted))
        and all(_has_option(option, job.opts, checked) for option in options)
    ]


async def assert_enqueued(
    queue: Queue,
    name: str | Target[Any, Any] | None = None,
    data: Any = UNSET,
    *,
    times: int | None = None,
    **options: Unpack[AddOptions],
) -> list[Job[Any, Any]]:
    """Assert that such jobs wait: at least one, or exactly `times`. Returns them. Arguments as for `enqueued`."""
    found = await enqueued(queue, name, data, **options)
    if len(found) == times or (times is None and found):
        return found
    expected = "at least one job" if times is None else f"{times} {'job' if times == 1 else 'jobs'}"
    raise AssertionError(
        f"{expected} {_described(name, data, options)} expected, {len(found)} found; {await _listed(queue)}"
    )


async def assert_not_enqueued(
    queue: Queue, name: str | Target[Any, Any] | None = None, data: Any = UNSET, **options: Unpack[AddOptions]
) -> None:
    """Assert that no such job waits. Arguments as for `enqueued`."""
    found = await enqueued(queue, name, data, **options)
    if found:
        raise AssertionError(f"no job {_described(name, data, options)} expected; {await _listed(queue)}")


def _has_option(option: str, opts: JobOptions, wanted: JobOptions) -> bool:
    if option == "run_at":
        return (opts.timestamp or 0) + opts.delay == (wanted.timestamp or 0) + wanted.delay
    return bool(getattr(opts, option) == getattr(wanted, option))


async def _waiting(queue: Queue) -> list[Job[Any, Any]]:
    found: list[Job[Any, Any]] = []
    for state in _STATES:
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


def _described(name: str | Target[Any, Any] | None, data: Any, options: Mapping[str, Any]) -> str:
    parts = ["of any name" if name is None else f"named {name!r}"]
    if data is not UNSET:
        parts.append(f"with data {data!r}")
    parts += [f"{option}={value!r}" for option, value in options.items()]
    return " ".join(parts)


async def _listed(queue: Queue) -> str:
    jobs = await _waiting(queue)
    if not jobs:
        return f"no job waits in queue {queue.name!r}"
    lines = [f"\n  {job.name} {job.id}: {job.data!r}" for job in jobs[:_SHOWN]]
    more = f"\n  and {len(jobs) - _SHOWN} more" if len(jobs) > _SHOWN else ""
    return f"queue {queue.name!r} has:{''.join(lines)}{more}"
