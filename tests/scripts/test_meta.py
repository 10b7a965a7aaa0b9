"""meta: a queue becomes known."""

from __future__ import annotations

from engine.keys import Keys
from engine.link import Link
from engine.scripts.meta import meta
from tests.support.queues import dump, seed


async def test_a_new_queue_can_be_found(link: Link, keys: Keys) -> None:
    assert await meta(link, keys, version="corral:1.0.0", now=7) is True
    assert await dump(link) == {
        keys.meta: {"version": "corral:1.0.0", "opts.maxLenEvents": "10000"},
        keys.id: "0",
    }
    before = await dump(link)
    assert await meta(link, keys, version="corral:1.0.0", now=8) is False
    assert await dump(link) == before


async def test_what_a_queue_says_of_itself_stays(link: Link, keys: Keys) -> None:
    await seed(link, keys, meta={"opts.maxLenEvents": 5, "version": "bullmq:5.63.0", "paused": 1})
    await link.call("SET", keys.id, "41")
    assert await meta(link, keys, version="corral:1.0.0", max_events=70, now=7) is True
    assert await dump(link) == {
        keys.meta: {"version": "corral:1.0.0", "opts.maxLenEvents": "5", "paused": "1"},
        keys.id: "41",
    }
