"""Each encoding and decoding step of the client in the life of a job, alone. Knows no clock.

Commands and replies are recorded from a server by `sample`, so nothing here depends on the layout of a script's rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import hiredis
import msgspec
from msgspec import Struct

from benchmarks.micro.payload import data
from engine.batching import add_rows
from engine.connection import Argument, Link, Reply, Waiter
from engine.connection.stream import Stream, error_reply, pack
from engine.job import claimed_job, stored_job
from engine.model import codec
from engine.model.keys import Keys
from engine.model.options import NO_OPTIONS, NO_OPTIONS_WIRE, JobOptions, Keep, decode_options, read_options
from engine.model.payloads import JOB_TYPES, JobData, check
from engine.model.records import Claimed, NewJob, NewRow, Snapshot
from engine.scripting.rows import Added, Refusals
from engine.scripts.claim import ClaimReply, claim
from engine.scripts.finish import finish
from engine.scripts.get_jobs import get_jobs
from engine.scripts.renew import renew
from engine.scripts.turn import TurnReply, turn

MANY = 100
"""Rows of the operations that are about many: what a turn of a busy worker carries."""

_KEYS = Keys("micro")
_TOKEN = "6f0e2c0d9a1b4e7f8a3c5d6e7f809112"
_ROWS = [NewRow("", "job", data(n), NO_OPTIONS_WIRE) for n in range(MANY)]
_LOCK = 15_000

PAYLOADS: dict[str, dict[str, Any]] = {
    "email": {"subAccountId": "a1", "to": ["ann@example.org"], "subject": "Hi", "template": "welcome"},
    "sms": {"subAccountId": "a1", "phoneNumbers": ["+491701234567"], "message": "Your code is 1234"},
    "data-export": {"subAccountId": "a1", "exportType": "leads", "format": "csv", "filters": {"status": "open"}},
    "file-processing": {"subAccountId": "a1", "operation": "thumbnail", "files": ["in/a.png"]},
    "generic-task": {"subAccountId": "a1", "taskName": "Sync", "functionName": "sync", "parameters": [42]},
}


# --- real commands and replies ----------------------------------------------------------------------------------------


class Recorder:
    """A Link that records the last command and its reply; with `replay` set it returns that reply."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.command: tuple[Argument, ...] = ()
        self.reply: Reply = None
        self.replay = False

    async def call(self, *command: Argument) -> Reply:
        if not self.replay:
            self.command, self.reply = command, await self._link.call(*command)
        return self.reply

    def post(self, waiter: Waiter, *command: Argument) -> None:
        self._link.post(waiter, *command)

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        return await self._link.call_many(commands)

    async def close(self) -> None:
        await self._link.close()


class Samples(Struct, frozen=True):
    """Commands and replies of each binding in the life of MANY jobs; `jobs` are those that `turn` claimed."""

    add: Recorder
    claim: Recorder
    turn: Recorder
    renew: Recorder
    finish: Recorder
    get: Recorder
    jobs: list[Claimed]
    snapshot: Snapshot


async def sample(link: Link) -> Samples:
    """Record them on an empty server."""
    recorders = {name: Recorder(link) for name in ("add", "claim", "turn", "renew", "finish", "get")}
    await _add(recorders["add"])
    first = await _claim(recorders["claim"])
    added = await _add(link)
    jobs = (await _turn(recorders["turn"], first.jobs)).jobs
    await _renew(recorders["renew"], jobs)
    await _finish(recorders["finish"], jobs)
    (snapshot, *_) = await get_jobs(recorders["get"], _KEYS, added.ids)
    assert snapshot is not None
    for recorder in recorders.values():
        recorder.replay = True
    return Samples(**recorders, jobs=jobs, snapshot=snapshot)


async def _add(link: Link) -> Added:
    return await add_rows(link, _KEYS, _ROWS)


async def _claim(link: Link) -> ClaimReply:
    return await claim(link, _KEYS, token=_TOKEN[::-1], lock_ms=_LOCK, worker="micro", count=MANY)


async def _turn(link: Link, jobs: Sequence[Claimed]) -> TurnReply:
    return await turn(link, _KEYS, _results(jobs), token=_TOKEN, lock_ms=_LOCK, worker="micro", count=MANY)


async def _renew(link: Link, jobs: Sequence[Claimed]) -> Refusals:
    return await renew(link, _KEYS, jobs, lock_ms=_LOCK)


async def _finish(link: Link, jobs: Sequence[Claimed]) -> Refusals:
    return await finish(link, _KEYS, _results(jobs))


def _results(jobs: Sequence[Claimed]) -> list[tuple[Claimed, bytes, Keep]]:
    return [(job, b"null", _KEEP) for job in jobs]


_KEEP = Keep()


# --- operations -------------------------------------------------------------------------------------------------------

Work = Callable[[], object]


class Operation(Struct, frozen=True):
    """`make` prepares what is not to be timed, in a running loop, and returns what is."""

    make: Callable[[Samples], Work]
    rows: int = 1
    """Rows that one run of it does."""


def _of(function: Callable[..., object], *args: Any) -> Operation:
    return Operation(lambda samples: lambda: function(*args))


