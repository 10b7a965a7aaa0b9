"""A side of the comparison: the engine, the bare loop, a rival. Each is two programs that understand the same orders.

Every program gets one argument, the server's URL, and says {"ready": {library: version}} once it runs.

    producer  {"do": "add", "queue": q, "jobs": n, "way": w, "data": {...}, "options": {...}}    says {"seconds": s}
              {"do": "pace", "queue": q, "jobs": n, "rate": jobs a second, "data": {...}}        says {"calls": [us, ...]}
              {"do": "waiting", "queue": q}                                                      says {"waiting": n}
    worker    {"do": "ready", "queues": [q, ...], "concurrency": c, "keep": k, "lock": ms, "sweep": ms}
                                                                     says {"ready": true}
              {"do": "begin", "jobs": n}                             says {"handled": n} when n jobs have been handled
              {"do": "end"}                                          says {"ended": {"handled": n, "delays": [us, ...]}}

The way: "one" awaits each add; "at once" has 100 adds under way, then the next 100; "bulk" gives 1,000 to the bulk call;
"sync" adds one by one from code without a loop. A pace begins each add at its time, whether or not those before it were
answered, as long as fewer than 100 are under way. A producer without a loop has 8 threads for both.

The data of a job is {"n": its number, "text": letters} with what the order's `data` says laid over it. `text` has 80
letters unless the order's `data` brings another text; `pace` puts `sent`, the monotonic time in us just before the add
call, into the data. The handler obeys the data, in this order, and does nothing else:

    sent   us     notes in `delays` how much later it began
    due    us     monotonic time before which the job must not begin; notes in `delays` how much later it did (below 0: early)
    burn   us     uses so much CPU time: two handlers that share a processor take twice as long
    sleep  us     waits for so long without using the processor
                  now the job counts as handled
    fail   times  raises until the job has been tried so many times before

The order's `options`: `delay` in ms; `attempts`, tries in all without a pause between; on the wire `priority`. `keep`: how
finished jobs are kept, null for all (or for as long as the rival's own default), a number for the newest so many, 0 for none.
`lock`, how long a job is its worker's without a word from it, and `sweep`, how often those of dead workers are looked for,
may be missing; then, and on a side that knows no such thing, its default holds. A job that is tried again is handled again, so
it counts in `handled` each time it ran.

After "end" a worker can be made ready anew: each is warmed on a queue of its own first, so that no just-in-time compiler
is measured cold. What a side cannot do is missing from its `can`, and the harness leaves that row out and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

OURS = "corral"
LIMIT = "bare"

Skill = Literal[
    "one", "at once", "bulk", "sync",
    "keep all", "keep some", "keep none",
    "work", "pace", "delay", "retry", "recover", "queues", "wire", "no events", "result events",
]  # fmt: skip
"""What a scenario may need of a side: a way to add; a way to keep results; handlers that obey the data at all; adding at a
pace; delayed jobs; attempts; a job given to another worker after its worker was killed; one worker process for many
queues; jobs that lie in Redis as BullMQ lays them; no events, or only those of results, where the queue's meta key says so."""


def _nothing_to_install() -> None:
    """What comes with the repository is there."""


class Side(Struct, frozen=True):
    name: str
    worker: tuple[str, ...]
    """The command that starts it; so for the producer."""
    producer: tuple[str, ...]
    notes: str
    """How it is set up, and what it does or does not do for a job; stands beside its figures."""
    can: frozenset[Skill]
    env: Mapping[str, str] = {}
    install: Callable[[], None] = _nothing_to_install
    """Puts it into benchmarks/.peers/, once."""
    stays: bool = True
    """Its programs work on after the server was emptied, so they may stay from slice to slice. Others, which create a consumer
    group or a binding when they start, are started again for each slice."""

    @property
    def on_the_wire(self) -> bool:
        """The harness looks at `active` for the moment the last result is written. For the others the clock stops when
        the last handler ran, which flatters them by at most what one worker has in hand."""
        return "wire" in self.can
