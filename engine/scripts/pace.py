"""How much one call takes on. Knows no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

PER_CALL: Final = 250
"""Jobs in one call, of producers, workers and operators: adding, moving or deleting one takes 10 to 30 us, and no call may hold
up the server for long."""


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items in their order, as many at a time as one call takes."""
    for first in range(0, len(items), PER_CALL):
        yield items[first : first + PER_CALL]
