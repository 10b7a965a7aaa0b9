"""add_flow: trees of jobs, in one step."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import ServerBusy, ServerError
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import NewRow, NodeRow
from engine.scripts.add_flow import NotAdded, add_flow
from engine.scripts.claim import claim
from engine.scripts.finish import finish
from tests.support.invariants import check_invariants
from tests.support.keyspace import dump, events, snapshot
from tests.support.seeding import seed

OTHER = Keys("other")


def node(
    id: str,
    above: str = "",
    keys: Keys | None = None,
    parent_keys: Keys | None = None,
    *also: str,
    **fields: bool | int,
) -> NodeRow:
    """A row below the job `above` and those of the ids `also`; `waits` is whether it has children, the other fields are NewRow's."""
    own, over = keys or Keys("q"), parent_keys or Keys("q")
    waits = bool(fields.pop("waits", False))
    link = f'{{"id":"{above}","queueKey":"{over.jobs[:-1]}"}}'.encode() if above else b""
    row = NewRow(id, "n", b"{}", b"{}", **fields)  # type: ignore[arg-type]
    return NodeRow(
        own.jobs, row, over.job(above) if above else "", link, "\n".join(map(over.job, also)).encode(), waits
    )


async def test_children_wait_in_their_own_queues(link: Link, keys: Keys) -> None:
    tree = [node("top", waits=True, priority=3), node("a", "top"), node("b", "top", OTHER, delay=5)]
    assert await add_flow(link, keys, tree, now=7) == ["top", "a", "b"]
    plain = {"name": "n", "data": "{}", "opts": "{}", "timestamp": "7", "delay": "0", "priority": "0"}
    below = {"parentKey": "bull:q:top", "parent": '{"id":"top","queueKey":"bull:q"}'}
    assert await snapshot(link, keys) == {
        "meta": {"opts.maxLenEvents": "10000"},
        "id": "2",
        "waiting-children": {"top": 7},
        "wait": ["a"],
        "marker": {"0": 0},
        "job:top": {**plain, "priority": "3"},
        "dependencies:top": ["bull:other:b", "bull:q:a"],
        "job:a": {**plain, **below},
        "events": ["added top name=n", "waiting-children top", "added a name=n", "waiting a"],
    }
    found = await snapshot(link, OTHER)
    assert (found["id"], found["delayed"]) == ("1", {"b": 12 * 4096})
    assert found["job:b"] == {**plain, **below, "delay": "5"}
    assert found["events"] == ["added b name=n", "delayed b delay=12"]


