"""WorkerOptions: what a worker was asked to do, checked."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from msgspec import Struct

from engine.connection import RedisSettings
from engine.errors import InvalidOption
from engine.metrics import MAX_METRICS
from engine.middleware import AroundRun, check_middleware
from engine.model.backoff import BUILT_IN, Strategy, check_strategy_name
from engine.model.checks import whole_number
from engine.model.clock import duration_ms
from engine.model.codec import check_type
from engine.model.keys import Keys
from engine.model.limits import RateLimit, worker_limit
from engine.model.options import Keep
from engine.processor import Processor, as_processor
from engine.worker.dependencies import Dependencies
from engine.worker.loops.dead_letter_alert import Alert, check_alert, check_kept
from engine.worker.run_in.children import reference
from engine.worker.runner import Routes

MAX_CONCURRENCY = 100_000


class WorkerOptions(Struct, frozen=True):
    """The parameters of a Worker as its runtime takes them; durations in milliseconds. See `Worker` for their meaning."""

    keys: Keys
    redis: RedisSettings
    name: str
    processors: Sequence[Processor[Any, Any]]
    concurrency: int
    lock_ms: int
    renew_ms: int
    stalled_ms: int
    max_stalled: int
    keep_completed: Keep
    keep_failed: Keep
    dead_letters: Keep | None
    """None: none are written."""
    dead_letter_alert: tuple[int, Alert] | None
    metrics: int | str
    """Minutes; "" counts nothing."""
    backoffs: Mapping[str, Strategy]
    drain_ms: int
    limiter: str
    processes: int
    cancel_grace_ms: int
    allow: frozenset[str]
    require_durable: bool
    middleware: Sequence[AroundRun]
    dependencies: Dependencies

    @classmethod
    def check(
        cls,
        queue_name: str,
        processors: Sequence[Any],
        *,
        redis: str | RedisSettings | None,
        prefix: str,
        concurrency: int,
        name: str | None,
        lock_duration: int | timedelta,
        lock_renew: int | timedelta | None,
        stalled_interval: int | timedelta,
        max_stalled: int,
        remove_on_complete: Any,
        remove_on_fail: Any,
        dead_letters: Any,
        dead_letter_alert: Any,
        metrics: int | None,
        backoffs: Mapping[str, Strategy] | None,
        drain_delay: int | timedelta,
        limiter: Mapping[str, Any] | RateLimit | None,
        processes: int | None,
        cancel_grace: int | timedelta,
        allow: frozenset[str],
        require_durable: bool,
        middleware: Sequence[AroundRun] | None,
        dependencies: Sequence[Any] | None,
    ) -> WorkerOptions:
        """Raises InvalidOption, InvalidName or InvalidInput; the message names the parameter."""
        keys, settings = Keys(queue_name, prefix), RedisSettings.parse(redis)
        slots = whole_number("concurrency", concurrency, 1, MAX_CONCURRENCY)
        lock_ms = _milliseconds("lock_duration", lock_duration, 100, 3_600_000)
        renew = lock_ms // 3 if lock_renew is None else lock_renew
        strategies = _strategies(backoffs or {})
        checked = _processors(processors, queue_name, slots, strategies)
        return cls(
            keys=keys,
            redis=settings,
            name=f"{socket.gethostname()}-{os.getpid()}" if name is None else _name(name),
            processors=checked,
            concurrency=slots,
            lock_ms=lock_ms,
            renew_ms=_milliseconds("lock_renew", renew, 10, lock_ms - 1),
            stalled_ms=_milliseconds("stalled_interval", stalled_interval, 100, 3_600_000),
            max_stalled=whole_number("max_stalled", max_stalled, 0, 1_000_000),
            keep_completed=_keep("remove_on_complete", remove_on_complete),
            keep_failed=_keep("remove_on_fail", remove_on_fail),
            dead_letters=check_kept(dead_letters),
            dead_letter_alert=check_alert(dead_letter_alert),
            metrics="" if metrics is None else whole_number("metrics", metrics, 1, MAX_METRICS),
            backoffs=strategies,
            drain_ms=_milliseconds("drain_delay", drain_delay, 10, 60_000),
            limiter=worker_limit(limiter),
            processes=(os.cpu_count() or 1) if processes is None else whole_number("processes", processes, 1, 1_000),
            cancel_grace_ms=_milliseconds("cancel_grace", cancel_grace, 10, 3_600_000),
            allow=frozenset(allow),
            require_durable=require_durable,
            middleware=check_middleware(middleware),
            dependencies=Dependencies(dependencies, checked),
        )

    def check_concurrency(self, value: Any) -> int:
        """Another number of slots for the same worker. Raises InvalidOption."""
        checked = whole_number("concurrency", value, 1, MAX_CONCURRENCY)
        _check_batches(self.processors, self.keys.queue, checked)
        return checked


def _processors(
    functions: Sequence[Any], queue_name: str, concurrency: int, backoffs: Mapping[str, Strategy]
) -> list[Processor[Any, Any]]:
    if not functions:
        raise InvalidOption(
            "processors: none was given; a worker needs at least one, such as Worker('sms-queue', send_sms)"
        )
    processors = [as_processor(one) for one in functions]
    for processor in processors:
        check_type(f"data of {processor!r}", processor.data_type)
        check_type(f"result of {processor!r}", processor.result_type, decodes=False)
        if processor.run_in == "process":
            reference(processor)
        backoff = processor.backoff
        if backoff is not None and backoff.type not in BUILT_IN and backoff.type not in backoffs:
            raise InvalidOption(
                f"backoff: {processor!r} names {backoff.type!r}, which this worker does not have; give"
                f" Worker(..., backoffs={{{backoff.type!r}: function}})"
            )
    _check_batches(processors, queue_name, concurrency)
    Routes(processors)  # raises if two processors take one name
    return processors


def _check_batches(processors: Sequence[Processor[Any, Any]], queue_name: str, concurrency: int) -> None:
    for processor in processors:
        if processor.batch is not None and processor.batch.size > concurrency:
            raise InvalidOption(
                f"concurrency: {processor!r} takes batches of {processor.batch.size} jobs, and a worker of {queue_name} that runs "
                f"{concurrency} at once cannot fill one; give it concurrency={processor.batch.size} or more, or a smaller size"
            )


def _milliseconds(name: str, value: int | timedelta, low: int, high: int) -> int:
    ms = duration_ms(name, value)
    if not low <= ms <= high:
        raise InvalidOption(f"{name}: {ms} ms is not between {low:,} and {high:,}; durations are in milliseconds")
    return ms


def _keep(name: str, value: Any) -> Keep:
    return Keep() if value is None else Keep.check(name, value)


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name or len(name) > 128 or not name.isprintable():
        raise InvalidOption(f"name: {name!r} is not printable text of 1 to 128 characters")
    return name


def _strategies(backoffs: Mapping[str, Strategy]) -> dict[str, Strategy]:
    for name, strategy in backoffs.items():
        if name in BUILT_IN:
            raise InvalidOption(f"backoffs: {name!r} is built in; give your own strategy another name")
        check_strategy_name("backoffs", name)
        if not callable(strategy):
            raise InvalidOption(f"backoffs: {name!r} is {strategy!r}; give a function of (attempts_made, error)")
    return dict(backoffs)
