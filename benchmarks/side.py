"""A side of the comparison: the engine, the bare loop, a rival. Each is two programs that understand the same orders.

Every program gets one argument, the server's URL, and says {"ready": {library: version}} once it runs.

    producer  {"do": "add", "queue": q, "jobs": n, "way": "one" | "at once" | "bulk"}     says {"seconds": s}
              {"do": "pace", "queue": q, "jobs": n, "rate": jobs a second}                says {"calls": [us, ...]}
    worker    {"do": "ready", "queue": q, "concurrency": c, "keep": null or a count}      says {"ready": true}
              {"do": "begin", "jobs": n}                             says {"handled": n} when n jobs have been handled
              {"do": "end"}                                          says {"ended": {"handled": n, "delays": [us, ...]}}

"one" awaits each add; "at once" has 100 adds under way, then the next 100; "bulk" gives 1,000 to the bulk call. The
data of a job is {"n": its number, "text": 80 letters}; "pace" adds `sent`, the monotonic time in us just before the add
call, and the worker notes for such a job how much later its handler began. The handler does nothing else. After "end" a
worker can be made ready anew: each is warmed on a queue of its own first, so that no just-in-time compiler is measured
cold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

OURS = "corral"
LIMIT = "bare"


def _nothing_to_install() -> None:
    """What comes with the repository is there."""


class Side(Struct, frozen=True):
    name: str
    worker: tuple[str, ...]
    """The command that starts it; so for the producer."""
    producer: tuple[str, ...]
    notes: str
    """How it is set up, and what it does or does not do for a job; stands beside its figures."""
    env: Mapping[str, str] = {}
    install: Callable[[], None] = _nothing_to_install
    """Puts it into benchmarks/.peers/, once."""
