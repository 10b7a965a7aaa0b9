"""replay: the job of a dead letter is in line again, once, whoever asks and however often."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import ServerBusy, ServerError
from engine.model.keys import Keys
from engine.model.records import Failed, NewRow
from engine.scripts.add import add
from engine.scripts.claim import claim
from engine.scripts.fail import fail
from engine.scripts.replay import NotReplayed, replay
from engine.scripts.reprocess import reprocess
from tests.support.dead_letters import ALL, Death, fail_jobs, stored_dead_letters
from tests.support.keyspace import census, dump, events, job, snapshot
from tests.support.seeding import seed


async def test_a_deleted_job_is_added_again_under_its_id(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(3, type="sms")}, jobs={"a": {"data": '{"n":1}', "opts": '{"attempts":2}'}})
    await link.call("DEL", keys.events)
    assert await replay(link, keys, [("a", 3, None)], by="x", now=7) == {}
    found = await snapshot(link, keys)
    assert found["wait"] == ["a"]
    assert found["job:a"] == {
        "name": "sms", "data": '{"n":1}', "opts": '{"attempts":2}', "timestamp": "7", "delay": "0", "priority": "0",
    }  # fmt: skip
    assert found["events"] == ["added a name=sms", "waiting a"]
    assert found["marker"] == {"0": 0}
    dead = await stored_dead_letters(link, keys)
    assert dead.keys() == {"replayed", "letter:a:record"}
    assert (dead["letter:a:record"]["replayedOn"], dead["replayed"]) == ("7", {"a": 3})


async def test_a_job_that_is_still_failed_leaves_there_and_its_fence_stays(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(3)}, keep=ALL, jobs={"a": {"priority": 2}})
    await link.call("HSET", keys.job("a"), "ats", 4)
    await link.call("DEL", keys.events)
    assert await replay(link, keys, [("a", 3, b"[1]")], by="x", now=7) == {}
    found = await census(link, keys)
    assert (found["failed"], found["prioritized"]) == ([], ["a"])
    fields = await job(link, keys, "a")
    assert (fields["data"], fields["ats"]) == ("[1]", "4")
    assert not fields.keys() & {"atm", "stc", "owner", "finishedOn", "processedOn", "failedReason"}
    assert await events(link, keys) == ["waiting a prev=failed"]


async def test_the_number_of_a_job_made_anew_is_not_given_again(link: Link, keys: Keys) -> None:
    """As after BullMQ's obliterate, which deletes the counter and leaves the letters."""
    await fail_jobs(link, keys, {"2": Death(3), "9": Death(3), "10-a": Death(3)})
    await link.call("SET", keys.id, 4)
    await replay(link, keys, [("2", 3, None), ("10-a", 3, None)], by="x", now=7)
    assert await link.call("GET", keys.id) == b"4"
    await replay(link, keys, [("9", 3, None)], by="y", now=7)
    assert (await add(link, keys, [NewRow("", "n", b"{}", b"{}")], now=8)).ids == ["10"]


async def test_sent_twice_it_answers_the_same_and_others_get_1(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(3)})
    assert await replay(link, keys, [("a", 3, None), ("a", 3, None)], by="x", now=7) == {}
    before = await dump(link)
    assert await replay(link, keys, [("a", 3, None)], by="x", now=8) == {}
    assert await replay(link, keys, [("a", 3, None)], by="y", now=8) == {"a": NotReplayed.DONE}
    assert await dump(link) == before


async def test_what_is_not_meant_any_more_is_left(link: Link, keys: Keys) -> None:
    deaths = {"later": Death(5), "again": Death(5), "retried": Death(5)}
    await fail_jobs(link, keys, deaths)
    await seed(link, keys, wait=["again"], completed={"retried": 6})
    before = await dump(link)
    rows = [("later", 4, None), ("again", 5, None), ("retried", None, None), ("gone", None, None)]
    assert await replay(link, keys, rows, by="x", now=7) == {
        "later": NotReplayed.CHANGED,
        "again": NotReplayed.PRESENT,
        "retried": NotReplayed.PRESENT,
        "gone": NotReplayed.MISSING,
    }
    assert await dump(link) == before


async def test_a_job_that_fails_after_its_replay_has_an_open_letter_again(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(3, error="Old")})
    await replay(link, keys, [("a", None, None)], by="x", now=4)
    jobs = (await claim(link, keys, token="t2", lock_ms=9_000, worker="w", count=1, now=4)).jobs
    await fail(link, keys, [(jobs[0], Failed("boom", error="New"), ALL, 1)], dead_letters=ALL, now=5)
    found = await stored_dead_letters(link, keys)
    assert (found["open"], found["errors"], "replayed" in found) == ({"a": 5}, {"New": 1}, False)
    assert found["letter:a:record"]["times"] == "2"
    assert "replayedOn" not in found["letter:a:record"]


async def test_a_job_that_an_operator_retried_is_not_replayed_too(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(3)}, keep=ALL)
    assert await reprocess(link, keys, [("a", False)], now=4) == {}
    assert (await stored_dead_letters(link, keys))["letter:a:record"]["replayedOn"] == "4"
    assert await replay(link, keys, [("a", None, None)], by="x", now=5) == {"a": NotReplayed.DONE}


async def test_in_a_paused_queue_it_waits(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(3)})
    await link.call("HSET", keys.meta, "paused", 1)
    await replay(link, keys, [("a", None, None)], by="x", now=4)
    found = await snapshot(link, keys)
    assert found["paused"] == ["a"]
    assert "marker" not in found


async def test_a_full_server_refuses_it_wholly(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(3)})
    before = await dump(link)
    await link.call("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(ServerBusy):
            await replay(link, keys, [("a", None, None)], by="x", now=4)
    finally:
        await link.call("CONFIG", "SET", "maxmemory", 0)
    assert await dump(link) == before


FOREIGN = ["meta", "id", "wait", "prioritized", "pc", "failed", "marker", "events",
           "corral:dead:open", "corral:dead:replayed", "corral:dead:types", "corral:dead:type:1:n:ids", "corral:dead:type+error:1:n:10:ValueError:ids"]  # fmt: skip


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("name", FOREIGN)
async def test_a_structure_of_a_wrong_type_is_an_error_and_nothing_is_written(
    link: Link, keys: Keys, name: str
) -> None:
    await fail_jobs(link, keys, {"a": Death(3), "b": Death(4)}, keep=ALL)
    await link.call("SET", keys.jobs + name, "foreign")
    before = await dump(link)
    with pytest.raises(ServerError):
        await replay(link, keys, [("a", None, None), ("b", None, None)], by="x", now=7)
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
async def test_a_foreign_key_at_a_jobs_place_holds_up_no_other(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(3), "b": Death(4), "c": Death(5)})
    await link.call("SET", keys.job("a"), "not a hash")
    await link.call("DEL", keys.dead_letter("b"))
    await link.call("SET", keys.dead_letter("b"), "not a hash")
    refused = await replay(link, keys, [(id, None, None) for id in "abc"], by="x", now=7)
    assert refused == {"a": NotReplayed.PRESENT, "b": NotReplayed.MISSING}
    assert (await census(link, keys))["wait"] == ["c"]
