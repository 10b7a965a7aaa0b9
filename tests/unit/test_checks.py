"""Number and flag checks shared by all options: what they accept, and the message for what they refuse."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engine.errors import InvalidOption
from engine.model.checks import LARGEST, flag, is_number, is_whole, whole_number


@pytest.mark.parametrize("value", [0, 1, 5, LARGEST])
def test_whole_numbers_are_returned(value: int) -> None:
    assert whole_number("n", value) == value


@pytest.mark.parametrize("value", [True, False, None, 1.0, "1", -1, LARGEST + 1])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(InvalidOption, match=re.escape(f"n: {value!r} is not a whole number of 0 or more")):
        whole_number("n", value)


def test_the_message_has_range_and_hint() -> None:
    with pytest.raises(InvalidOption, match=r"^n: 2000 is not a whole number from 1 to 1,000; it counts rows$"):
        whole_number("n", 2_000, 1, 1_000, "it counts rows")


def test_booleans_are_not_numbers() -> None:
    assert [is_whole(value) for value in (1, 1.5, True, "1")] == [True, False, False, False]
    assert [is_number(value) for value in (1, 1.5, True, "1")] == [True, True, False, False]


def test_a_flag_is_true_or_false_only() -> None:
    assert flag("f", True) is True
    with pytest.raises(InvalidOption, match="f: 1 is neither True nor False"):
        flag("f", 1)
