"""How much one call takes on. Knows no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

PER_CALL: Final = 250
"""Jobs in one call, of producers, workers and operators: adding, moving or deleting one takes 10 to 30 us, and no call may hold
up the server for long."""

LETTERS_PER_CALL: Final = 10
"""Dead letters that an operator's call writes, replays or deletes: each takes 80 to 250 us, most where a million lie cold in memory."""

FAILED_PER_CALL: Final = 20
"""Jobs that fail in one call of a worker, each with its letter; a few more old letters may go than are written. Fewer would cost
more for each: those that come together are often alike, and what they share is done once a call."""


def chunks(items: Sequence[T], size: int = PER_CALL) -> Iterator[Sequence[T]]:
    """The items in their order, as many at a time as one call takes."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
