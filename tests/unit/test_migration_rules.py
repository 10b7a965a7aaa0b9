"""`corral migrate check` on single jobs and schedules, by their stored fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.cli.migrate.catalogue import KINDS
from engine.cli.migrate.job_rules import StoredJob, is_job_key, job_rules
from engine.cli.migrate.schedule_rules import FoundSchedule, schedule_rules
from engine.errors import InvalidInput
from engine.model.options import JobOptions

PLAIN = {"attempts": 3, "removeOnComplete": True}


def job(opts: Any = None, *, data: bytes = b"{}", state: str = "wait", **fields: Any) -> StoredJob:
    text = opts if isinstance(opts, bytes) else json.dumps({**PLAIN, **(opts or {})}).encode()
    return StoredJob(
        **{"id": "1", "state": state, "size": len(data), "name": b"n", "opts": text, "data": data, **fields}
    )


def said(found: StoredJob) -> set[str]:
    codes = {code for code, _ in job_rules(found)}
    assert codes <= KINDS.keys()
    return codes


def test_a_job_that_says_what_it_wants_gives_nothing_to_say() -> None:
    assert said(job()) == set()
    child = {"parent": {"id": "7", "queue": "bull:reports"}, "fpof": True, "jobId": "a-1", "kl": 3, "tm": "x"}
    assert said(job(child, parent=b'{"id":"7","queueKey":"bull:reports","fpof":true}')) == set()
    run = {
        "repeat": {"every": 5, "count": 1},
        "jobId": "repeat:tick:17",
        "prevMillis": 17,
        "repeatJobKey": "tick",
        "delay": 3,
    }
    assert said(job(run, id="repeat:tick:17", schedule=b"tick")) == set()


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (job(name=None), "no-name"),
        (job(data=b"{oops"), "bad-data"),
        (job(b"[1]"), "bad-options"),
        (job(b"\xff"), "bad-options"),
        (job(parent=b"nobody"), "bad-parent"),
        (job({"timeout": 5000}), "timeout-heeded"),
        (job({"backoff": {"type": "ladder"}}), "own-backoff"),
        (job(old_attempts=b"2"), "legacy-attempts"),
        (job(schedule=b"tick"), "schedule-without-repeat"),
        (job({"jobId": "a:b:c"}), "option-refused"),
        (job({"priority": 2**21}), "option-refused"),
        (job({"lifo": True, "priority": 2}), "option-refused"),
        (job(size=2**20 + 1), "large-data"),
        (job({"attemtps": 3}), "unknown-option"),
        (job({"group": {"id": "g"}}), "groups"),
        (job({"attempts": 0}), "attempts-open"),
        (job(b'{"attempts":3}'), "kept-for-ever"),
        (StoredJob("meta", "wait", name=b"n"), "id-of-a-structure"),
        (StoredJob("9", "wait"), "missing-hash"),
    ],
)  # fmt: skip
def test_each_difference_is_reported_by_its_code(found: StoredJob, code: str) -> None:
    assert said(found) == {code}


def test_finished_jobs_report_only_producer_problems() -> None:
    assert said(job({"attempts": 0}, state="completed", data=b"{oops")) == set()
    assert said(job({"priority": 2**21}, state="completed")) == {"option-refused"}
    assert said(job({"backoff": 1000}, state="failed")) == set()


def test_a_refused_option_has_the_producers_message() -> None:
    with pytest.raises(InvalidInput) as refused:
        JobOptions.check({"job_id": "a:b:c"})
    assert ("option-refused", str(refused.value)) in list(job_rules(job({"jobId": "a:b:c"})))


def test_a_list_of_waits_is_known_by_its_waits() -> None:
    waits = {"type": "list", "delays": [1, 2], "delay": 0}
    assert said(job({"backoff": waits})) == set()
    assert "own-backoff" in said(job({"backoff": {"type": "list", "delay": 5}})), "a strategy of somebody's own"


def test_a_custom_backoff_needs_more_than_one_attempt() -> None:
    assert said(job({"backoff": {"type": "ladder"}, "attempts": 1})) == set()


@pytest.mark.parametrize(
    ("suffix", "is_job"),
    [
        ("17", True),
        ("a-1", True),
        ("a:b:c", True),
        ("repeat:tick:1795485221080", True),
        ("repeat:tick", False),
        ("17:lock", False),
        ("a:b:c:dependencies", False),
        ("wait", False),
        ("stalled-check", False),
        ("de:a:b", False),
        ("dn:x", False),
        ("metrics:failed:data", False),
        ("corral:dead:open", False),
        ("groups:a", False),
    ],
)
def test_the_key_of_a_job_is_told_by_its_end(suffix: str, is_job: bool) -> None:
    assert is_job_key(suffix) is is_job


NOW = 1_795_485_220_000
DAILY = {"name": "n", "pattern": "0 9 * * *", "tz": "UTC", "ic": "1"}


RUN = b'{"attempts":0,"repeat":{"every":5000,"count":1},"jobId":"repeat:s:1","delay":3,"timestamp":5}'
"""The options of a run that has none but those of its own."""


def of_schedule(fields: dict[str, str], *, has_run: bool = True, id: str = "s", run: bytes = RUN) -> set[str]:
    codes = {code for code, _ in schedule_rules(FoundSchedule(id, NOW + 1000, fields, has_run, run), NOW)}
    assert codes <= KINDS.keys()
    return codes


@pytest.mark.parametrize(
    "pattern", ["0 0 L * *", "0 0 * * 1L", "0 0 ? * 1", "0 0 * * 1#2", "*/30 * * * * *", "@daily", "0 0 13 * 5"]
)
def test_a_pattern_that_both_read_alike_gives_nothing_to_say(pattern: str) -> None:
    assert of_schedule({**DAILY, "pattern": pattern}) == set()


@pytest.mark.parametrize(
    ("fields", "codes"),
    [
        ({**DAILY, "pattern": "0 0 * * FRIL"}, {"schedule-refused"}),
        ({**DAILY, "pattern": "@weekdays"}, {"schedule-refused"}),
        ({**DAILY, "pattern": "H H * * *"}, {"schedule-refused"}),
        ({**DAILY, "tz": "Mars/Olympus"}, {"schedule-refused"}),
        ({**DAILY, "tz": ""}, {"schedule-without-zone"}),
        ({**DAILY, "pattern": "0 0 */2 * 1"}, {"schedule-days"}),
        ({**DAILY, "pattern": "0 0 1 * */2"}, {"schedule-days"}),
        ({**DAILY, "pattern": "0 9 1,15 * 1#2"}, {"schedule-nth-weekday"}),
        ({**DAILY, "opts": "[]"}, {"schedule-options"}),
        ({"name": "n", "every": "5000"}, {"schedule-in-runs"}),
        ({}, {"schedule-without-record"}),
    ],
)
def test_what_differs_of_a_schedule_is_said_by_its_code(fields: dict[str, str], codes: set[str]) -> None:
    assert of_schedule(fields) == codes


def test_a_schedule_that_leaves_its_options_to_its_runs() -> None:
    run = b'{"removeOnComplete":50,' + RUN[1:]
    found = dict(schedule_rules(FoundSchedule("s", NOW, {"name": "n", "every": "5000"}, True, run), NOW))
    assert found == {"schedule-in-runs": "data, options"}
    assert of_schedule(DAILY, run=run) == {"schedule-in-runs"}
    assert of_schedule({**DAILY, "opts": '{"attempts":4}'}, run=run) == set()


def test_repeatable_jobs_are_told_by_their_keys() -> None:
    daily = {"name": "tick", "pattern": "0 9 * * *", "tz": "UTC"}
    old = "tick:::UTC:0 9 * * *"
    assert of_schedule(daily, id=old, has_run=False) == {"schedule-legacy"}
    assert of_schedule({}, id=old, has_run=False) == {"schedule-legacy"}, "BullMQ 4 keeps no record"
    assert of_schedule({}, id="tick::::no pattern", has_run=False) == {"schedule-legacy", "schedule-refused"}
    assert of_schedule(daily, id="ef7848a7b7a0af132d1ee6ae584cd243") == {"schedule-legacy"}
    assert of_schedule({**daily, "ic": "1"}, id="ef7848a7b7a0af132d1ee6ae584cd243") == set()


def test_a_schedule_without_its_next_run_has_stopped() -> None:
    assert of_schedule(DAILY, has_run=False) == {"schedule-stopped"}
    assert of_schedule({**DAILY, "limit": "3", "ic": "3"}, has_run=False) == set()
    assert of_schedule({**DAILY, "endDate": str(NOW - 1)}, has_run=False) == set()
    assert of_schedule(DAILY, id="a:b") == {"schedule-id"}
