"""The limit of an enqueue: `add` in a loop with rows made beforehand; two calls in flight where adds may overlap."""

from __future__ import annotations

import asyncio
import time

import msgspec

from benchmarks.ours.orders import data, orders, run, say
from engine.job import NewRow
from engine.keys import Keys
from engine.link import Link, open_link
from engine.scripts.add import add

_ROWS_A_CALL = {"one": 1, "at once": 100, "bulk": 1000}


async def main(url: str) -> None:
    link = await open_link(url)
    async for order in orders():
        width = _ROWS_A_CALL[order["way"]]
        rows = [NewRow("", "job", msgspec.json.encode(data(n)), b"{}") for n in range(order["jobs"])]
        began = time.monotonic()
        await _add_all(link, Keys(order["queue"]), rows, width)
        say(seconds=time.monotonic() - began)
    await link.close()


async def _add_all(link: Link, keys: Keys, rows: list[NewRow], width: int) -> None:
    lots = iter([rows[first : first + width] for first in range(0, len(rows), width)])

    async def lane() -> None:
        for lot in lots:
            await add(link, keys, lot)

    await asyncio.gather(*[lane() for _ in range(1 if width == 1 else 2)])


if __name__ == "__main__":
    run(main)
