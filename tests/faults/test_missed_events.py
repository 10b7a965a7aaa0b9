"""Readers of events after an absence or a lost connection: they learn what they missed, and continue."""

from __future__ import annotations

import asyncio
import json
import operator
import random
from collections.abc import AsyncIterator
from functools import partial

import pytest

from engine import Queue, QueueEvents, events
from engine.connection import Link
from engine.connection.embedded import EmbeddedServer
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.scripts.progress import progress
from tests.support.proxy import Proxy
from tests.support.running import until
from tests.support.seeding import Held, claimed, seed


async def write(link: Link, keys: Keys, numbers: range) -> None:
    await link.call_many([("XADD", keys.events, "*", "event", "n", "jobId", number) for number in numbers])


def _has_accepted(proxy: Proxy, lines: int) -> bool:
    return proxy.accepted >= lines


def number(event: events.Event) -> int:
    return int(event.job_id or -1)


@pytest.fixture
async def stream(redis_url: str) -> AsyncIterator[QueueEvents]:
    async with QueueEvents("q", redis=redis_url) as opened:
        yield opened


async def take(stream: QueueEvents, count: int, after: str) -> list[events.Event]:
    reading = stream.events(after)
    return [await asyncio.wait_for(anext(reading), 10) for _ in range(count)]


async def test_large_values_that_nobody_read_are_a_gap(link: Link, keys: Keys, stream: QueueEvents) -> None:
    await seed(link, keys, active={"a": Held()})
    reading = stream.events()
    for n in range(40):
        await progress(link, keys, [("a", claimed("a"), json.dumps(f"{n} " + "x" * 2**20).encode())])
        if n == 0:
            assert isinstance(await asyncio.wait_for(anext(reading), 10), events.Progress)
    gap = await asyncio.wait_for(anext(reading), 10)
    assert isinstance(gap, events.Gap)
    assert gap.missed is not None
    for n in range(1 + gap.missed, 40):
        event = await asyncio.wait_for(anext(reading), 10)
        assert isinstance(event, events.Progress)
        assert event.data.startswith(f"{n} ")


async def test_events_given_and_missed_are_all_there_were(link: Link, keys: Keys, stream: QueueEvents) -> None:
    chance = random.Random(5)
    written = given = missed = 0
    reading = stream.events()
    for _ in range(60):
        count = chance.choice([1, 5, 99, 100, 101, 350])
        await write(link, keys, range(written, written + count))
        written += count
        await link.call("XTRIM", keys.events, "MAXLEN", chance.choice([1, 40, 150, 300, 10_000]))
        for _ in range(chance.choice([1, 3, 120, 500])):
            if given + missed == written:
                break
            event = await asyncio.wait_for(anext(reading), 10)
            if isinstance(event, events.Gap):
                assert event.missed
                missed += event.missed
            else:
                assert number(event) == given + missed
                given += 1
                assert stream.place == f"{event.id}#{given + missed}"
    assert given
    assert missed


@pytest.mark.parametrize("left", [3, 0])
async def test_a_position_counts_missed_events_an_id_cannot(
    link: Link, keys: Keys, stream: QueueEvents, left: int
) -> None:
    await write(link, keys, range(10))
    last = (await take(stream, 10, "$"))[-1]
    place = stream.place
    await link.call("XTRIM", keys.events, "MAXLEN", 0)
    # Gone itself, but nothing came after it: no gap.
    await write(link, keys, range(10, 11))
    assert [number(event) for event in await take(stream, 1, place)] == [10]

    await write(link, keys, range(11, 20))
    await link.call("XTRIM", keys.events, "MAXLEN", left)
    rest = list(range(20 - left, 20))
    for after, missed in ((place, 10 - left), (last.id, None), ("1-0", None)):
        gap, *others = await take(stream, 1 + left, after)
        assert isinstance(gap, events.Gap)
        assert (gap.missed, [number(event) for event in others]) == (missed, rest)
    # Whoever goes on after a gap is not told of it again.
    gap = (await take(stream, 1, place))[0]
    await write(link, keys, range(20, 21))
    assert [number(event) for event in await take(stream, left + 1, stream.place)] == [*rest, 20]


async def test_an_id_still_in_the_stream_misses_nothing(link: Link, keys: Keys, stream: QueueEvents) -> None:
    await write(link, keys, range(300))
    told = await take(stream, 300, "$")
    await link.call("XTRIM", keys.events, "MAXLEN", 200)
    assert number((await take(stream, 1, told[100].id))[0]) == 101
    assert number((await take(stream, 1, "0"))[0]) == 100
    # Deleting one entry, as XDEL does, is not the trimming of a stream.
    await link.call("XDEL", keys.events, told[150].id)
    assert number((await take(stream, 1, told[150].id))[0]) == 151


async def test_a_stream_that_began_anew_is_a_gap(redis_url: str, link: Link, keys: Keys, stream: QueueEvents) -> None:
    await write(link, keys, range(5))
    await take(stream, 5, "$")
    place = stream.place
    await link.call("DEL", keys.events)
    await write(link, keys, range(2))
    told = await take(stream, 3, place)
    assert isinstance(told[0], events.Gap)
    assert [told[0].missed, *map(number, told[1:])] == [None, 0, 1]


async def test_a_line_that_is_cut_costs_no_event() -> None:
    with EmbeddedServer(tcp=True) as server:
        async with (
            Queue("q", redis=server.url) as queue,
            Proxy("127.0.0.1", server.port) as proxy,
            QueueEvents("q", redis=f"redis://127.0.0.1:{proxy.port}") as stream,
        ):
            told: list[int] = []

            async def listen() -> None:
                async for event in stream:
                    told.append(number(event))

            listening = asyncio.create_task(listen())
            for count in (10, 20, 30):
                await write(queue.link, queue.keys, range(count - 10, count))
                await until(partial(operator.contains, told, count - 1), "the events came")
                await proxy.reset()
                proxy.drop_replies = count == 10
                await until(partial(_has_accepted, proxy, count // 10 + 1), "it connected again")
                proxy.drop_replies = False
            assert told == list(range(30))
            await stream.close()
            await asyncio.wait_for(listening, 10)


@pytest.mark.usefixtures("damaged")
async def test_a_foreign_key_instead_of_the_stream_is_an_error(link: Link, keys: Keys, stream: QueueEvents) -> None:
    await link.call("SET", keys.events, "foreign")
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await take(stream, 1, "$")


async def test_bullmqs_get_queue_events_finds_the_connection(link: Link, keys: Keys, stream: QueueEvents) -> None:
    assert f"name={keys.client_name(':qe')} " in (await link.call("CLIENT", "LIST")).decode()
