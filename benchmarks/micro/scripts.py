"""One call of every script, on a queue made ready so that all its rows are carried out. Knows no clock.

A new script needs a case here; a test compares the cases with the folder.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.micro.payload import data
from engine.connection import Link
from engine.model.keys import Keys
from engine.model.limits import RateLimit
from engine.model.options import NO_OPTIONS_WIRE, Deduplication, Keep
from engine.model.records import Claimed, Failed, Limited, NewRow, NodeRow, Retrying
from engine.scripts.add import add
from engine.scripts.add_flow import add_flow
from engine.scripts.add_plain import add_plain
from engine.scripts.advance_schedule import advance_schedule
from engine.scripts.cancel import cancel
from engine.scripts.change_delay import change_delay
from engine.scripts.change_priority import change_priority
from engine.scripts.check_dead_letters import check_dead_letters
from engine.scripts.claim import claim
from engine.scripts.clean import clean
from engine.scripts.count_dead_letters import count_dead_letters
from engine.scripts.count_names import count_names
from engine.scripts.count_priorities import count_priorities
from engine.scripts.delay import delay
from engine.scripts.drain import drain
from engine.scripts.fail import fail
from engine.scripts.find_dead_letters import LetterQuery, find_dead_letters
from engine.scripts.find_oldest import find_oldest
from engine.scripts.find_stuck_schedules import find_stuck_schedules
from engine.scripts.finish import finish
from engine.scripts.finish_adding import finish_adding
from engine.scripts.get_counts import get_counts
from engine.scripts.get_jobs import get_jobs
from engine.scripts.get_metrics import get_metrics
from engine.scripts.get_rate_limit_ttl import get_rate_limit_ttl
from engine.scripts.get_results import get_results
from engine.scripts.get_state import get_state
from engine.scripts.init_queue import init_queue
from engine.scripts.limit_concurrency import limit_concurrency
from engine.scripts.limit_rate import limit_rate
from engine.scripts.list_jobs import list_jobs
from engine.scripts.list_schedules import list_schedules
from engine.scripts.log import log
from engine.scripts.notify_parents import notify_parents
from engine.scripts.obliterate import obliterate
from engine.scripts.pause import pause
from engine.scripts.progress import progress
from engine.scripts.promote import promote
from engine.scripts.promote_one import promote_one
from engine.scripts.purge import purge
from engine.scripts.rate_limit import rate_limit
from engine.scripts.read_events import read_events
from engine.scripts.recover_claim import recover_claim
from engine.scripts.recover_stalled import recover_stalled
from engine.scripts.release import release
from engine.scripts.remove import remove
from engine.scripts.remove_deduplication import remove_deduplication
from engine.scripts.remove_flow import remove_flow
from engine.scripts.remove_schedule import remove_schedule
from engine.scripts.renew import renew
from engine.scripts.replay import replay
from engine.scripts.reprocess import reprocess
from engine.scripts.resume import resume
from engine.scripts.retry import retry
from engine.scripts.turn import turn
from engine.scripts.update_data import update_data
from engine.scripts.upsert_schedule import upsert_schedule
from engine.scripts.wait_children import wait_children
from engine.scripts.write_dead_letters import write_dead_letters

_ONE = (1,)
_HOUR = 3_600_000
_LOCK = 15_000
_TOKEN = "6f0e2c0d9a1b4e7f8a3c5d6e7f809112"  # as long as those of a worker


class Case(Struct, frozen=True):
    """A call of one script."""

    seed: Callable[[Link, Keys, int], Awaitable[Any]]
    """Prepares this many rows for the call; returns what the call needs."""
    call: Callable[[Link, Keys, Any], Awaitable[Any]]
    done: Callable[[Any, Any], int]
    """How many rows the call carried out, from the results of the seed and the call."""
    rows: tuple[int, ...] = (1, 10, 100, 1000)


# --- seeds ------------------------------------------------------------------------------------------------------------


async def _nothing(link: Link, keys: Keys, rows: int) -> int:
    return rows


async def _rows(link: Link, keys: Keys, rows: int) -> list[NewRow]:
    return [NewRow("", "job", data(n), NO_OPTIONS_WIRE) for n in range(rows)]


async def _added(link: Link, keys: Keys, rows: int) -> list[str]:
    return (await add(link, keys, await _rows(link, keys, rows))).ids


async def _delayed(link: Link, keys: Keys, rows: int, *, timestamp: int | None = None) -> list[str]:
    new = [NewRow("", "job", data(n), NO_OPTIONS_WIRE, timestamp=timestamp, delay=_HOUR) for n in range(rows)]
    return (await add(link, keys, new)).ids


async def _claimed(link: Link, keys: Keys, rows: int) -> list[Claimed]:
    await _added(link, keys, rows)
    return (await claim(link, keys, token=_TOKEN, lock_ms=_LOCK, worker="micro", count=rows)).jobs


async def _unlocked(link: Link, keys: Keys, rows: int) -> list[str]:
    """Jobs of a worker that died."""
    jobs = await _claimed(link, keys, rows)
    await link.call("DEL", *[keys.lock(job.id) for job in jobs])
    return [job.id for job in jobs]


async def _claimed_and_added(link: Link, keys: Keys, rows: int) -> list[Claimed]:
    jobs = await _claimed(link, keys, rows)
    await _added(link, keys, rows)
    return jobs


async def _finished(link: Link, keys: Keys, rows: int) -> list[str]:
    jobs = await _claimed(link, keys, rows)
    await finish(link, keys, _results(jobs))
    return [job.id for job in jobs]


async def _failed(link: Link, keys: Keys, rows: int) -> list[str]:
    jobs = await _claimed(link, keys, rows)
    await fail(link, keys, _failures(jobs))
    return [job.id for job in jobs]


async def _dead(link: Link, keys: Keys, rows: int) -> list[str]:
    """Dead letters of jobs that retention deleted."""
    jobs = await _claimed(link, keys, rows)
    await fail(link, keys, [(job, Failed("it does not work"), Keep(count=0), 1) for job in jobs], dead_letters=Keep())
    return [job.id for job in jobs]


async def _paused(link: Link, keys: Keys, rows: int) -> list[str]:
    ids = await _added(link, keys, rows)
    await pause(link, keys)
    return ids


async def _tree(link: Link, keys: Keys, rows: int) -> list[NodeRow]:
    """A job that waits for the others; without others it waits for none."""
    link_text = msgspec.json.encode({"id": "parent", "queueKey": keys.jobs.removesuffix(":")})
    root = NodeRow(keys.jobs, NewRow("parent", "job", data(0), NO_OPTIONS_WIRE), waits=rows > 1)
    return [
        root,
        *(
            NodeRow(keys.jobs, NewRow(f"c{n}", "job", data(n), NO_OPTIONS_WIRE), keys.job("parent"), link_text)
            for n in range(1, rows)
        ),
    ]


async def _flow_added(link: Link, keys: Keys, rows: int) -> int:
    await add_flow(link, keys, await _tree(link, keys, rows))
    return rows


async def _claimed_and_nodes(link: Link, keys: Keys, rows: int) -> tuple[Claimed, list[NodeRow]]:
    (job,) = await _claimed(link, keys, 1)
    return job, [NodeRow(keys.jobs, NewRow(f"n{n}", "job", data(n), NO_OPTIONS_WIRE), waits=False) for n in range(rows)]


async def _claimed_and_children(link: Link, keys: Keys, rows: int) -> tuple[Claimed, list[NodeRow]]:
    (job,) = await _claimed(link, keys, 1)
    link_text = msgspec.json.encode({"id": job.id, "queueKey": keys.jobs.removesuffix(":")})
    return job, [
        NodeRow(keys.jobs, NewRow(f"n{n}", "job", data(n), NO_OPTIONS_WIRE), keys.job(job.id), link_text)
        for n in range(rows)
    ]


async def _deduplicated(link: Link, keys: Keys, rows: int) -> int:
    await add(link, keys, [NewRow("", "job", data(0), NO_OPTIONS_WIRE, deduplication=Deduplication("d"))])
    return rows


async def _scheduled(link: Link, keys: Keys, rows: int) -> int:
    """Schedules whose next run is far off; when it is due, in ms."""
    for n in range(rows):
        await _upsert(link, keys, f"s{n}")
    return rows


async def _upsert(link: Link, keys: Keys, id: str) -> Any:
    return await upsert_schedule(
        link, keys, id=id, due=None, keep=False, times=[_FAR], name="job", data=data(0), head=_HEAD + id.encode() + b":",
        priority=0, lifo=False, fields={"name": "job", "every": str(_HOUR), "offset": "0", "data": data(0)},
    )  # fmt: skip


_FAR = 4_000_000_000_000
_HEAD = b'{"repeat":{"every":3600000,"count":1},"jobId":"repeat:'


async def _rate_limited(link: Link, keys: Keys, rows: int) -> int:
    await limit_rate(link, keys, RateLimit(1_000, 1_000))
    return rows


# --- what the calls take ----------------------------------------------------------------------------------------------


def _results(jobs: Sequence[Claimed]) -> list[tuple[Claimed, bytes, Keep]]:
    return [(job, b"null", Keep()) for job in jobs]


def _failures(jobs: Sequence[Claimed]) -> list[tuple[Claimed, Failed, Keep, int]]:
    return [(job, Failed("it does not work"), Keep(), 1) for job in jobs]


def _retries(jobs: Sequence[Claimed], delay_ms: int) -> list[tuple[Claimed, Retrying]]:
    return [(job, Retrying(delay_ms, "it does not work")) for job in jobs]


# --- what they did ----------------------------------------------------------------------------------------------------


def _not_refused(seeded: Sequence[Any], refused: Any) -> int:
    return len(seeded) - len(refused)


def _as_many_as_came_back(seeded: Any, reply: Any) -> int:
    return len(reply)


def _if_true(seeded: Any, reply: Any) -> int:
    return int(bool(reply))


def _if_no_error(seeded: Any, reply: Any) -> int:
    return 1


# --- the cases --------------------------------------------------------------------------------------------------------

CASES: dict[str, Case] = {
    "add": Case(_rows, add, lambda seeded, added: len(added.ids)),
    "add_plain": Case(_rows, add_plain, lambda seeded, added: len(added.ids)),
    "get_results": Case(
        _finished,
        get_results,
        lambda seeded, answers: sum(said.end == "completed" for said in answers),
    ),
    "turn": Case(
        _claimed_and_added,
        lambda link, keys, jobs: turn(
            link, keys, _results(jobs), token=_TOKEN[::-1], lock_ms=_LOCK, worker="micro", count=len(jobs)
        ),
        lambda seeded, turned: len(turned.jobs) - len(turned.refused),
    ),
    "claim": Case(
        _added,
        lambda link, keys, ids: claim(link, keys, token=_TOKEN, lock_ms=_LOCK, worker="micro", count=len(ids)),
        lambda seeded, claims: len(claims.jobs),
    ),
    "finish": Case(_claimed, lambda link, keys, jobs: finish(link, keys, _results(jobs)), _not_refused),
    "fail": Case(_claimed, lambda link, keys, jobs: fail(link, keys, _failures(jobs)), _not_refused),
    "retry": Case(
        _claimed,
        lambda link, keys, jobs: retry(link, keys, [(*pair, False) for pair in _retries(jobs, 0)]),
        _not_refused,
    ),
    "delay": Case(_claimed, lambda link, keys, jobs: delay(link, keys, _retries(jobs, _HOUR)), _not_refused),
    "release": Case(_claimed, release, _not_refused),
    "renew": Case(_claimed, partial(renew, lock_ms=_LOCK), _not_refused),
    "recover_claim": Case(
        _claimed,
        lambda link, keys, jobs: recover_claim(link, keys, token=_TOKEN, lock_ms=_LOCK),
        _as_many_as_came_back,
    ),
    "recover_stalled": Case(
        _unlocked,
        lambda link, keys, ids: recover_stalled(link, keys, interval_ms=1_000, max_stalls=1),
        _as_many_as_came_back,
    ),
    "promote": Case(
        partial(_delayed, timestamp=1),
        lambda link, keys, ids: promote(link, keys),
        lambda seeded, promoted: promoted[0],
    ),
    "progress": Case(
        _claimed,
        lambda link, keys, jobs: progress(link, keys, [(job.id, job, b"50") for job in jobs]),
        _not_refused,
    ),
    "log": Case(
        _claimed,
        lambda link, keys, jobs: log(link, keys, [(job.id, job, "half way", None) for job in jobs]),
        lambda seeded, counted: sum(count == 1 for count in counted),
    ),
    "update_data": Case(
        _claimed,
        lambda link, keys, jobs: update_data(link, keys, id=jobs[0].id, data=data(7), claim=jobs[0]),
        _if_no_error,
        _ONE,
    ),
    "init_queue": Case(_nothing, lambda link, keys, _: init_queue(link, keys, version="corral:1"), _if_true, _ONE),
    "get_state": Case(_added, get_state, lambda seeded, words: sum(word == "waiting" for word in words)),
    "get_jobs": Case(_added, get_jobs, lambda seeded, found: sum(job is not None for job in found)),
    "get_counts": Case(_added, lambda link, keys, ids: get_counts(link, keys), lambda seeded, counted: counted.waiting, _ONE),
    "list_jobs": Case(_added, lambda link, keys, ids: list_jobs(link, keys, state="waiting"), _as_many_as_came_back),
    "count_names": Case(
        _added,
        lambda link, keys, ids: count_names(link, keys, state="waiting", start=0, count=1_000),
        lambda seeded, found: found[0],
    ),
    "count_priorities": Case(
        _added, lambda link, keys, ids: count_priorities(link, keys), lambda seeded, found: found[0], _ONE
    ),
    "find_oldest": Case(_added, lambda link, keys, ids: find_oldest(link, keys), lambda seeded, found: len(found[1]), _ONE),
    "get_metrics": Case(
        _added, lambda link, keys, ids: get_metrics(link, keys, kind="completed", start=0, end=-1), _if_no_error, _ONE
    ),
    "read_events": Case(
        _added,
        lambda link, keys, ids: read_events(link, keys, after="0-0", count=2 * len(ids)),
        lambda seeded, found: len(found.entries) // 2,
    ),
    "remove": Case(_added, remove, _not_refused),
    "reprocess": Case(
        _failed,
        lambda link, keys, ids: reprocess(link, keys, [(id, False) for id in ids]),
        _not_refused,
    ),
    "promote_one": Case(
        _delayed, lambda link, keys, ids: promote_one(link, keys, id=ids[0]), _if_no_error, _ONE
    ),
    "change_delay": Case(
        _delayed, lambda link, keys, ids: change_delay(link, keys, id=ids[0], delay_ms=1_000), _if_no_error, _ONE
    ),
    "change_priority": Case(
        _added, lambda link, keys, ids: change_priority(link, keys, id=ids[0], priority=3), _if_no_error, _ONE
    ),
    "pause": Case(_added, lambda link, keys, ids: pause(link, keys), _if_true, _ONE),
    "resume": Case(_paused, lambda link, keys, ids: resume(link, keys), _if_true, _ONE),
    "drain": Case(_added, lambda link, keys, ids: drain(link, keys), lambda seeded, gone: gone),
    "clean": Case(
        _finished, lambda link, keys, ids: clean(link, keys, state="completed"), _as_many_as_came_back
    ),
    "write_dead_letters": Case(
        _failed, lambda link, keys, ids: write_dead_letters(link, keys, [(id, "", "") for id in ids]), lambda seeded, count: count
    ),
    "replay": Case(
        _dead,
        lambda link, keys, ids: replay(link, keys, [(id, None, None) for id in ids], by="b"),
        _not_refused,
    ),
    "purge": Case(
        _dead, lambda link, keys, ids: purge(link, keys, [(id, None) for id in ids]), lambda seeded, gone: gone
    ),
    "find_dead_letters": Case(
        _dead,
        lambda link, keys, ids: find_dead_letters(link, keys, LetterQuery(), what="records", scan=1_000, most=1_000),
        lambda seeded, found: len(found.records),
    ),
    "count_dead_letters": Case(
        _dead, lambda link, keys, ids: count_dead_letters(link, keys, by="type", most=9), _if_true, _ONE
    ),
    "check_dead_letters": Case(
        _dead, lambda link, keys, ids: check_dead_letters(link, keys, threshold=0), _if_true, _ONE
    ),
    "add_flow": Case(_tree, add_flow, _as_many_as_came_back),
    "remove_flow": Case(
        _flow_added, lambda link, keys, rows: remove_flow(link, keys, id="parent"), lambda rows, refused: 0 if refused else rows
    ),
    "finish_adding": Case(
        _claimed_and_nodes,
        lambda link, keys, both: finish_adding(link, keys, (both[0], b"null", Keep()), both[1]),
        lambda both, refused: 0 if refused else len(both[1]),
    ),
    "wait_children": Case(
        _claimed_and_children,
        lambda link, keys, both: wait_children(link, keys, both[0], both[1]),
        lambda both, refused: 0 if refused else len(both[1]),
    ),
    "remove_deduplication": Case(
        _deduplicated, lambda link, keys, _: remove_deduplication(link, keys, deduplication="d"), _if_true, _ONE
    ),
    "cancel": Case(
        _added, lambda link, keys, ids: cancel(link, keys, id=ids[0], reason="cancelled", keep=Keep()), _if_true, _ONE
    ),
    "rate_limit": Case(
        _claimed,
        lambda link, keys, jobs: rate_limit(link, keys, [(job, Limited(1_000)) for job in jobs]),
        _not_refused,
    ),
    "limit_rate": Case(
        _nothing, lambda link, keys, _: limit_rate(link, keys, RateLimit(10, 1_000)), _if_no_error, _ONE
    ),
    "limit_concurrency": Case(_nothing, lambda link, keys, _: limit_concurrency(link, keys, 5), _if_no_error, _ONE),
    "get_rate_limit_ttl": Case(_rate_limited, lambda link, keys, _: get_rate_limit_ttl(link, keys), _if_no_error, _ONE),
    "upsert_schedule": Case(
        _nothing, lambda link, keys, _: _upsert(link, keys, "s"), lambda _, said: int(said == _FAR), _ONE
    ),
    "advance_schedule": Case(
        _scheduled,
        lambda link, keys, _: advance_schedule(
            link, keys, id="s0", due=_FAR, times=[_FAR + _HOUR], head=_HEAD + b"s0:"
        ),
        _if_no_error,
        _ONE,
    ),
    "remove_schedule": Case(
        _scheduled, lambda link, keys, _: remove_schedule(link, keys, id="s0"), _if_true, _ONE
    ),
    "list_schedules": Case(
        _scheduled,
        lambda link, keys, rows: list_schedules(link, keys, page=(0, rows - 1)),
        lambda rows, found: len(found.schedules),
    ),
    "notify_parents": Case(
        _flow_added, lambda link, keys, _: notify_parents(link, keys, interval_ms=1), _if_no_error, _ONE
    ),
    "find_stuck_schedules": Case(
        _scheduled, lambda link, keys, _: find_stuck_schedules(link, keys, interval_ms=1), _if_no_error, _ONE
    ),
    "obliterate": Case(
        _paused, lambda link, keys, ids: obliterate(link, keys), lambda seeded, _: len(seeded)
    ),
}  # fmt: skip
"""Script -> its case. Calls of many rows go to the server as their bindings send them: some take 250 rows a call."""
