"""What a run of the chaos is to be."""

from __future__ import annotations

from msgspec import Struct

QUEUE = "q"


def address(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


class Plan(Struct, frozen=True, kw_only=True):
    """rate: jobs added a second. fsync: the server's `appendfsync`. lock_ms, sweep_ms: the daemons' settings."""

    seconds: float
    rate: int
    daemons: int
    seed: int
    fsync: str = "always"
    lock_ms: int = 15_000
    sweep_ms: int = 5_000

    @property
    def lock(self) -> float:
        """The life of a lock in seconds."""
        return self.lock_ms / 1000

    @property
    def brief(self) -> float:
        """Seconds that a fault lasts at most from which the daemons are to recover within their locks."""
        return self.lock / 5

    @property
    def bound(self) -> float:
        """Seconds in which 99 of 100 jobs of a killed daemon are to start again: a lock and two sweeps."""
        return (self.lock_ms + 2 * self.sweep_ms) / 1000
