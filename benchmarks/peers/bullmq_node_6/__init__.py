"""BullMQ for Node, the newest release, run by the programs of the other one."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from benchmarks.peers import npm
from benchmarks.peers.bullmq_node import BULLMQ_NODE

BULLMQ_NODE_6 = replace(
    BULLMQ_NODE,
    name="bullmq_node_6",
    env=npm.environment("bullmq_node_6"),
    install=partial(npm.install, "bullmq_node_6"),
)
