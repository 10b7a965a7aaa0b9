"""Rows of new jobs of a flow, for the scripts that add them. Knows no script."""

from __future__ import annotations

from collections.abc import Iterable

from engine.connection import Argument
from engine.model.records import NodeRow

NODE = "queue id name data opts timestamp delay priority lifo parent link also waits"
"""The slots of a row."""


def node_slots(nodes: Iterable[NodeRow]) -> list[Argument]:
    slots: list[Argument] = []
    for node in nodes:
        row = node.row
        timestamp = "" if row.timestamp is None else row.timestamp
        slots += (node.queue, row.id, row.name, row.data, row.opts, timestamp, row.delay, row.priority)
        slots += (int(row.lifo), node.parent, node.link, node.also, int(node.waits))
    return slots
