"""fail: from the hands of a worker to the failed jobs, or out of the queue."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed
from engine.scripting.rows import Refusal
from engine.scripts.fail import fail
from tests.support.dead_letter_indexes import index_names
from tests.support.dead_letters import Death, fail_jobs, stored_dead_letters
from tests.support.keyspace import census, dump, events, job, snapshot
from tests.support.seeding import Held, claimed, seed

ALL = Keep()


async def test_a_failed_job_keeps_its_reason_and_traces_and_loses_its_deferred_failure(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, stalled=["a"], jobs={"a": {"defa": "stalled", "stacktrace": '["x"]'}})
    assert await fail(link, keys, [(claimed("a"), Failed("boom", b'["x","y"]'), ALL, 3)], now=7) == {}
    assert await snapshot(link, keys) == {
        "failed": {"a": 7},
        "events": ["failed a failedReason=boom prev=active", "drained"],
        "job:a": {
            "name": "n", "data": "{}", "opts": "{}", "timestamp": "0", "delay": "0", "priority": "0",
            "processedOn": "1", "ats": "1", "owner": "t1", "pb": "w",
            "failedReason": "boom", "stacktrace": '["x","y"]', "finishedOn": "7", "atm": "1",
        },
    }  # fmt: skip


async def test_only_a_job_without_attempts_left_says_that_they_are_exhausted(link: Link, keys: Keys) -> None:
    attempts = {"none": 0, "one": 1, "more": 3, "last": 2}
    jobs: dict[str, dict[str, int | str]] = {"last": {"atm": 1, "opts": '{"attempts":2}'}}
    await seed(link, keys, active={id: Held(fence=2) for id in attempts}, jobs=jobs)
    await fail(link, keys, [(claimed(id, fence=2), Failed("no"), ALL, n) for id, n in attempts.items()], now=7)
    said = [line for line in await events(link, keys) if line.startswith("retries-exhausted")]
    assert said == [
        "retries-exhausted none attemptsMade=1",
        "retries-exhausted one attemptsMade=1",
        "retries-exhausted last attemptsMade=2",
    ]


async def test_a_reply_that_was_lost_is_given_again(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, wait=["w"])
    failure = [(claimed("a"), Failed("boom"), ALL, 1)]
    assert await fail(link, keys, failure, now=7) == {}
    before = await dump(link)
    assert await fail(link, keys, failure, now=8) == {0: Refusal.DONE}
    assert await dump(link) == before


async def test_a_job_of_which_nothing_is_kept_leaves_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, failed={"old": 1})
    await link.call("RPUSH", keys.logs("a"), "line")
    await fail(link, keys, [(claimed("a"), Failed("boom"), Keep(count=0), 1)], now=7)
    found = await snapshot(link, keys)
    assert set(found) == {"failed", "job:old", "events"}
    assert found["events"] == [
        "failed a failedReason=boom prev=active",
        "retries-exhausted a attemptsMade=1",
        "drained",
    ]


async def test_retention_trims_failed_jobs_only(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, failed={"f1": 1, "f2": 2}, completed={"c": 1})
    await fail(link, keys, [(claimed("a"), Failed("boom"), Keep(count=2), 1)], now=7)
    found = await census(link, keys)
    assert (found["failed"], found["completed"]) == (["f2", "a"], ["c"])


async def test_a_slot_left_under_a_global_concurrency_wakes_a_worker(link: Link, keys: Keys) -> None:
    await seed(link, keys, prioritized={"p": 1}, active={"a": Held()}, meta={"concurrency": 1})
    await fail(link, keys, [(claimed("a"), Failed("boom"), ALL, 1)], now=7)
    assert (await snapshot(link, keys))["marker"] == {"0": 0}


async def test_a_reason_in_any_script_and_a_thousand_rows_are_kept(link: Link, keys: Keys) -> None:
    ids = [f"j{n}" for n in range(1_000)]
    await seed(link, keys, active={id: Held() for id in ids})
    reason = 'Fehler: „ä“ 🚀 \x1b[31m"\n'
    assert await fail(link, keys, [(claimed(id), Failed(reason), ALL, 1) for id in ids], now=7) == {}
    assert (await job(link, keys, "j999"))["failedReason"] == reason
    assert len((await census(link, keys))["failed"]) == 1_000


# --- dead letters -----------------------------------------------------------------------------------------------------


async def test_a_dead_letter_has_all_of_a_job_that_is_not_kept(link: Link, keys: Keys) -> None:
    fields: dict[str, str | int] = {
        "name": "sms",
        "data": '{"n":1}',
        "opts": '{"attempts":3}',
        "timestamp": 5,
        "priority": 2,
        "atm": 2,
        "stc": 1,
    }
    await seed(link, keys, active={"a": Held(fence=4)}, jobs={"a": fields})
    failure = (claimed("a", fence=4), Failed("boom", b'["x","y"]', "KeyError"), Keep(count=0), 3)
    assert await fail(link, keys, [failure], dead_letters=ALL, tenants=["t1"], now=7) == {}
    assert await stored_dead_letters(link, keys) == {
        "letter:a:record": {
            "name": "sms", "data": '{"n":1}', "opts": '{"attempts":3}', "timestamp": "5", "priority": "2", "ats": "4",
            "stc": "1", "pb": "w", "processedOn": "1", "finishedOn": "7", "failedReason": "boom",
            "stacktrace": '["x","y"]', "atm": "3", "error": "KeyError", "tenant": "t1", "times": "1",
        },
        "open": {"a": 7},
        **{name: {"a": 7} for name in index_names({"type": "sms", "error": "KeyError", "tenant": "t1"})},
        "types": {"sms": 1}, "errors": {"KeyError": 1}, "tenants": {"t1": 1},
    }  # fmt: skip
    assert await job(link, keys, "a") == {}


async def test_a_failure_that_is_refused_or_sent_twice_writes_no_letter(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held(token="t9")})
    rows = [(claimed(id), Failed("boom"), ALL, 1) for id in "ab"]
    assert await fail(link, keys, rows, dead_letters=ALL, now=7) == {1: Refusal.LOST}
    assert (await stored_dead_letters(link, keys))["open"] == {"a": 7}
    before = await dump(link)
    assert await fail(link, keys, rows, dead_letters=ALL, now=8) == {0: Refusal.DONE, 1: Refusal.LOST}
    assert await dump(link) == before


@pytest.mark.parametrize(
    ("letters", "left"),
    [(Keep(), "abcd"), (Keep(count=2), "cd"), (Keep(age=2_000), "cd"), (Keep(count=3, age=1_000), "d")],
)
async def test_letters_have_a_retention_of_their_own(link: Link, keys: Keys, letters: Keep, left: str) -> None:
    deaths = {"a": Death(1_000), "b": Death(2_000, type="other"), "c": Death(3_000), "d": Death(4_000)}
    await fail_jobs(link, keys, deaths, letters=letters, keep=ALL)
    assert sorted((await stored_dead_letters(link, keys))["open"]) == list(left)
    assert (await census(link, keys))["failed"] == list("abcd")


FOREIGN = ["open", "replayed", "types", "errors", *index_names({"type": "n", "error": "KeyError", "tenant": "t1"})]


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("name", FOREIGN)
async def test_an_index_of_a_wrong_type_writes_nothing(link: Link, keys: Keys, name: str) -> None:
    await seed(link, keys, active={"a": Held()})
    await link.call("SET", f"{keys.jobs}corral:dead:{name}", "foreign")
    before = await dump(link)
    with pytest.raises(ServerError):
        await fail(
            link,
            keys,
            [(claimed("a"), Failed("boom", b"", "KeyError"), ALL, 1)],
            dead_letters=ALL,
            tenants=["t1"],
            now=7,
        )
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
async def test_a_foreign_key_at_a_letters_place_costs_that_letter_only(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held()})
    await link.call("SET", keys.dead_letter("a"), "foreign")
    assert await fail(link, keys, [(claimed(id), Failed("boom"), ALL, 1) for id in "ab"], dead_letters=ALL, now=7) == {}
    found = await stored_dead_letters(link, keys)
    assert (found["letter:a:record"], found["open"]) == ("foreign", {"b": 7})
    assert (await census(link, keys))["failed"] == ["a", "b"]
