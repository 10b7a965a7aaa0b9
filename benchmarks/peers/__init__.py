"""The rivals, listed by hand. Each folder but `common` holds one: what to install, and the two programs of side.py."""

from __future__ import annotations

from benchmarks.peers.arq import ARQ
from benchmarks.peers.bullmq_node import BULLMQ_NODE
from benchmarks.peers.bullmq_node_6 import BULLMQ_NODE_6
from benchmarks.peers.bullmq_python import BULLMQ_PYTHON
from benchmarks.peers.celery import CELERY
from benchmarks.peers.dramatiq import DRAMATIQ
from benchmarks.peers.huey import HUEY
from benchmarks.peers.pydocket import PYDOCKET
from benchmarks.peers.rq import RQ
from benchmarks.peers.saq import SAQ
from benchmarks.peers.streaq import STREAQ
from benchmarks.peers.taskiq_list import TASKIQ_LIST
from benchmarks.peers.taskiq_stream import TASKIQ_STREAM
from benchmarks.side import Side

_ALL = (
    *(BULLMQ_NODE, BULLMQ_NODE_6, BULLMQ_PYTHON),
    *(ARQ, SAQ, TASKIQ_STREAM, TASKIQ_LIST, STREAQ),
    *(RQ, CELERY, DRAMATIQ, HUEY, PYDOCKET),
)

PEERS: dict[str, Side] = {side.name: side for side in _ALL}
