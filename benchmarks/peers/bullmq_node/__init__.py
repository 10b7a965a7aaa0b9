"""BullMQ for Node, the release whose wire the engine speaks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.peers import npm
from benchmarks.side import Side

_HERE = Path(__file__).parent

BULLMQ_NODE = Side(
    "bullmq_node",
    worker=("node", str(_HERE / "worker.js")),
    producer=("node", str(_HERE / "producer.js")),
    notes="concurrency as asked (default 1), one ioredis connection for all but the blocking call, of which each queue of a "
    "worker has its own; everything else at its defaults; events (no option drops them) and locks on; addBulk of 1,000",
    can=frozenset({
        "one", "at once", "bulk",
        "keep all", "keep some", "keep none",
        "work", "pace", "delay", "retry", "recover", "queues", "wire",
    }),
    env=npm.environment("bullmq_node"),
    install=partial(npm.install, "bullmq_node"),
)  # fmt: skip
