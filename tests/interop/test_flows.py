"""Flows across both engines: the parent is notified whoever finishes a child."""

from __future__ import annotations

from typing import Any

import pytest

from engine import FlowJob, FlowProducer, Job, Queue, Worker
from engine.errors import JobFailed
from tests.interop.side import NodeSide
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def children_values(job: Job[Any]) -> Any:
    return await job.children_values()


async def echo(job: Job[Any]) -> Any:
    if job.data.get("do") == "throw":
        raise ValueError(job.data["reason"])
    return job.data.get("value")


async def test_our_flow_is_done_by_both_sides(redis_url: str, node: NodeSide) -> None:
    await node.make("Worker", "worker", "theirs")
    async with (
        FlowProducer(redis=redis_url) as flows,
        running(Worker("ours", echo, redis=redis_url)),
        running(Worker("parents", children_values, redis=redis_url)),
    ):
        tree = await flows.add(
            FlowJob(
                "parent",
                "parents",
                {},
                children=[
                    FlowJob("a", "theirs", {"value": {"by": "node"}}),
                    FlowJob("b", "ours", {"value": [1, None]}),
                ],
            )
        )
        values = await tree.job.result(timeout=10_000)
        assert sorted(values.values(), key=str) == [[1, None], {"by": "node"}]
        assert set(values) == {f"bull:{child.job.queue_name}:{child.job.id}" for child in tree.children}


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_job_with_children_added_while_it_ran_fails(redis_url: str, node: NodeSide, is_ours: bool) -> None:
    """By BullMQ, which writes nothing in the parent's hash: each run is a failed attempt, whoever runs it."""
    runs = 0

    async def give_birth(job: Job[Any]) -> None:
        nonlocal runs
        runs += 1
        await node.call("children", "add", "child", {}, {"parent": {"id": job.id, "queue": "bull:parents"}})

    await node.make("Queue", "children", "children")
    async with Queue("parents", redis=redis_url) as queue:
        job = await queue.add("parent", {"do": "hold"}, attempts=2)
        if is_ours:
            async with running(Worker("parents", give_birth, redis=redis_url)):
                with pytest.raises(JobFailed, match=f"Job {job.id} has pending dependencies"):
                    await job.result(timeout=10_000)
        else:
            await node.make("Worker", "worker", "parents")
            for run in (1, 2):
                await node.heard("worker", "active", run)
                await node.call("children", "add", "child", {}, {"parent": {"id": job.id, "queue": "bull:parents"}})
                await node.release(job.id)
            with pytest.raises(JobFailed, match=f"Job {job.id} has pending dependencies"):
                await job.result(timeout=10_000)
        [stored] = await queue.jobs("failed")
        assert (stored.attempts_made, stored.attempts_started) == (2, 2)
    assert runs == (2 if is_ours else 0)


async def test_a_child_of_bullmq_that_fails_dooms_our_running_job(redis_url: str, node: NodeSide) -> None:
    async def run_child(job: Job[Any]) -> None:
        child = {"parent": {"id": job.id, "queue": "bull:parents"}, "failParentOnFailure": True}
        await node.call("children", "add", "child", {"do": "throw"}, child)
        await node.heard("worker", "failed")

    await node.make("Queue", "children", "children")
    await node.make("Worker", "worker", "children")
    async with Queue("parents", redis=redis_url) as queue, running(Worker("parents", run_child, redis=redis_url)):
        job = await queue.add("parent", {})
        with pytest.raises(JobFailed, match="a child has failed without which the job may not complete"):
            await job.result(timeout=10_000)


