"""What the programs of the rivals without an event loop have in common: how they carry out orders. Like `talk` it runs in
the rival's own environment and knows no rival."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any, Protocol

from talk import Order, Tally, data, now_us, orders, say

Data = dict[str, Any]
Options = dict[str, Any]

_THREADS = 8
_BULK = 1000


# --- producer ---------------------------------------------------------------------------------------------------------


class Queue(Protocol):
    """A rival's queue. One whose side can "bulk" has `add_many` too."""

    def add(self, data: Data, options: Options) -> None: ...

    def waiting(self) -> int:
        """Jobs that no worker has taken yet; not the delayed ones where the rival keeps those apart."""


def produce(open_queue: Callable[[str], Queue], *libraries: str) -> None:
    """Carry out a producer's orders until the input is closed. A queue stays open, with its connections."""
    queues: dict[str, Queue] = {}
    for order in orders(*libraries):
        name = order["queue"]
        if name not in queues:
            queues[name] = open_queue(name)
        match order["do"]:
            case "add":
                began = time.monotonic()
                _WAYS[order["way"]](queues[name], order)
                say(seconds=time.monotonic() - began)
            case "pace":
                say(calls=_pace(queues[name], order))
            case "waiting":
                say(waiting=queues[name].waiting())


def _one(queue: Queue, order: Order) -> None:
    _add_some(queue, order, range(order["jobs"]))


def _at_once(queue: Queue, order: Order) -> None:
    """Without a loop nothing is under way but what a thread waits for."""
    with ThreadPoolExecutor(_THREADS) as pool:
        shares = [range(first, order["jobs"], _THREADS) for first in range(_THREADS)]
        for done in [pool.submit(_add_some, queue, order, share) for share in shares]:
            done.result()


def _add_some(queue: Queue, order: Order, numbers: range) -> None:
    options = order.get("options", {})
    for n in numbers:
        queue.add(data(n, order), options)


def _bulk(queue: Any, order: Order) -> None:
    jobs, options = order["jobs"], order.get("options", {})
    for first in range(0, jobs, _BULK):
        queue.add_many([data(n, order) for n in range(first, min(first + _BULK, jobs))], options)


def _pace(queue: Queue, order: Order) -> list[int]:
    def call(n: int) -> int:
        sent: int = now_us()
        queue.add({**data(n, order), "sent": sent}, {})
        answered: int = now_us()
        return answered - sent

    calls = []
    began = time.monotonic()
    with ThreadPoolExecutor(_THREADS) as pool:
        for n in range(order["jobs"]):
            time.sleep(max(0.0, began + n / order["rate"] - time.monotonic()))
            calls.append(pool.submit(call, n))
    return [called.result() for called in calls]


_WAYS: dict[str, Callable[[Any, Order], None]] = {"one": _one, "sync": _one, "at once": _at_once, "bulk": _bulk}


# --- worker -----------------------------------------------------------------------------------------------------------


def handle(tally: Tally, given: Data, tried: int) -> None:
    """Obey the data of a job."""
    tally.begun(given)
    if "sleep" in given:
        time.sleep(given["sleep"] / 1e6)
    tally.done(given, tried)


class Behind(Protocol):
    """A worker that runs in threads of its own. They are daemons: when the input is closed the program just ends."""

    tally: Tally

    def begin(self) -> None: ...

    def end(self) -> None: ...


def work_behind(make: Callable[[Order], Behind], *libraries: str) -> None:
    """Carry out a worker's orders until the input is closed."""
    worker: Behind | None = None
    for order in orders(*libraries):
        match order["do"], worker:
            case "ready", _:
                worker = make(order)
                say(ready=True)
            case "begin", worker if worker is not None:
                worker.tally.wanted = order["jobs"]
                worker.begin()
            case "end", worker if worker is not None:
                worker.end()
                worker.tally.ended()


class InFront(Protocol):
    """A worker that needs the main thread, for signals or in order to fork."""

    tally: Tally

    def run(self, begin: Callable[[], None]) -> None:
        """Work until stopped. Calls `begin` once it is ready, and takes no job before that returns."""

    def stop(self) -> None:
        """Called in another thread."""


def work_in_front(make: Callable[[Order], InFront], *libraries: str) -> None:
    """Carry out a worker's orders until the input is closed, which stops a running worker too."""
    heard = orders(*libraries)
    for order in heard:
        if not _work_once(make(order), heard):
            return


def _work_once(worker: InFront, heard: Any) -> bool:
    """Whether it was told to end: else the input was closed."""
    last: list[Order | None] = []

    def listen() -> None:
        last.append(next(heard, None))
        worker.stop()

    listener = Thread(target=listen)

    def begin() -> None:
        say(ready=True)
        order = next(heard, None)
        if order is None:
            raise SystemExit
        worker.tally.wanted = order["jobs"]
        # Not before: a process forked while this thread reads inherits the lock of stdin and hangs when it closes it.
        listener.start()

    worker.run(begin)
    if listener.ident is None:
        return False
    listener.join()
    if last == [None]:
        return False
    worker.tally.ended()
    return True