async def test_a_row_without_an_id_gets_the_number_of_its_queue(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"])
    await link.call("SET", keys.id, 41)
    assert await add_flow(link, keys, [node("", "w"), node("", "w")], now=7) == ["42", "43"]
    assert (await snapshot(link, keys))["dependencies:w"] == ["bull:q:42", "bull:q:43"]


async def test_sent_again_it_finds_the_jobs_there_and_changes_none(link: Link, keys: Keys) -> None:
    tree = [node("top", waits=True), node("a", "top"), node("b", "top")]
    await add_flow(link, keys, tree, now=7)
    before = await dump(link)
    assert await add_flow(link, keys, tree, now=8) == [None, None, None]
    after = await dump(link)
    assert (await events(link, keys))[-3:] == ["duplicated top", "duplicated a", "duplicated b"]
    for key in (keys.events, keys.id):
        before.pop(key), after.pop(key)
    assert after == before


async def test_a_child_that_is_done_already_counts_as_done(link: Link, keys: Keys) -> None:
    jobs = {"c": {"returnvalue": '{"n":1}', "parentKey": "bull:q:long-gone"}}
    await seed(link, keys, completed={"c": 1}, wait=["w"], jobs=jobs)
    await add_flow(link, keys, [node("half", waits=True), node("c", "half"), node("w", "half")], now=7)
    found = await snapshot(link, keys)
    assert (found["processed:half"], found["dependencies:half"]) == ({"bull:q:c": '{"n":1}'}, ["bull:q:w"])
    assert found["job:c"]["parentKey"] == found["job:w"]["parentKey"] == "bull:q:half"


async def test_a_parent_all_of_whose_children_are_done_runs_at_once(link: Link, keys: Keys) -> None:
    await seed(link, keys, completed={"c": 1, "d": 1}, wait=["w"])
    await add_flow(link, keys, [node("top", waits=True), node("c", "top"), node("d", "top")], now=7)
    found = await snapshot(link, keys)
    assert (found["wait"], found.get("waiting-children")) == (["top", "w"], None)
    assert found["processed:top"] == {"bull:q:c": "1", "bull:q:d": "1"}
    assert found["events"][-1] == "waiting top prev=waiting-children"


async def test_a_job_that_was_given_a_parent_while_it_ran_reaches_it(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["c"])
    running = (await claim(link, keys, token="t1", lock_ms=9_000, worker="w", count=1, now=6)).jobs
    await add_flow(link, keys, [node("top", waits=True), node("c", "top")], now=7)
    assert await finish(link, keys, [(job, b"5", Keep()) for job in running], now=8) == {}
    found = await snapshot(link, keys)
    assert (found["wait"], found["processed:top"]) == (["top"], {"bull:q:c": "5"})


@pytest.mark.parametrize(
    ("tree", "refused"),
    [
        ([node("x", waits=True), node("y", "x"), node("z", "gone")], (2, NotAdded.NO_PARENT)),
        ([node("x", waits=True), node("y", "x"), node("a", "x")], (2, NotAdded.OTHER_PARENT)),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_written(
    link: Link, keys: Keys, tree: list[NodeRow], refused: tuple[int, NotAdded]
) -> None:
    await add_flow(link, keys, [node("top", waits=True), node("a", "top")], now=7)
    before = await dump(link)
    assert await add_flow(link, keys, tree, now=8) == refused
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("word", ["meta", "id", "wait", "prioritized", "pc", "delayed", "waiting-children", "marker",
                                  "events", "completed", "top:dependencies"])  # fmt: skip
async def test_a_structure_of_a_wrong_type_in_any_queue_is_an_error_and_nothing_is_written(
    link: Link, keys: Keys, word: str
) -> None:
    await link.call("SET", OTHER.jobs + word, "foreign")
    if word == "top:dependencies":
        await seed(link, OTHER, wait=["top"])
    before = await dump(link)
    with pytest.raises(ServerError):
        await add_flow(link, keys, [node("a", waits=True), node("b", "a"), node("c", "top", OTHER, OTHER)], now=7)
    assert await dump(link) == before


async def test_a_full_server_refuses_it(link: Link, keys: Keys) -> None:
    await link.call("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(ServerBusy):
            await add_flow(link, keys, [node("top", waits=True), node("a", "top")], now=7)
    finally:
        await link.call("CONFIG", "SET", "maxmemory", 0)
    assert await dump(link) == {}


async def test_a_paused_queue_and_one_with_no_room_wake_nobody(link: Link, keys: Keys) -> None:
    await link.call("HSET", keys.meta, "paused", 1)
    await add_flow(link, keys, [node("top", waits=True), node("a", "top"), node("b", "top", OTHER)], now=7)
    found = await snapshot(link, keys)
    assert (found["paused"], found.get("marker")) == (["a"], None)
    assert (await snapshot(link, OTHER))["marker"] == {"0": 0}


async def test_a_thousand_rows(link: Link, keys: Keys) -> None:
    tree = [node("top", waits=True), *(node(f"c{n}", "top", OTHER) for n in range(999))]
    assert len(await add_flow(link, keys, tree, now=7)) == 1_000
    assert await link.call("SCARD", keys.helper("top", "dependencies")) == 999
    await check_invariants(link, keys)
    await check_invariants(link, OTHER)


DIAMOND = [
    node("top", waits=True),
    node("a", "top", waits=True),
    node("b", "top", waits=True),
    node("shared", "a", None, None, "b", "top"),
]


async def test_each_of_several_parents_is_notified(link: Link, keys: Keys) -> None:
    assert await add_flow(link, keys, DIAMOND, now=7) == ["top", "a", "b", "shared"]
    found = await snapshot(link, keys)
    assert found["job:shared"]["parentKey"] == "bull:q:a"
    assert found["job:shared"]["also"] == "bull:q:b\nbull:q:top"
    assert (found["dependencies:a"], found["dependencies:b"]) == (["bull:q:shared"], ["bull:q:shared"])
    assert found["dependencies:top"] == ["bull:q:a", "bull:q:b", "bull:q:shared"]
    [done] = (await claim(link, keys, token="t", lock_ms=9_000, worker="w", count=1, now=8)).jobs
    await finish(link, keys, [(done, b"5", Keep())], now=9)
    found = await snapshot(link, keys)
    assert sorted(found["wait"]) == ["a", "b"]
    assert {found[f"processed:{parent}"]["bull:q:shared"] for parent in ("a", "b", "top")} == {"5"}
    assert found["dependencies:top"] == ["bull:q:a", "bull:q:b"]
    await check_invariants(link, keys)


async def test_a_diamond_that_is_sent_again_changes_nothing(link: Link, keys: Keys) -> None:
    await add_flow(link, keys, DIAMOND, now=7)
    before = await dump(link)
    assert await add_flow(link, keys, DIAMOND, now=8) == [None, None, None, None]
    after = await dump(link)
    for key in (keys.events, keys.id):
        before.pop(key), after.pop(key)
    assert after == before


async def test_a_parent_that_is_made_anew_waits_for_the_shared_job_as_well(link: Link, keys: Keys) -> None:
    await add_flow(link, keys, DIAMOND, now=7)
    await link.call("DEL", keys.job("b"), keys.helper("b", "dependencies"))
    await link.call("ZREM", keys.waiting_children, "b")
    assert await add_flow(link, keys, DIAMOND, now=8) == [None, None, "b", None]
    assert (await snapshot(link, keys))["dependencies:b"] == ["bull:q:shared"]


async def test_a_job_of_others_is_not_taken_from_them(link: Link, keys: Keys) -> None:
    await add_flow(link, keys, DIAMOND, now=7)
    before = await dump(link)
    stranger = [node("new", waits=True), node("shared", "new", None, None, "a")]
    assert await add_flow(link, keys, stranger, now=8) == (1, NotAdded.OTHER_PARENT)
    assert await dump(link) == before