async def test_nodes_flow_is_done_by_both_sides(redis_url: str, node: NodeSide) -> None:
    await node.make("FlowProducer", "flows")
    await node.make("QueueEvents", "events", "parents")
    await node.make("Worker", "parent", "parents")
    await node.make("Worker", "worker", "theirs")
    async with running(Worker("ours", echo, redis=redis_url)):
        await node.call(
            "flows",
            "add",
            {
                "name": "parent",
                "queueName": "parents",
                "data": {"do": "children"},
                "children": [
                    {"name": "a", "queueName": "theirs", "data": {"value": 1}},
                    {
                        "name": "b",
                        "queueName": "ours",
                        "data": {"value": 2},
                        "children": [{"name": "c", "queueName": "ours", "data": {"value": 3}}],
                    },
                ],
            },
        )
        done = await node.heard("events", "completed")
        assert sorted(done[0][0]["returnvalue"].values()) == [1, 2]


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        ("failParentOnFailure", "failed"),
        ("ignoreDependencyOnFailure", "completed"),
        ("removeDependencyOnFailure", "completed"),
        ("continueParentOnFailure", "completed"),
    ],
)
async def test_our_failed_child_obeys_the_policy_of_nodes_parent(
    redis_url: str, node: NodeSide, policy: str, ends: str
) -> None:
    await node.make("FlowProducer", "flows")
    await node.make("QueueEvents", "events", "parents")
    await node.make("Worker", "parent", "parents")
    async with running(Worker("ours", echo, redis=redis_url)):
        await node.call(
            "flows",
            "add",
            {
                "name": "parent",
                "queueName": "parents",
                "data": {"value": "ran"},
                "children": [
                    {
                        "name": "c",
                        "queueName": "ours",
                        "data": {"do": "throw", "reason": "boom"},
                        "opts": {policy: True},
                    }
                ],
            },
        )
        told = await node.heard("events", ends)
    if ends == "failed":
        assert told[0][0]["failedReason"].endswith("failed")
    else:
        assert told[0][0]["returnvalue"] == "ran"


@pytest.mark.parametrize(
    ("policy", "fails"),
    [
        ("fail_parent_on_failure", True),
        ("ignore_dependency_on_failure", False),
        ("remove_dependency_on_failure", False),
        ("continue_parent_on_failure", False),
    ],
)
async def test_nodes_failed_child_obeys_the_policy_of_our_parent(
    redis_url: str, node: NodeSide, policy: str, fails: bool
) -> None:
    await node.make("Worker", "worker", "theirs")
    asked: dict[str, Any] = {policy: True}
    async with FlowProducer(redis=redis_url) as flows, running(Worker("parents", echo, redis=redis_url)):
        child = FlowJob("c", "theirs", {"do": "throw", "reason": "boom"}, **asked)
        tree = await flows.add(FlowJob("parent", "parents", {"value": "ran"}, children=[child]))
        if fails:
            with pytest.raises(JobFailed, match="failed"):
                await tree.job.result(timeout=10_000)
        else:
            assert await tree.job.result(timeout=10_000) == "ran"


async def test_node_reads_our_tree_and_retries_a_child_of_it(redis_url: str, node: NodeSide) -> None:
    await node.make("FlowProducer", "flows")
    await node.make("Queue", "children", "children")
    async with FlowProducer(redis=redis_url) as flows, Queue("parents", redis=redis_url) as parents:
        child = FlowJob("c", "children", {"do": "throw", "reason": "boom"})
        tree = await flows.add(FlowJob("parent", "parents", {"value": 1}, children=[child]))
        seen = await node.call("flows", "getFlow", {"queueName": "parents", "id": tree.job.id})
        assert [inner["job"]["id"] for inner in seen["children"]] == [tree.children[0].job.id]
        async with running(Worker("children", echo, redis=redis_url)):
            await until(lambda: _is(tree.children[0].job, "failed"), "the child failed")
            # Without a policy the parent waits: the child may be mended and run again.
            assert (await parents.counts()).waiting_children == 1
            await tree.children[0].job.update_data({"value": 5})
            await node.call("children", "retry", job=tree.children[0].job.id)
            async with running(Worker("parents", children_values, redis=redis_url)):
                assert list((await tree.job.result(timeout=10_000)).values()) == [5]


async def test_a_job_of_several_parents_can_be_run_by_node_as_well(redis_url: str, node: NodeSide) -> None:
    await node.make("Worker", "worker", "theirs")
    await node.make("FlowProducer", "flows")
    shared = FlowJob("shared", "theirs", {"value": 5})
    parents = [FlowJob(name, "parents", {}, children=[shared]) for name in ("a", "b")]
    async with (
        FlowProducer(redis=redis_url) as flows,
        # BullMQ tells one of the two parents. The other hears of it in the next look, one in each of these intervals.
        running(Worker("parents", children_values, redis=redis_url, stalled_interval=100, lock_duration=400)),
    ):
        tree = await flows.add(FlowJob("top", "parents", {}, children=parents))
        values = (await tree.job.result(timeout=10_000)).values()
        assert list(values) == 2 * [{f"bull:theirs:{tree.children[0].children[0].job.id}": 5}]
        seen = await node.call("flows", "getFlow", {"queueName": "parents", "id": tree.job.id})
        assert [[below["job"]["name"] for below in inner["children"]] for inner in seen["children"]] == 2 * [["shared"]]


async def _is(job: Job[Any], state: str) -> bool:
    return await job.state() == state
