"""Backoff delays: within formula, jitter and cap, for any numbers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidOption
from engine.model.backoff import DEFAULT_JITTER, Backoff, delay_before_retry
from engine.model.clock import MAX_DURATION_MS
from engine.model.options import JobOptions, read_options

DELAYS = st.integers(0, MAX_DURATION_MS)
SHARES = st.floats(0, 1)
CHANCES = st.floats(0, 1, exclude_max=True)
ATTEMPTS = st.integers(1, 1_000_000)
BACKOFFS = st.one_of(
    st.builds(Backoff, st.sampled_from(["fixed", "exponential"]), st.integers(1, MAX_DURATION_MS), SHARES),
    st.builds(
        lambda delays, jitter: Backoff("list", jitter=jitter, delays=tuple(delays)),
        st.lists(DELAYS, min_size=1, max_size=5),
        SHARES,
    ),
)


def full(backoff: Backoff, made: int) -> int:
    """The wait without jitter, said another way."""
    delay, delays = cast(int, backoff.delay), cast(list[int], backoff.delays)
    match backoff.type:
        case "fixed":
            return delay
        case "exponential":
            wait = delay
            for _ in range(min(made - 1, 60)):
                wait = min(2 * wait, MAX_DURATION_MS)
            return wait
    made = min(made, 100)
    return [*delays, *[delays[-1]] * made][made - 1]


@given(BACKOFFS, ATTEMPTS, CHANCES)
def test_a_delay_is_whole_and_within_its_jitter(backoff: Backoff, made: int, chance: float) -> None:
    checked = Backoff.check(backoff)
    wait, most = delay_before_retry(checked, made, lambda: chance), full(checked, made)
    assert isinstance(wait, int)
    # The formula rounds down in doubles, at ten years to a few parts in 2^52.
    assert int(most * (1 - (checked.jitter or 0))) - 1 <= wait <= most
    assert wait <= MAX_DURATION_MS


@given(BACKOFFS, st.integers(1, 50))
def test_the_whole_share_of_chance_is_used(backoff: Backoff, made: int) -> None:
    most = full(backoff, made)
    assert delay_before_retry(backoff, made, lambda: 0.0) == pytest.approx(most * (1 - (backoff.jitter or 0)), abs=1)
    assert delay_before_retry(backoff, made, lambda: 1 - 2**-53) == pytest.approx(most, abs=1, rel=1e-12)


@given(BACKOFFS)
def test_what_is_stored_is_read_as_it_was(backoff: Backoff) -> None:
    stored = JobOptions.check({"backoff": backoff}).to_wire()
    assert read_options(stored).backoff == Backoff.check(backoff)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (1_000, {"type": "fixed", "delay": 1_000, "jitter": DEFAULT_JITTER}),
        ({"type": "exponential", "delay": 500}, {"type": "exponential", "delay": 500, "jitter": DEFAULT_JITTER}),
        (Backoff("fixed", 500, jitter=0), {"type": "fixed", "delay": 500, "jitter": 0}),
        ({"type": "mine", "delay": 5}, {"type": "mine", "delay": 5}),
        ([1_000, timedelta(seconds=5)], {"type": "list", "delays": [1_000, 5_000], "jitter": DEFAULT_JITTER}),
    ],
)
def test_the_default_jitter_is_stored_for_bullmq(given: Any, stored: Any) -> None:
    assert msgspec.json.decode(JobOptions.check({"backoff": given}).to_wire())["backoff"] == stored


def test_a_stored_backoff_that_says_no_share_has_none() -> None:
    found = read_options(b'{"backoff":{"type":"fixed","delay":40}}').backoff
    assert {delay_before_retry(found, 1) for _ in range(100)} == {40}


def test_ten_thousand_failures_at_once_come_back_apart() -> None:
    waits = [delay_before_retry(Backoff.check(60_000), 1) for _ in range(10_000)]
    assert 45_000 <= min(waits) <= max(waits) <= 60_000
    buckets = {wait // 1_000 for wait in waits}
    assert len(buckets) >= 15, "spread over all of the quarter"


@pytest.mark.parametrize(
    "stored", [b'"delays":7', b'"delays":{}', b'"delays":[]', b'"delays":["x",null,-1]', b'"delay":[]']
)
def test_a_stored_list_of_any_kind_is_a_wait(stored: bytes) -> None:
    backoff = read_options(b'{"backoff":{"type":"list",' + stored + b"}}").backoff
    assert delay_before_retry(backoff, 2) == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "0 delays are not 1 to 100; the last one repeats"),
        ([1] * 101, "101 delays are not 1 to 100"),
        ([1_000, -1], r"backoff.delays\[1\]: -1 is negative"),
        ([0.5], r"backoff.delays\[0\]: 0.5 is not a duration"),
        ({"type": "fixed", "delays": [1]}, "type 'fixed' has no delays; use type 'list'"),
        ({"type": "list", "delays": 5}, "5 is not a list; give milliseconds"),
        ({"type": "list", "delays": [5], "delay": 5}, "leave `delay` out"),
        ({"type": "fixed", "delay": 1, "jitter": 1.5}, "backoff.jitter: 1.5 is not a number from 0 to 1"),
        ({"type": "fixed", "delays_": [1]}, "unknown field 'delays_'; fields are type, delay, jitter, delays"),
        ("1000", "'1000' is not a duration"),
    ],
)
def test_a_backoff_that_cannot_be_is_refused_when_it_is_set(given: Any, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        Backoff.check(given)