def _struct(kind: str) -> JobData:
    return check(kind, PAYLOADS[kind])


def _bind(call: Callable[[Samples], Coroutine[Any, Any, object]]) -> Operation:
    """All that a binding does around its call: rows into arguments, the reply into values."""
    return Operation(lambda samples: lambda: _run(call(samples)), MANY)


def _run(coroutine: Coroutine[Any, Any, object]) -> object:
    """The value of a coroutine that waits for nothing, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: object = done.value
        return value
    raise RuntimeError("it waits for something")


def _pack(name: str) -> Operation:
    def make(samples: Samples) -> Work:
        command = getattr(samples, name).command
        return lambda: pack(command)

    return Operation(make, MANY)


def _parse(name: str) -> Operation:
    def make(samples: Samples) -> Work:
        reader: Any = hiredis.Reader(replyError=error_reply)
        reply = _resp(getattr(samples, name).reply)

        def parse() -> object:
            reader.feed(reply)
            return reader.gets()

        return parse

    return Operation(make, MANY)


def _carry(reply_to: Callable[[Samples], Reply], commands: int) -> Operation:
    """A stream's own part in commands that leave in one write and are answered in one read."""

    def make(samples: Samples) -> Work:
        loop = asyncio.get_running_loop()
        stream = Stream(lambda stream, reason: None, lambda: None)
        stream.connection_made(_Nowhere())
        written = [b""] * commands
        answer = _resp(reply_to(samples)) * commands

        def carry() -> object:
            waiters = [loop.create_future() for _ in range(commands)]
            stream.write(written, waiters, commands, 60)
            for first in range(0, len(answer), len(stream.get_buffer(-1))):
                part = answer[first : first + len(stream.get_buffer(-1))]
                stream.get_buffer(-1)[: len(part)] = part
                stream.buffer_updated(len(part))
            return waiters[-1].result()

        return carry

    return Operation(make, MANY)


class _Nowhere(asyncio.Transport):
    """Discards what is written."""

    def write(self, data: Any) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def _resp(value: Reply) -> bytes:
    match value:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % value
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(map(_resp, value))


OPERATIONS: dict[str, Operation] = {
    # engine/model/codec.py
    "encode a dict": _of(codec.encode, "data", {"n": 1, "text": "x" * 80}),
    "encode a Struct": _of(codec.encode, "data", _struct("sms")),
    "encode with a null": _of(codec.encode, "data", {"n": 1, "text": "x" * 80, "more": None}),
    "decode as it comes": _of(codec.decode, "data", data(1)),
    "decode into a Struct": _of(codec.decode, "data", msgspec.json.encode(PAYLOADS["sms"]), JOB_TYPES["sms"]),
    "convert a dict": _of(codec.convert, "data", PAYLOADS["sms"], JOB_TYPES["sms"]),
    "check the size": _of(codec.check_size, "data", data(1), codec.DEFAULT_MAX_PAYLOAD),
    # engine/model/payloads.py
    **{f"check a dict of {kind}": _of(check, kind, PAYLOADS[kind]) for kind in JOB_TYPES},
    **{f"check a Struct of {kind}": _of(check, kind, _struct(kind)) for kind in JOB_TYPES},
    # engine/model/options.py, engine/model/records.py
    "check no options": _of(JobOptions.check, {}),
    "check options": _of(JobOptions.check, {"attempts": 3, "delay": 5_000, "priority": 10}),
    "write options": _of(JobOptions(attempts=3, delay=5_000, priority=10).to_wire),
    "read known options": _of(read_options, NO_OPTIONS_WIRE),
    "read new options": _of(decode_options, JobOptions(attempts=3, priority=10).to_wire()),
    "make a NewJob": _of(NewJob, "job", {"n": 1}),
    "make a NewRow": _of(NewRow, "", "job", data(1), NO_OPTIONS_WIRE),
    # engine/job.py
    "make a claimed Job": Operation(
        lambda samples: lambda: claimed_job(samples.claim, _KEYS, samples.jobs[0], {}, NO_OPTIONS)
    ),
    "make a stored Job": Operation(lambda samples: lambda: stored_job(samples.get, _KEYS, samples.snapshot)),
    # engine/scripts/
    "bind add": _bind(lambda samples: _add(samples.add)),
    "bind claim": _bind(lambda samples: _claim(samples.claim)),
    "bind turn": _bind(lambda samples: _turn(samples.turn, samples.jobs)),
    "bind finish": _bind(lambda samples: _finish(samples.finish, samples.jobs)),
    "bind renew": _bind(lambda samples: _renew(samples.renew, samples.jobs)),
    "bind get": _bind(lambda samples: get_jobs(samples.get, _KEYS, [job.id for job in samples.jobs])),
    # engine/connection/
    "pack GET": _of(pack, ("GET", "bull:micro:1")),
    **{f"pack {name}": _pack(name) for name in ("add", "claim", "turn", "finish", "renew")},
    **{f"parse the reply of {name}": _parse(name) for name in ("add", "claim", "turn", "get")},
    "carry one turn": _carry(lambda samples: samples.turn.reply, 1),
    f"carry {MANY} small commands": _carry(lambda samples: b"OK", MANY),
}
"""What it is -> how it is done. Figures are by row."""
