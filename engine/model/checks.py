"""Checks of arguments that many options share: whole numbers, flags, the fields of a dict, suggestions for a near miss.

Every message names the field, the value and the fix.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeGuard

from engine.errors import InvalidOption

LARGEST: Final = 2**53 - 1
"""The largest whole number that JSON readers and Redis scores keep exactly."""


def is_whole(value: object) -> TypeGuard[int]:
    """Whether `value` is an int. True and False, which Python counts as ints, are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether `value` is an int or a float, and not True or False."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole_number(name: str, value: Any, low: int = 0, high: int = LARGEST, hint: str = "") -> int:
    """`value` itself if it is a whole number from `low` to `high`.

    Raises InvalidOption with the name, the value, the range and `hint`.
    """
    if is_whole(value) and low <= value <= high:
        return value
    bounds = f"of {low:,} or more" if high == LARGEST else f"from {low:,} to {high:,}"
    raise InvalidOption(f"{name}: {value!r} is not a whole number {bounds}{hint and f'; {hint}'}")


def flag(name: str, value: Any) -> bool:
    """`value` itself if it is True or False. Raises InvalidOption for anything else."""
    if isinstance(value, bool):
        return value
    raise InvalidOption(f"{name}: {value!r} is neither True nor False; give one of them")


def check_fields(name: str, given: Mapping[str, Any], fields: Iterable[str]) -> None:
    """Raise InvalidOption if the dict of an option has a field that is not one of these."""
    for field in given:
        if field not in (known := tuple(fields)):
            suggestion = did_you_mean(str(field), known)
            raise InvalidOption(f"{name}: unknown field {field!r}; fields are {', '.join(known)}{suggestion}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'delay'?` for a near miss of a known word, such as its camelCase; else the empty text."""
    names = list(known)
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in word).strip("_")
    found = [snake] if snake in names else difflib.get_close_matches(snake, names, 1, 0.7)
    return f"; did you mean {found[0]!r}?" if found else ""
