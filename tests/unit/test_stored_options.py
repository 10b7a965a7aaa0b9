"""Reading the stored options of many jobs keeps little of them in memory."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable

import pytest

from engine.cli.migrate.job_rules import StoredJob, job_rules
from engine.model.cron import cron_of
from engine.model.options import read_options

SIZE = 10_000


def _options(number: int) -> bytes:
    return json.dumps({"attempts": 3, "metadata": f"{number}".ljust(SIZE)}).encode()


def _read(number: int) -> None:
    assert read_options(_options(number)).attempts == 3


def _read_in_a_check(number: int) -> None:
    assert ("unknown-option", "metadata") in job_rules(StoredJob("1", "wait", name=b"n", opts=_options(number)))


def _read_a_pattern(number: int) -> None:
    minutes = ",".join(str(minute % 60) for minute in range(number, number + SIZE // 3))
    assert next(cron_of(f"{minutes} * * * *", "UTC").after(0)) > 0


@pytest.mark.parametrize("read", [_read, _read_in_a_check, _read_a_pattern])
def test_long_texts_are_not_kept(read: Callable[[int], None]) -> None:
    read(-1)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(40):
            read(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 15 * SIZE
    finally:
        tracemalloc.stop()


def test_short_options_are_read_once() -> None:
    stored = b'{"attempts":7}'
    assert read_options(stored) is read_options(bytes(bytearray(stored)))
