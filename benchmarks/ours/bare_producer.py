"""The limit of an enqueue: `add` in a loop with rows made beforehand, each lot after the reply to the one before it."""

from __future__ import annotations

import time

import msgspec

from benchmarks.ours.orders import data, orders, run, say
from engine.batching import add_rows
from engine.connection import Link, open_link
from engine.model.keys import Keys
from engine.model.records import NewRow
from engine.scripting.pace import PER_CALL

_ROWS_A_CALL = {"one": 1, "at once": 100, "bulk": PER_CALL}


async def main(url: str) -> None:
    link = await open_link(url)
    async for order in orders():
        width = _ROWS_A_CALL[order["way"]]
        rows = [NewRow("", "job", msgspec.json.encode(data(n, order)), b"{}") for n in range(order["jobs"])]
        began = time.monotonic()
        await _add_all(link, Keys(order["queue"]), rows, width)
        say(seconds=time.monotonic() - began)
    await link.close()


async def _add_all(link: Link, keys: Keys, rows: list[NewRow], width: int) -> None:
    # One call in flight: every side waits for its lot before the next, and so does the limit.
    for first in range(0, len(rows), width):
        await add_rows(link, keys, rows[first : first + width])


if __name__ == "__main__":
    run(main)
