"""Job options: durations, points in time, near misses and their suggestions."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.errors import InvalidOption
from engine.model.clock import read_duration
from engine.model.limits import RateLimit
from engine.model.options import JobOptions, Keep
from engine.model.records import NewJob
from engine.worker import Worker
from engine.worker.process.arguments import read_arguments

WORDS = {
    "dealy": "did you mean 'delay'?",
    "jobId": "did you mean 'job_id'?",
    "removeOnComplete": "did you mean 'remove_on_complete'?",
    "countdown": "Celery's word; use delay=",
    "eta": "Celery's word; use run_at=",
    "max_retries": "Celery's word; use attempts=, which counts the first run too",
    "retries": "Celery's word; use attempts=",
    "job_timeout": "RQ's word; use timeout=",
    "at_front": "RQ's word; use lifo=True",
    "_defer_by": "arq's word; use delay=",
    "_defer_until": "arq's word; use run_at=",
    "colour": "unknown option; a job has attempts, backoff, ",
}


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_is_no_option_gets_the_right_one(word: str) -> None:
    with pytest.raises(InvalidOption) as told:
        JobOptions.check({word: 5})
    assert str(told.value).startswith(f"{word}: ")
    assert WORDS[word] in str(told.value)


FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"backoff": {"type": "fixed", "dely": 5}}, "backoff: unknown field 'dely'.*did you mean 'delay'"),
    ({"remove_on_fail": {"cuont": 5}}, "remove_on_fail: unknown field 'cuont'.*did you mean 'count'"),
    ({"deduplication": {"id": "x", "keepLastIfActive": True}}, "did you mean 'keep_last_if_active'"),
    ({"backoff": {"type": "expo", "delay": 5}}, "backoff.type: 'expo'.*did you mean 'exponential'"),
    ({"backoff": {"type": "Fixed", "delay": 5}}, "did you mean 'fixed'"),
    ({"backoff": {"type": "exponential"}}, "backoff.delay: .* needs a delay over 0"),
]


@pytest.mark.parametrize(("options", "told"), FIELDS)
def test_a_near_miss_of_a_field_or_type_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidOption, match=told):
        NewJob("x", **options)


def test_a_strategy_of_ones_own_has_a_name_of_its_own() -> None:
    assert JobOptions.check({"backoff": {"type": "steps"}}).backoff is not None
    with pytest.raises(InvalidOption, match="backoffs: 'expo' is not a type; did you mean 'exponential'"):
        Worker("q", lambda job: None, backoffs={"expo": lambda made, error: 5})


def test_keep_age_is_ms_and_seconds_on_the_wire() -> None:
    for given in (Keep(age=90_000), Keep(age=timedelta(minutes=1.5)), {"age": 90}, {"age": timedelta(seconds=90)}):
        keep = JobOptions.check({"remove_on_complete": given}).remove_on_complete
        assert keep == Keep(age=90_000)
        assert keep.to_wire() == {"age": 90}
        assert Keep.from_wire({"age": 90}) == keep
    assert Keep(age=1).to_wire() == {"age": 1}, "rounded up: 0 would keep nothing"
    with pytest.raises(InvalidOption, match=r"remove_on_complete.age: .* is over ten years"):
        JobOptions.check({"remove_on_complete": {"age": 10**15}})
    with pytest.raises(InvalidOption, match=r"remove_on_complete.age: 1.5"):
        JobOptions.check({"remove_on_complete": Keep(age=1.5)})  # type: ignore[arg-type]


def test_run_at_sets_timestamp_and_delay() -> None:
    moment = datetime.now(UTC) + timedelta(hours=1)
    options = JobOptions.check({"run_at": moment})
    assert options.timestamp is not None
    assert options.timestamp + options.delay == round(moment.timestamp() * 1000)
    assert abs(options.timestamp - time.time() * 1000) < 60_000
    fixed = JobOptions.check(
        {"run_at": datetime(2030, 1, 1, tzinfo=UTC), "timestamp": datetime(2029, 12, 31, tzinfo=UTC)}
    )
    assert fixed.delay == 86_400_000
    assert JobOptions.check({"run_at": datetime(2020, 1, 1, tzinfo=UTC)}).delay == 0
    refused: list[tuple[dict[str, Any], str]] = [
        ({"run_at": datetime(2030, 1, 1)}, "run_at: .* is not an aware datetime"),
        ({"run_at": 5}, "run_at: 5 is not an aware datetime"),
        ({"run_at": moment, "delay": 5}, "run_at: `delay` is given too"),
    ]
    for wrong, told in refused:
        with pytest.raises(InvalidOption, match=told):
            JobOptions.check(wrong)


TEXTS = {"5": 5, "500ms": 500, "30s": 30_000, "2m": 120_000, "1h": 3_600_000, "7d": 604_800_000, "0": 0, " 5s ": 5_000}


@pytest.mark.parametrize("text", TEXTS)
def test_a_duration_in_text_has_a_unit_or_is_milliseconds(text: str) -> None:
    assert read_duration("x", text) == TEXTS[text]


def test_the_command_line_takes_durations_with_their_unit() -> None:
    words = "--grace 2m --lock-duration 20s --stalled-interval 500 --cancel-grace 500ms --limit 100/1m"
    options = read_arguments(words.split(), {})
    assert (options.grace, options.lock_duration, options.stalled_interval) == (120_000, 20_000, 500)
    assert (options.settings.cancel_grace, options.limiter) == (500, RateLimit(100, 60_000))


@pytest.mark.parametrize("text", ["", "s", "1.5s", "-1", "5 s", "5sec", "٥", "99999999999999d"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"^x: "):
        read_duration("x", text)
