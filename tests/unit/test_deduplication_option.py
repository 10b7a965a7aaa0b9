"""The option `deduplication`: accepted values, stored form, error messages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from engine import Deduplication, NewJob, errors
from engine.model.options import JobOptions, read_options


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"id": "user:42"}, b'{"id":"user:42"}'),
        ({"id": "d", "ttl": timedelta(seconds=5), "extend": True}, b'{"id":"d","ttl":5000,"extend":true}'),
        ({"id": "d", "replace": True, "ttl": 9}, b'{"id":"d","ttl":9,"replace":true}'),
        ({"id": "d", "keep_last_if_active": True}, b'{"id":"d","keepLastIfActive":true}'),
        ({"id": "d", "reschedule": True, "replace": False}, b'{"id":"d","reschedule":true}'),
        (Deduplication("d", 5), b'{"id":"d","ttl":5}'),
    ],
)
def test_it_is_stored_in_bullmqs_words_and_read_again(given: Any, stored: bytes) -> None:
    options = JobOptions.check({"deduplication": given})
    assert options.to_wire() == b'{"attempts":0,"de":' + stored + b"}"
    assert read_options(options.to_wire()).deduplication == options.deduplication


@pytest.mark.parametrize("stored", [b"7", b"null", b"{}", b'{"id":5}', b'{"id":"d","ttl":"x","extend":1}'])
def test_unreadable_stored_deduplication_is_ignored(stored: bytes) -> None:
    found = read_options(b'{"de":' + stored + b"}").deduplication
    assert found in (None, Deduplication("d"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("d", r'is not a dict; give {"id": "user:42"}'),
        ({}, "deduplication.id: None is empty or not text"),
        ({"id": ""}, "deduplication.id: '' is empty"),
        ({"id": 42}, "deduplication.id: 42 is empty or not text"),
        ({"id": "a\nb"}, "control characters"),
        ({"id": "x" * 129}, "129 bytes are over the limit of 128"),
        ({"id": "d", "ttl": 0}, "deduplication.ttl: 0 ms would deduplicate nothing"),
        ({"id": "d", "ttl": -5}, "deduplication.ttl: -5 is negative"),
        ({"id": "d", "ttl": 0.5}, "deduplication.ttl: 0.5 is not a duration"),
        ({"id": "d", "extend": True}, "deduplication.extend: .* give a ttl"),
        ({"id": "d", "replace": 1}, "deduplication.replace: 1 is neither True nor False"),
        (
            {"id": "d", "replace": True, "keep_last_if_active": True},
            "replace and keep_last_if_active exclude each other",
        ),
        ({"id": "d", "replace": True, "reschedule": True}, "replace and reschedule exclude each other"),
        (
            {"id": "d", "keep_last_if_active": True, "ttl": 5},
            "deduplication.ttl: it has no effect with keep_last_if_active",
        ),
        (
            {"id": "d", "keepLastIfActive": True},
            "unknown field 'keepLastIfActive'; fields are id, ttl, extend, replace,",
        ),
    ],
)
def test_it_is_refused_when_it_is_set(given: Any, said: str) -> None:
    with pytest.raises(errors.InvalidInput, match=said):
        NewJob("n", deduplication=given)
