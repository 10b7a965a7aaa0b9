"""How far producers may go: a portion of jobs at each blow, so that the two keep step on any machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from tests.interop.soaking.sides import SIDES


class Pace:
    """`share`: jobs that each side adds in all, in so many portions."""

    def __init__(self, share: int, portions: int) -> None:
        self.made: Counter[str] = Counter()
        self.hungry = False
        """A worker waits for something to do: more may be added when little is left."""
        self._share = share
        self._portion = -(-share // portions)
        self._allowed = 0

    @property
    def is_over(self) -> bool:
        """Whether all has been added."""
        return self.has_kept_up(SIDES, self._share)

    def release(self) -> None:
        """Let every side add a portion."""
        self._allowed = min(self._allowed + self._portion, self._share)

    def may_add(self, side: str) -> bool:
        # Of the last portion a family may go over the share.
        return self.made[side] < self._allowed or self._allowed == self._share

    def has_kept_up(self, sides: Collection[str], count: int | None = None) -> bool:
        """Whether those sides have added what they may."""
        return all(self.made[side] >= (self._allowed if count is None else count) for side in sides)
