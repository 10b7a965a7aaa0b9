"""The rivals, listed by hand. Each folder here holds one: what to install, and the two programs of side.py."""

from __future__ import annotations

from benchmarks.peers.bullmq_node import BULLMQ_NODE
from benchmarks.side import Side

PEERS: dict[str, Side] = {side.name: side for side in (BULLMQ_NODE,)}
