"""Edge cases of JSON: each side reads the other's value unchanged, or reports what is wrong with it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from engine import Job, NewJob, Queue, Worker
from engine.connection import Link
from engine.errors import InvalidData
from engine.model.keys import Keys
from tests.interop.side import VERSIONS, NodeSide
from tests.support.keyspace import job as stored
from tests.support.running import running, until
from tests.support.seeding import seed

pytestmark = [
    pytest.mark.asyncio(loop_factories=["uvloop"]),
    # What is told apart here is JavaScript and Python, and not versions.
    pytest.mark.parametrize("node", [VERSIONS[0], VERSIONS[-1]], indirect=True),
]

DEEP: Any = json.loads("[" * 300 + '{"": [' + "]}" + "]" * 300)
VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, 0.1, 5e-324, 1.7976931348623157e308, 1e21, 2**53 - 1, 2**53, -(2**53),
    "", " ", 'é/\\/"\\u0041', "\u2028\u2029\x00\x1f\x7f\ufeff", "😀👩‍👩‍👧", "__proto__", "\n" * 3,
    [], {}, [[]], [{}], {"": {}}, {"a": [], "b": {}, "c": None, "d": ""}, [None], [[[], {}], [None, [False]]],
    {"z": 1, "a": 2, "é": 3, "/": 4, "__proto__": 5, "constructor": 6, "a.b": 7, "$": 8}, DEEP,
]  # fmt: skip
"""Each as the whole data of a job: data that are no object too."""


async def echo(job: Job[Any]) -> Any:
    return job.data


async def test_every_value_of_nodes_comes_back_from_us_as_it_went(redis_url: str, node: NodeSide, link: Link) -> None:
    await node.make("Queue", "queue", "q")
    await node.call("queue", "addBulk", [{"name": "n", "data": value} for value in VALUES])
    bare = await node.call("queue", "add", "without data")
    cut = await node.call("queue", "add", "cut between the halves of a pair", {"text": "cut \ud83d", "\udc00": ["😀"]})
    async with Queue("q", redis=redis_url) as queue, running(Worker("q", echo, redis=redis_url)):
        await until(lambda: _completed(queue, len(VALUES) + 2), "all ran", timeout=20)
        seen = {job.id: job.data for job in await queue.jobs("completed", 0, 99)}
    found = {job["id"]: job for job in await node.call("queue", "getJobs", ["completed"], 0, -1, True)}
    for number, value in enumerate(VALUES, 1):
        job = found[str(number)]
        assert (job["data"], job["returnvalue"], seen[str(number)]) == (value, value, value)
        assert _order(job["returnvalue"]) == _order(value)
        # What JavaScript wrote is what we wrote: whoever compares or signs the text finds it unchanged.
        fields = await stored(link, Keys("q"), str(number))
        assert json.loads(fields["data"]) == json.loads(fields["returnvalue"])
    assert (seen[bare["id"]], found[bare["id"]]["returnvalue"]) == ({}, {})
    whole = {"text": "cut \ufffd", "\ufffd": ["😀"]}
    assert (seen[cut["id"]], found[cut["id"]]["returnvalue"]) == (whole, whole)
    assert found[cut["id"]]["data"] == cut["data"], "what is stored stays as it was"


async def test_every_value_of_ours_comes_back_from_node_as_it_went(redis_url: str, node: NodeSide) -> None:
    large = [2**53 + 1, 2**63, 2**64, -(10**30), 12345678901234567890]
    async with Queue("q", redis=redis_url) as queue:
        await queue.add_many([NewJob("n", {"value": value}) for value in [*VALUES, *large]])
        nothing = await queue.add("n", {"do": "nothing"})
        plain = await queue.add_many([NewJob("n", value) for value in (7, "text", ["value"], False)])
        await node.make("Worker", "worker", "q")
        await node.heard("worker", "completed", len(VALUES) + len(large) + 5)
        found: dict[str, Any] = {job.id: job.return_value for job in await queue.jobs("completed", 0, 99)}
        for number, value in enumerate(VALUES, 1):
            assert found[str(number)] == value
            assert _order(found[str(number)]) == _order(value)
        # JavaScript has no larger whole numbers than 2**53: what it reads is the next double.
        assert [float(found[str(len(VALUES) + n)]) for n in range(1, 6)] == [float(value) for value in large]
        assert found[nothing.id] is None
        assert [found[job.id] for job in plain] == [7, "text", ["value"], False]


async def test_json_that_the_other_side_cannot_read_is_refused(redis_url: str, node: NodeSide, link: Link) -> None:
    await node.make("Queue", "queue", "q")
    ends: dict[str, Any] = {
        "nan": math.nan,
        "deep inf": {"a": [1, {"b": -math.inf}]},
        "half": "\ud83d",
        "object": object(),
    }
    refused: list[str] = []

    async def end(job: Job[Any]) -> Any:
        with pytest.raises(InvalidData):
            await job.update_progress(ends[job.name])
        return ends[job.name]

    async with Queue("q", redis=redis_url) as queue:
        for value in ends.values():
            with pytest.raises(InvalidData, match=r"^data: ") as told:
                await queue.add("n", {"value": value})
            refused.append(str(told.value))
        assert await link.call("GET", queue.keys.id) == b"0", "nothing was written"
        for name in ends:
            await node.call("queue", "add", name, {})
        # JavaScript nests deeper than Python can follow.
        await seed(link, queue.keys, wait=["deep"], jobs={"deep": {"data": "[" * 2_000 + "]" * 2_000}})
        async with running(Worker("q", end, redis=redis_url)):
            await until(lambda: _failed(queue, len(ends) + 1), "all failed", timeout=20)
        too_deep = await queue.get_job("deep")
    assert "nan is not a JSON number" in refused[0]
    assert "-inf is not a JSON number" in refused[1]
    failed = [await node.call("queue", "getJob", str(number)) for number in range(1, len(ends) + 1)]
    reasons = {job["name"]: job["failedReason"] for job in failed}
    assert reasons == {name: why.replace("data: ", "result: ") for name, why in zip(ends, refused, strict=True)}
    assert [job["progress"] for job in failed] == [0] * len(ends), "none of it reached the job"
    assert too_deep is not None
    assert too_deep.failed_reason == "data: nested too deeply for JSON"


def _order(value: Any) -> Any:
    """The keys of an object as they came. JavaScript puts whole numbers first, so there are none in VALUES."""
    return list(value) if isinstance(value, dict) else None


async def _completed(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count


async def _failed(queue: Queue, count: int) -> bool:
    return (await queue.counts()).failed == count
