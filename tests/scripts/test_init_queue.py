"""init_queue: a queue is registered for tools."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.init_queue import init_queue
from tests.support.keyspace import dump
from tests.support.seeding import seed


async def test_a_new_queue_can_be_found(link: Link, keys: Keys) -> None:
    assert await init_queue(link, keys, version="corral:1.0.0", now=7) is True
    assert await dump(link) == {
        keys.meta: {"version": "corral:1.0.0", "opts.maxLenEvents": "10000"},
        keys.id: "0",
    }
    before = await dump(link)
    assert await init_queue(link, keys, version="corral:1.0.0", now=8) is False
    assert await dump(link) == before


async def test_what_a_queue_says_of_itself_stays(link: Link, keys: Keys) -> None:
    await seed(link, keys, meta={"opts.maxLenEvents": 5, "version": "bullmq:5.63.0", "paused": 1})
    await link.call("SET", keys.id, "41")
    assert await init_queue(link, keys, version="corral:1.0.0", now=7) is True
    assert await dump(link) == {
        keys.meta: {"version": "corral:1.0.0", "opts.maxLenEvents": "5", "paused": "1"},
        keys.id: "41",
    }


async def test_a_length_of_the_stream_that_is_asked_for_counts_from_then_on(link: Link, keys: Keys) -> None:
    for asked, written in ((70, True), (70, False), (None, False), (1, True), (None, False)):
        assert await init_queue(link, keys, version="corral:1.0.0", max_events=asked, now=7) is written
    assert await link.call("HGET", keys.meta, "opts.maxLenEvents") == b"1"


async def test_which_events_are_written_is_a_field_of_ours(link: Link, keys: Keys) -> None:
    asked = (
        ("results", b"results"),
        (None, b"results"),
        ("none", b"none"),
        (None, b"none"),
        ("all", None),
        (None, None),
    )
    for events, stored in asked:
        for written in (events is not None, False):
            assert await init_queue(link, keys, version="corral:1.0.0", events=events, now=7) is written
        assert await link.call("HMGET", keys.meta, "opts.maxLenEvents", "events") == [b"10000", stored]


async def test_bullmqs_length_of_0_is_left_as_it_is(link: Link, keys: Keys) -> None:
    await seed(link, keys, meta={"opts.maxLenEvents": 0, "version": "bullmq:6.2.0"})
    assert await init_queue(link, keys, version="corral:1.0.0", now=7) is True
    assert await link.call("HMGET", keys.meta, "opts.maxLenEvents", "events") == [b"0", None]
