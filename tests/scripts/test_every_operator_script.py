"""What holds for every script that operators, dashboards and single jobs call, said once."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine.connection import Link
from engine.errors import ServerBusy, ServerError
from engine.model.keys import Keys
from engine.model.limits import RateLimit
from engine.model.options import Keep
from engine.scripting.loader import Script
from engine.scripts.cancel import cancel
from engine.scripts.change_delay import change_delay
from engine.scripts.change_priority import change_priority
from engine.scripts.clean import clean
from engine.scripts.drain import drain
from engine.scripts.find_stuck_schedules import find_stuck_schedules
from engine.scripts.get_counts import get_counts
from engine.scripts.get_jobs import get_jobs
from engine.scripts.get_rate_limit_ttl import get_rate_limit_ttl
from engine.scripts.get_results import get_results
from engine.scripts.get_state import get_state
from engine.scripts.init_queue import init_queue
from engine.scripts.limit_concurrency import limit_concurrency
from engine.scripts.limit_rate import limit_rate
from engine.scripts.list_jobs import list_jobs
from engine.scripts.list_schedules import list_schedules
from engine.scripts.log import log
from engine.scripts.obliterate import obliterate
from engine.scripts.pause import pause
from engine.scripts.progress import progress
from engine.scripts.promote_one import promote_one
from engine.scripts.remove import remove
from engine.scripts.remove_deduplication import remove_deduplication
from engine.scripts.remove_schedule import remove_schedule
from engine.scripts.reprocess import reprocess
from engine.scripts.resume import resume
from engine.scripts.update_data import update_data
from tests.support.calls import seed_for_all
from tests.support.keyspace import dump, events
from tests.support.schedules import advance, seed_schedule, upsert
from tests.support.seeding import claimed

CALLS: dict[str, Callable[[Link, Keys], Awaitable[Any]]] = {
    "progress": lambda link, keys: progress(link, keys, [("a", claimed("a"), b"1"), ("w1", None, b"2")], now=7),
    "log": lambda link, keys: log(link, keys, [("a", claimed("a"), "x", 5), ("w1", None, "y", None)], now=7),
    "update_data": lambda link, keys: update_data(link, keys, id="a", data=b"1", claim=claimed("a"), now=7),
    "reprocess": lambda link, keys: reprocess(link, keys, [("f1", False), ("c1", True)], reset=True, now=7),
    "promote_one": lambda link, keys: promote_one(link, keys, id="soon-ranked", now=7),
    "change_delay": lambda link, keys: change_delay(link, keys, id="later", delay_ms=5, now=7),
    "change_priority": lambda link, keys: change_priority(link, keys, id="w1", priority=3, now=7),
    "cancel": lambda link, keys: cancel(link, keys, id="later", reason="cancelled", keep=Keep(), now=7),
    "init_queue": lambda link, keys: init_queue(link, keys, version="corral:1", now=7),
    "remove": lambda link, keys: remove(link, keys, ["w1", "p", "soon", "dead", "c1", "f1"], now=7),
    "remove_deduplication": lambda link, keys: remove_deduplication(link, keys, deduplication="d", now=7),
    "upsert_schedule": lambda link, keys: upsert(link, keys, None, 50, 60, id="new"),
    "advance_schedule": lambda link, keys: advance(link, keys, 9, 109, 209),
    "remove_schedule": lambda link, keys: remove_schedule(link, keys, id="s", now=7),
    "find_stuck_schedules": lambda link, keys: find_stuck_schedules(link, keys, interval_ms=100, now=7),
    "list_schedules": lambda link, keys: list_schedules(link, keys, ids=["s", "none"], now=7),
    "pause": lambda link, keys: pause(link, keys, now=7),
    "resume": lambda link, keys: resume(link, keys, now=7),
    "drain": lambda link, keys: drain(link, keys, delayed=True, now=7),
    "clean": lambda link, keys: clean(link, keys, state="completed", now=7),
    "obliterate": lambda link, keys: obliterate(link, keys, force=True, now=7),
    "limit_rate": lambda link, keys: limit_rate(link, keys, RateLimit(5, 1_000, smooth=True), now=7),
    "limit_concurrency": lambda link, keys: limit_concurrency(link, keys, 2, now=7),
    "get_rate_limit_ttl": lambda link, keys: get_rate_limit_ttl(link, keys, now=7),
    "get_state": lambda link, keys: get_state(link, keys, ["w1", "a", "gone"], now=7),
    "get_jobs": lambda link, keys: get_jobs(link, keys, ["w1", "a", "gone"], now=7),
    "get_counts": lambda link, keys: get_counts(link, keys, now=7),
    "list_jobs": lambda link, keys: list_jobs(link, keys, state="waiting", now=7),
    "get_results": lambda link, keys: get_results(link, keys, ["c1", "f1", "a", "gone"], now=7),
}
READ = ("get_rate_limit_ttl", "get_state", "get_jobs", "get_counts", "list_jobs", "get_results", "list_schedules")
GROW = (
    "progress",
    "log",
    "update_data",
    "reprocess",
    "promote_one",
    "change_delay",
    "change_priority",
    "init_queue",
    "remove_deduplication",
    "limit_rate",
    "limit_concurrency",
    "upsert_schedule",
    "advance_schedule",
    "find_stuck_schedules",
)
"""What brings something in. A full server may refuse it, and then wholly."""
ANY_TYPE = {
    "obliterate": {"id", "pc", "stalled", "stalled_check", "limiter", "smoothed", "marker", "events"},
    "drain": {"prioritized", "delayed"},
    "find_stuck_schedules": {"prioritized", "delayed"},
}
"""Keys that a script deletes whatever they are, or that only a later call of its binding looks into."""


async def seed_operators(link: Link, keys: Keys, verb: str) -> None:
    await seed_for_all(link, keys)
    if verb == "remove_deduplication":
        await link.call("SET", keys.deduplication("d"), "w1")
        await link.call("HSET", keys.jobs + "dn:d", "name", "n", "data", "{}", "opts", "{}", "jid", "next")
    if verb == "get_rate_limit_ttl":
        await link.call("HSET", keys.meta, "max", 5, "duration", 1_000, "smooth", 1)
    if "schedule" in verb:
        await seed_schedule(link, keys, 9)
    if verb in ("resume", "obliterate"):
        await pause(link, keys, now=7)
        await link.call("LPUSH", keys.wait, "w3")
        await link.call("HSET", keys.job("w3"), "name", "n", "data", "{}", "opts", "{}", "timestamp", 0)


def script(verb: str) -> Script:
    found: Script = getattr(importlib.import_module(f"engine.scripts.{verb}"), f"_{verb}")
    return found


SORTED = ("prioritized", "delayed", "waiting_children", "completed", "failed", "repeat", "marker", "cancelling")
STRUCTURES = [
    (verb, key) for verb in CALLS for key in script(verb).keys if key != "jobs" and key not in ANY_TYPE.get(verb, ())
]


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(("verb", "name"), [(verb, name) for verb, name in STRUCTURES if name in SORTED])
async def test_a_plain_set_for_a_sorted_set_changes_nothing(link: Link, keys: Keys, verb: str, name: str) -> None:
    await seed_operators(link, keys, verb)
    await link.call("DEL", getattr(keys, name))
    await link.call("SADD", getattr(keys, name), "foreign")
    before = await dump(link)
    try:
        await CALLS[verb](link, keys)
    except ServerError:
        assert await dump(link) == before
    else:
        assert verb == "list_jobs" or await link.call("SMEMBERS", getattr(keys, name)) == [b"foreign"]


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(("verb", "name"), STRUCTURES)
async def test_a_structure_of_a_wrong_type_is_an_error_before_anything_is_written_or_is_not_needed(
    link: Link, keys: Keys, verb: str, name: str
) -> None:
    await seed_operators(link, keys, verb)
    await link.call("SET", getattr(keys, name), "foreign")
    before = await dump(link)
    try:
        await CALLS[verb](link, keys)
    except ServerError:
        assert await dump(link) == before
    else:
        assert await link.call("GET", getattr(keys, name)) == b"foreign"
        assert name in ("active", "paused", "id") or verb in ("list_jobs", "list_schedules"), (
            "all other keys are needed"
        )


@pytest.mark.parametrize("verb", CALLS)
async def test_it_leaves_a_sound_queue_and_says_only_what_its_header_names(link: Link, keys: Keys, verb: str) -> None:
    await seed_operators(link, keys, verb)
    await link.call("DEL", keys.events)
    before = await dump(link)
    await CALLS[verb](link, keys)
    assert {line.split()[0] for line in await events(link, keys)} <= script(verb).header.emits
    assert (await dump(link) == before) == (verb in READ)


@pytest.mark.parametrize("verb", CALLS)
async def test_a_full_server_refuses_only_what_brings_something_in(link: Link, keys: Keys, verb: str) -> None:
    await seed_operators(link, keys, verb)
    before = await dump(link)
    await link.call("CONFIG", "SET", "maxmemory", 1)
    try:
        if verb in GROW:
            with pytest.raises(ServerBusy):
                await CALLS[verb](link, keys)
            assert await dump(link) == before
        else:
            await CALLS[verb](link, keys)
            assert (await dump(link) == before) == (verb in READ)
    finally:
        await link.call("CONFIG", "SET", "maxmemory", 0)


@pytest.mark.parametrize("verb", sorted(CALLS.keys() - {*GROW, "pause"}))
async def test_a_queue_that_is_not_there_is_no_error(link: Link, keys: Keys, verb: str) -> None:
    await CALLS[verb](link, keys)
    assert await dump(link) == {}


TELLING = [verb for verb in CALLS if script(verb).header.emits and verb not in ("drain", "obliterate")]
"""Scripts that tell of this queue's jobs: these two tell of parents alone."""


@pytest.mark.parametrize("verb", TELLING)
async def test_its_events_do_not_let_the_stream_grow(link: Link, keys: Keys, verb: str) -> None:
    await seed_operators(link, keys, verb)
    await link.call("HSET", keys.meta, "opts.maxLenEvents", 100)
    await link.call_many([("XADD", keys.events, "*", "event", "drained")] * 600)
    await CALLS[verb](link, keys)
    assert await link.call("XLEN", keys.events) < 300
