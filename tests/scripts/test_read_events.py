"""read_events: events after an entry of the stream."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.scripts.read_events import EventPage, read_events
from tests.support.keyspace import dump


async def write(link: Link, keys: Keys, *numbers: int) -> None:
    for number in numbers:
        await link.call("XADD", keys.events, f"{number}-0", "event", "waiting", "jobId", number)


async def test_it_shows_what_came_after_an_entry_and_how_many_there_ever_were(link: Link, keys: Keys) -> None:
    await write(link, keys, *range(1, 8))
    await link.call("XTRIM", keys.events, "MAXLEN", 4)
    found = await read_events(link, keys, after="5-0", count=1)
    assert found == EventPage([("6-0", [b"event", b"waiting", b"jobId", b"6"])], True, "4-0", "7-0", 7, 4)
    passed = await read_events(link, keys, after="2-0", count=10)
    assert ([id for id, _ in passed.entries], passed.there) == (["4-0", "5-0", "6-0", "7-0"], False)


async def test_it_counts_without_showing_anything_and_writes_nothing(link: Link, keys: Keys) -> None:
    assert await read_events(link, keys, after="0-0", count=0) == EventPage([], False, "0-0", "0-0", 0, 0)
    await write(link, keys, 1)
    before = await dump(link)
    assert await read_events(link, keys, after="0-0", count=0) == EventPage([], False, "1-0", "1-0", 1, 1)
    assert await dump(link) == before


async def test_a_stream_that_was_emptied_still_knows_its_newest_entry(link: Link, keys: Keys) -> None:
    await write(link, keys, 1, 2)
    await link.call("XTRIM", keys.events, "MAXLEN", 0)
    assert await read_events(link, keys, after="1-0", count=10) == EventPage([], False, "0-0", "2-0", 2, 0)


@pytest.mark.usefixtures("damaged")
async def test_a_foreign_key_in_the_streams_place_is_an_error(link: Link, keys: Keys) -> None:
    await link.call("SET", keys.events, "foreign")
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await read_events(link, keys, after="0-0", count=1)
