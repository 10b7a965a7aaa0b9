"""What holds for every script that producers and workers call all the time, said once."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import ServerBusy, ServerError
from engine.model.keys import Keys
from engine.scripting.rows import Refusal
from tests.support.calls import CALLS, FENCED, script, seed_for_all
from tests.support.keyspace import dump, events

SORTED = ("prioritized", "delayed", "completed", "failed", "repeat", "marker")
OWN = ("jobs", "stalled_check", "watch")
"""A prefix, and what a script writes over whatever is there."""
STRUCTURES = [(verb, key) for verb in CALLS for key in script(verb).keys if key not in OWN]


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(("verb", "name"), STRUCTURES)
async def test_a_structure_of_a_wrong_type_is_an_error_and_nothing_is_written(
    link: Link, keys: Keys, verb: str, name: str
) -> None:
    await seed_for_all(link, keys)
    # Some structures matter in some states only.
    match name:
        case "paused":
            await link.call("HSET", keys.meta, "paused", 1)
        case "active":
            await link.call("HSET", keys.meta, "concurrency", 50)
            await link.call("DEL", *map(keys.lock, "abr"))
        case "limiter" | "smoothed":
            await link.call("HSET", keys.meta, "max", 5, "duration", 1_000, "smooth", 1)
    await link.call("SET", getattr(keys, name), "foreign")
    before = await dump(link)
    with pytest.raises(ServerError):
        await CALLS[verb](link, keys)
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(("verb", "name"), [(verb, name) for verb, name in STRUCTURES if name in SORTED])
async def test_a_plain_set_for_a_sorted_set_is_an_error_too(link: Link, keys: Keys, verb: str, name: str) -> None:
    """Some commands for sorted sets take a plain set as well: ZINTERCARD cannot be what asks for the type."""
    await seed_for_all(link, keys)
    key = getattr(keys, name)
    ids = await link.call("ZRANGE", key, 0, -1)
    await link.call("DEL", key)
    await link.call("SADD", key, *ids, "foreign")
    before = await dump(link)
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await CALLS[verb](link, keys)
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("verb", ["turn", "finish", "fail"])
async def test_who_asks_at_its_end_whether_the_queue_is_empty_has_looked_before(
    link: Link, keys: Keys, verb: str
) -> None:
    await seed_for_all(link, keys)
    await link.call("DEL", keys.delayed, *map(keys.job, ["soon", "soon-ranked", "later"]))
    await link.call("HSET", keys.meta, "paused", 1)
    await link.call("SET", keys.wait, "foreign")
    before = await dump(link)
    with pytest.raises(ServerError):
        await CALLS[verb](link, keys)
    assert await dump(link) == before


@pytest.mark.parametrize("verb", CALLS)
async def test_it_leaves_a_sound_queue_and_says_only_what_its_header_names(link: Link, keys: Keys, verb: str) -> None:
    await seed_for_all(link, keys)
    await CALLS[verb](link, keys)
    assert {line.split()[0] for line in await events(link, keys)} <= script(verb).header.emits


@pytest.mark.parametrize(
    "verb", ["finish", "fail", "retry", "delay", "rate_limit", "release", "promote", "recover_stalled"]
)
async def test_sent_twice_it_does_nothing_more(link: Link, keys: Keys, verb: str) -> None:
    await seed_for_all(link, keys)
    await CALLS[verb](link, keys)
    before = await dump(link)
    await CALLS[verb](link, keys)
    assert await dump(link) == before


@pytest.mark.parametrize("verb", FENCED)
@pytest.mark.parametrize("field", ["owner and lock", "lock", "fence"])
async def test_a_stale_claim_is_refused_and_changes_nothing(link: Link, keys: Keys, verb: str, field: str) -> None:
    await seed_for_all(link, keys)
    await link.call(
        "DEL",
        keys.wait,
        keys.prioritized,
        keys.delayed,
        *map(keys.job, ["w1", "w2", "p", "soon", "soon-ranked", "later"]),
    )
    for id in "abr":
        if field == "fence":
            await link.call("HINCRBY", keys.job(id), "ats", 1)
        else:
            if field != "lock":
                await link.call("HSET", keys.job(id), "owner", "t9")
            await link.call("SET", keys.lock(id), "t9", "PX", 60_000)
    before = await dump(link)
    answer = await CALLS[verb](link, keys)
    assert (answer.refused if verb == "turn" else answer) == dict.fromkeys(range(3), Refusal.LOST)
    assert await dump(link) == before


@pytest.mark.parametrize("verb", FENCED)
async def test_a_claim_with_an_expired_lock_still_holds(link: Link, keys: Keys, verb: str) -> None:
    await seed_for_all(link, keys)
    for id in "abr":
        await link.call("DEL", keys.lock(id))
    answer = await CALLS[verb](link, keys)
    assert (answer.refused if verb == "turn" else answer) == {}


@pytest.mark.parametrize("verb", FENCED)
async def test_claims_on_deleted_jobs_do_not_stop_the_others(link: Link, keys: Keys, verb: str) -> None:
    await seed_for_all(link, keys)
    await link.call("LREM", keys.active, 0, "a")
    await link.call("SREM", keys.stalled, "a")
    await link.call("DEL", keys.job("a"), keys.lock("a"))
    answer = await CALLS[verb](link, keys)
    assert (answer.refused if verb == "turn" else answer) == {0: Refusal.MISSING}


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("verb", [*FENCED, "recover_claim", "recover_stalled"])
async def test_a_foreign_key_at_a_jobs_place_holds_up_no_other(link: Link, keys: Keys, verb: str) -> None:
    await seed_for_all(link, keys)
    for id in ("a", "dead"):
        await link.call("DEL", keys.job(id))
        await link.call("LPUSH", keys.job(id), "not a hash")
    answer = await CALLS[verb](link, keys)
    match verb:
        case "recover_claim":
            assert [job.id for job in answer] == ["b", "r"]
        case "recover_stalled":
            assert answer == []
        case _:
            assert (answer.refused if verb == "turn" else answer) == {0: Refusal.LOST}


@pytest.mark.parametrize("verb", CALLS)
async def test_a_full_server_refuses_what_brings_data_and_lets_the_queue_drain(
    link: Link, keys: Keys, verb: str
) -> None:
    await seed_for_all(link, keys)
    before = await dump(link)
    await link.call("CONFIG", "SET", "maxmemory", 1)
    try:
        if verb in ("add", "add_plain", "claim", "promote"):
            with pytest.raises(ServerBusy):
                await CALLS[verb](link, keys)
            assert await dump(link) == before
        else:
            await CALLS[verb](link, keys)
            assert verb in ("renew", "recover_claim") or await dump(link) != before
    finally:
        await link.call("CONFIG", "SET", "maxmemory", 0)


@pytest.mark.parametrize("verb", ["renew", "recover_stalled"])
async def test_a_full_server_lets_it_work_with_nothing_to_do(link: Link, keys: Keys, verb: str) -> None:
    await link.call("CONFIG", "SET", "maxmemory", 1)
    try:
        await CALLS[verb](link, keys)
    finally:
        await link.call("CONFIG", "SET", "maxmemory", 0)


@pytest.mark.parametrize("verb", CALLS)
async def test_a_server_that_forgot_the_script_is_given_it_again(link: Link, keys: Keys, verb: str) -> None:
    await seed_for_all(link, keys)
    await link.call("SCRIPT", "FLUSH")
    await CALLS[verb](link, keys)
    assert await link.call("SCRIPT", "EXISTS", script(verb).digest) == [1]
