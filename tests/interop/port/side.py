"""A program on BullMQ's Python port that does as it is told, line by line, as node/side.js does.

It runs with the packages of the port alone, so nothing of this repository is imported.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from typing import Any

import bullmq

URL = sys.argv[1]
TOLD = {
    "Worker": ("active", "completed", "failed", "error"),
    "QueueEvents": (
        "added", "waiting", "active", "completed", "failed", "delayed", "progress", "stalled", "removed", "duplicated",
        "deduplicated", "waiting-children", "retries-exhausted", "cleaned", "drained", "paused", "resumed", "error",
    ),
}  # fmt: skip
FIELDS = (
    "id", "name", "data", "opts", "progress", "returnvalue", "failedReason", "stacktrace", "attemptsMade", "attemptsStarted", "delay",
    "priority", "timestamp", "processedOn", "finishedOn", "deduplicationId",
)  # fmt: skip

things: dict[str, Any] = {}
held: dict[str, asyncio.Event] = {}


def say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def run(job: Any, token: str) -> Any:
    data = job.data if isinstance(job.data, dict) else {}
    match data.get("do"):
        case "throw":
            raise ValueError(data.get("reason", "boom"))
        case "give up":
            raise bullmq.UnrecoverableError(data.get("reason", "no use"))
        case "progress":
            await job.updateProgress(data["value"])
            return None
        case "log":
            await job.log(data["value"])
            return None
        case "hold":
            await held.setdefault(job.id, asyncio.Event()).wait()
            return data.get("value")
        case "children":
            return await job.getChildrenValues()
    return data.get("value", job.data)


def shown(value: Any) -> Any:
    if isinstance(value, bullmq.Job):
        return {name: getattr(value, name, None) for name in FIELDS}
    if isinstance(value, BaseException):
        return {"message": str(value)}
    if isinstance(value, list | tuple):
        return [shown(inner) for inner in value]
    if isinstance(value, dict) and isinstance(value.get("job"), bullmq.Job):
        return {"job": shown(value["job"]), "children": [shown(child) for child in value.get("children") or []]}
    return value


def make(kind: str, name: str, arguments: list[Any]) -> None:
    options = {"connection": URL, **arguments.pop()}
    thing = getattr(bullmq, kind)(*arguments, *([run] if kind == "Worker" else []), options)
    things[name] = thing
    for event in TOLD.get(kind, ()):
        thing.on(event, lambda *told, event=event: say({"from": name, "event": event, "args": shown(told)}))


async def obey(order: dict[str, Any]) -> Any:
    if "make" in order:
        return make(order["make"], order["as"], order["args"])
    if "release" in order:
        return held.setdefault(order["release"], asyncio.Event()).set()
    target = things[order["on"]]
    if "job" in order:
        target = await bullmq.Job.fromId(target, order["job"])
    answer = getattr(target, order["call"])(*order["args"])
    return shown(await answer if inspect.isawaitable(answer) else answer)


async def answer(order: dict[str, Any]) -> None:
    try:
        say({"id": order["id"], "result": await obey(order)})
    except Exception as error:
        say({"id": order["id"], "error": f"{type(error).__name__}: {error}"})


async def main() -> None:
    lines = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    tasks = set()
    while line := await lines.readline():
        task = asyncio.create_task(answer(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
