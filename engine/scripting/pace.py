"""How many jobs one call of a script takes. Knows no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

PER_CALL: Final = 250
"""Jobs in one call, of producers, workers and operators: adding, moving or deleting one takes 10 to 30 us, and no call may block
the server for long."""

DEAD_LETTERS_PER_CALL: Final = 10
"""Dead letters that an operator's call writes, replays or deletes: each takes 80 to 250 us, the most with a million of them."""

ATTEMPTS_PER_CALL: Final = 100
"""Jobs in one call that records failed attempts: each may bring a reason and stack traces of 20 KiB together, release a parent or add
the job that a deduplication kept, which takes 20 to 40 us."""

FAILED_PER_CALL: Final = 20
"""Jobs that fail in one call of a worker, each with its letter; retention may delete a few more letters. With fewer a call each would
cost more: letters of one call are often alike, and what they share is done once."""


def chunks(items: Sequence[T], size: int = PER_CALL) -> Iterator[Sequence[T]]:
    """Split items, in their order, into parts for one call each."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
