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
    notes="concurrency as asked (default 1), everything else at its defaults; events and locks on; addBulk of 1,000",
    env={"NODE_PATH": str(npm.modules("bullmq_node")), "NODE_ENV": "production"},
    install=partial(npm.install, "bullmq_node"),
)
