"""Hot scripts in fixed batches, recorded from the bindings of a source tree as commands that can be sent again without them.

A tape has the commands that prepare a queue and the calls that are measured. Sent to an empty queue of any server, they do
the same each time: ids, tokens and fences are part of the calls. So two source trees can be measured in one run, on one server.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from benchmarks.micro.payload import data
from benchmarks.program import ROOT
from engine.connection import Argument, Link, Reply, Waiter, open_link
from engine.connection.embedded import EmbeddedServer
from engine.model.keys import Keys
from engine.model.limits import RateLimit
from engine.model.options import Deduplication, JobOptions, Keep
from engine.model.records import Claimed, Failed, NewRow, NodeRow, Retrying
from engine.scripting.loader import all_scripts, loading
from engine.scripts.add import add
from engine.scripts.add_flow import add_flow
from engine.scripts.claim import claim
from engine.scripts.delay import delay
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.init_queue import init_queue
from engine.scripts.limit_rate import limit_rate
from engine.scripts.pause import pause
from engine.scripts.promote import promote
from engine.scripts.release import release
from engine.scripts.renew import renew
from engine.scripts.retry import retry
from engine.scripts.turn import turn

try:
    from engine.scripts.add_plain import add_plain, is_plain
except ImportError:
    # A tree from before plain jobs had a script of their own.
    def is_plain(row: NewRow) -> bool:
        return False


QUEUE = "micro"
_LOCK_MS = 3_600_000
_HOUR_MS = 3_600_000
_EVENTS = 10_000

Command = list[bytes]


class Tape(Struct, frozen=True):
    """A case as commands: what prepares the server and an empty queue, then the calls that are measured."""

    load: list[Command]
    """Loads the scripts of this case."""
    setup: list[Command]
    calls: list[Command]
    replies: list[Any]
    """Of the calls, when they were recorded."""
    jobs: int
    """In all calls."""


class Recording(Struct, frozen=True):
    """The tapes of one source tree."""

    fill: Command
    """Fills the queue's event stream: once for a server."""
    clear: Command
    """Empties the queue; its event stream stays full."""
    tapes: dict[str, Tape]


# --- cases ------------------------------------------------------------------------------------------------------------


class Queue(Struct, frozen=True):
    """How the queue of a case is set up."""

    events: str = "all"
    rate: RateLimit | None = None

    async def open(self, link: Link, keys: Keys) -> None:
        await init_queue(link, keys, version="corral:1")
        if self.events != "all":
            await init_queue(link, keys, version="corral:1", events=self.events)
        if self.rate is not None:
            await limit_rate(link, keys, self.rate)


_RESULTS = Queue(events="results")
_SILENT = Queue(events="none")
_RATED = Queue(rate=RateLimit(1_000_000, _HOUR_MS))
_KEEP_ALL = Keep()
_KEEP_10 = Keep(count=10)
_KEEP_NONE = Keep(count=0)

Seed = Callable[[Link, Keys, int, int], Awaitable[Any]]
"""Prepares `calls` calls of `rows` rows."""
Call = Callable[[Link, Keys, Any, int, int], Awaitable[Any]]
"""Makes call `number` of `rows` rows with what the seed or the call before returned; returns what the next call needs."""
Jobs = Callable[[int], NewRow]
"""Job of this number."""


class Case(Struct, frozen=True):
    seed: Seed
    call: Call
    rows: int
    calls: int
    queue: Queue = Queue()
    quick: bool = False
    """Among the cases of `--quick`."""


def _job(number: int, *, id: str = "", **options: Any) -> NewRow:
    told = JobOptions(**options)
    return NewRow(
        id, "job", data(number), told.to_wire(), delay=int(told.delay or 0), priority=told.priority,
        deduplication=told.deduplication,
    )  # fmt: skip


def _plain(number: int) -> NewRow:
    return _job(number)


def _prioritized(number: int) -> NewRow:
    return _job(number, priority=number % 10 + 1)


def _delayed(number: int) -> NewRow:
    return _job(number, delay=_HOUR_MS)


def _due(number: int) -> NewRow:
    return replace(_delayed(number), timestamp=1)


def _deduplicated(number: int) -> NewRow:
    return _job(number, deduplication=Deduplication(f"d{number}"))


def _named(number: int) -> NewRow:
    return _job(number, id=f"order-{number}")


def _token(number: int) -> str:
    """As long as the token of a worker."""
    return f"{number:032x}"


async def _add(link: Link, keys: Keys, jobs: Jobs, first: int, count: int) -> None:
    """By the script that a queue chooses for them, at most 250 a call."""
    for start in range(first, first + count, 250):
        rows = [jobs(n) for n in range(start, min(start + 250, first + count))]
        await (add_plain if is_plain(rows[0]) else add)(link, keys, rows)


async def _claim(link: Link, keys: Keys, number: int, count: int) -> list[Claimed]:
    claimed: list[Claimed] = []
    while len(claimed) < count:
        rows = min(250, count - len(claimed))
        reply = await claim(link, keys, token=_token(number), lock_ms=_LOCK_MS, worker="micro", count=rows)
        claimed += reply.jobs
    return claimed


def _adding(jobs: Jobs, rows: int, calls: int, **more: Any) -> Case:
    async def seed(link: Link, keys: Keys, rows: int, calls: int) -> None:
        await _add(link, keys, jobs, 0, rows)

    async def call(link: Link, keys: Keys, before: None, rows: int, number: int) -> None:
        await _add(link, keys, jobs, (number + 1) * rows, rows)

    return Case(seed, call, rows, calls, **more)


async def _add_paused(link: Link, keys: Keys, rows: int, calls: int) -> None:
    await _add(link, keys, _plain, 0, rows)
    await pause(link, keys)


def _finished(jobs: Sequence[Claimed], keep: Keep) -> list[tuple[Claimed, bytes, Keep]]:
    return [(job, b"null", keep) for job in jobs]


async def _turn(
    link: Link, keys: Keys, jobs: Sequence[Claimed], rows: int, number: int, *, keep: Keep = _KEEP_ALL
) -> list[Claimed]:
    """Finish these jobs, claim the next."""
    reply = await turn(
        link, keys, _finished(jobs, keep), token=_token(number + 2), lock_ms=_LOCK_MS, worker="micro", count=rows
    )
    if reply.refused or len(reply.jobs) != rows:
        raise RuntimeError(f"turn claimed {len(reply.jobs)} of {rows} jobs and refused {len(reply.refused)}")
    return reply.jobs


def _turning(rows: int, calls: int, *, jobs: Jobs = _plain, keep: Keep = _KEEP_ALL, **more: Any) -> Case:
    """A worker that has claimed, and finished once."""

    async def seed(link: Link, keys: Keys, rows: int, calls: int) -> list[Claimed]:
        before = max(rows, 20)
        await _add(link, keys, jobs, 0, (calls + 2) * rows + before)
        await finish(link, keys, _finished(await _claim(link, keys, 0, before), keep))
        return await _claim(link, keys, 1, rows)

    return Case(seed, partial(_turn, keep=keep), rows, calls, **more)


async def _family(link: Link, keys: Keys, rows: int, calls: int) -> list[Claimed]:
    """Children of one parent, the first of them claimed."""
    pointer = msgspec.json.encode({"id": "parent", "queueKey": keys.jobs.removesuffix(":")})
    tree = [NodeRow(keys.jobs, _job(0, id="parent"), waits=True)]
    tree += [
        NodeRow(keys.jobs, _job(n, id=f"child-{n}"), keys.job("parent"), pointer) for n in range((calls + 2) * rows)
    ]
    await add_flow(link, keys, tree)
    return await _claim(link, keys, 1, rows)


async def _waiting(link: Link, keys: Keys, rows: int, calls: int) -> None:
    await _add(link, keys, _plain, 0, (calls + 1) * rows)


async def _claimed(link: Link, keys: Keys, rows: int, calls: int) -> list[Claimed]:
    await _add(link, keys, _plain, 0, (calls + 1) * rows)
    return await _claim(link, keys, 1, calls * rows)


def _claiming(rows: int, calls: int, **more: Any) -> Case:
    async def call(link: Link, keys: Keys, before: object, rows: int, number: int) -> None:
        await claim(link, keys, token=_token(number + 2), lock_ms=_LOCK_MS, worker="micro", count=rows)

    return Case(_waiting, call, rows, calls, **more)


Ending = Callable[[Link, Keys, Sequence[Claimed]], Awaitable[Any]]


def _ending(end: Ending, rows: int, calls: int, **more: Any) -> Case:
    """A script that takes rows of claims."""

    async def call(link: Link, keys: Keys, jobs: list[Claimed], rows: int, number: int) -> list[Claimed]:
        if refused := await end(link, keys, jobs[:rows]):
            raise RuntimeError(f"{len(refused)} rows were refused")
        return jobs[rows:]

    return Case(_claimed, call, rows, calls, **more)


async def _finish(link: Link, keys: Keys, jobs: Sequence[Claimed]) -> Any:
    return await finish(link, keys, _finished(jobs, _KEEP_ALL))


async def _fail(link: Link, keys: Keys, jobs: Sequence[Claimed], *, dead_letters: Keep | None = None) -> Any:
    failures = [(job, Failed("it does not work"), _KEEP_ALL, 1) for job in jobs]
    return await fail(link, keys, failures, dead_letters=dead_letters)


async def _renew(link: Link, keys: Keys, jobs: Sequence[Claimed]) -> Any:
    return await renew(link, keys, jobs, lock_ms=_LOCK_MS)


async def _retry(link: Link, keys: Keys, jobs: Sequence[Claimed]) -> Any:
    return await retry(link, keys, [(job, Retrying(0, "it does not work"), False) for job in jobs])


async def _delay(link: Link, keys: Keys, jobs: Sequence[Claimed]) -> Any:
    return await delay(link, keys, [(job, Retrying(_HOUR_MS, "it does not work")) for job in jobs])


async def _seed_due(link: Link, keys: Keys, rows: int, calls: int) -> None:
    await _add(link, keys, _due, 0, rows)


async def _promote(link: Link, keys: Keys, before: object, rows: int, number: int) -> None:
    promoted, _ = await promote(link, keys)
    if promoted != rows:
        raise RuntimeError(f"{promoted} of {rows} jobs were promoted")


CASES: dict[str, Case] = {
    "add 1": _adding(_plain, 1, 45, quick=True),
    "add 250": _adding(_plain, 250, 2, quick=True),
    "add 250, events results": _adding(_plain, 250, 2, queue=_RESULTS),
    "add 250, events none": _adding(_plain, 250, 2, queue=_SILENT),
    "add 250, ids of the producer": _adding(_named, 250, 2),
    "add 250, prioritized": _adding(_prioritized, 250, 2),
    "add 250, delayed": _adding(_delayed, 250, 2),
    "add 100, deduplicated": _adding(_deduplicated, 100, 2),
    "add 250, paused": replace(_adding(_plain, 250, 2), seed=_add_paused),
    "turn 1": _turning(1, 45, quick=True),
    "turn 1, events none": _turning(1, 45, queue=_SILENT),
    "turn 100": _turning(100, 3, quick=True),
    "turn 100, keep 10": _turning(100, 3, keep=_KEEP_10, quick=True),
    "turn 100, keep none": _turning(100, 3, keep=_KEEP_NONE, quick=True),
    "turn 100, events results": _turning(100, 3, queue=_RESULTS),
    "turn 100, events results, keep none": _turning(100, 3, keep=_KEEP_NONE, queue=_RESULTS),
    "turn 100, events none": _turning(100, 3, queue=_SILENT),
    "turn 100, events none, keep 10": _turning(100, 3, keep=_KEEP_10, queue=_SILENT),
    "turn 100, events none, keep none": _turning(100, 3, keep=_KEEP_NONE, queue=_SILENT),
    "turn 100, prioritized": _turning(100, 3, jobs=_prioritized),
    "turn 100, deduplicated": _turning(100, 3, jobs=_deduplicated),
    "turn 100, children of one parent": Case(_family, _turn, 100, 3),
    "turn 100, rate limit": _turning(100, 3, queue=_RATED),
    "claim 100": _claiming(100, 3),
    "finish 100": _ending(_finish, 100, 3),
    "fail 100": _ending(_fail, 100, 3, quick=True),
    "fail 100, dead letters": _ending(partial(_fail, dead_letters=_KEEP_ALL), 100, 3),
    "retry 100": _ending(_retry, 100, 3),
    "delay 100": _ending(_delay, 100, 3),
    "release 100": _ending(release, 100, 3),
    "renew 100": _ending(_renew, 100, 3, quick=True),
    "promote 250": Case(_seed_due, _promote, 250, 1),
}
"""Script, rows a call, state -> how it is measured. A new state is a line here; write its count with `instructions --write`."""


def chosen(names: Sequence[str], only: Sequence[str]) -> list[str]:
    """The names that begin with the words of one of `only`; all if it is empty. Raises SystemExit if there are none."""
    starts = [_WORDS.findall(start) for start in only]
    found = [name for name in names if not only or any(_WORDS.findall(name)[: len(start)] == start for start in starts)]
    if not found:
        raise SystemExit(f"--only: no case begins with {' or '.join(only)}; there are {'; '.join(names)}")
    return found


_WORDS = re.compile(r"[^ ,]+")


# --- recording --------------------------------------------------------------------------------------------------------


class _Tapped:
    """A Link that notes each command, and the replies of `call`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.commands: list[Command] = []
        self.replies: list[Any] = []

    async def call(self, *command: Argument) -> Reply:
        self.commands.append(_plain_bytes(command))
        reply = await self._link.call(*command)
        self.replies.append(reply)
        return reply

    def post(self, waiter: Waiter, *command: Argument) -> None:
        raise NotImplementedError("no case posts")

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        return [await self.call(*command) for command in commands]

    async def close(self) -> None:
        await self._link.close()


def _plain_bytes(command: Iterable[Argument]) -> Command:
    return [bytes(part) if isinstance(part, (bytes, memoryview)) else str(part).encode() for part in command]


_FILL = "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'event', 'waiting', 'jobId', n, 'prev', 'active') end"
_CLEAR = (
    "for _, key in ipairs(redis.call('KEYS', KEYS[1] .. '*')) do if key ~= KEYS[2] then redis.call('DEL', key) end end"
)


async def _record(names: Sequence[str], calls: int) -> Recording:
    keys = Keys(QUEUE)
    load = {
        _digest(command[-1]): _plain_bytes(command) for command in loading(*(script.name for script in all_scripts()))
    }
    fill = _plain_bytes(("EVAL", _FILL, 1, keys.events, _EVENTS))
    clear = _plain_bytes(("EVAL", _CLEAR, 2, keys.jobs, keys.events))
    with EmbeddedServer() as server:
        link = await open_link(server.url)
        try:
            await link.call_many(list(load.values()))
            tapes = {}
            for name in names:
                await link.call(*clear)
                case = CASES[name]
                tapes[name] = await _tape(link, keys, replace(case, calls=calls or case.calls), load)
            return Recording(fill, clear, tapes)
        finally:
            await link.close()


def _digest(body: str) -> bytes:
    return hashlib.sha1(body.encode()).hexdigest().encode()


async def _tape(link: Link, keys: Keys, case: Case, load: Mapping[bytes, Command]) -> Tape:
    setup, calls = _Tapped(link), _Tapped(link)
    await case.queue.open(setup, keys)
    state = await case.seed(setup, keys, case.rows, case.calls)
    for number in range(case.calls):
        state = await case.call(calls, keys, state, case.rows, number)
    used = dict.fromkeys(command[1] for command in (*setup.commands, *calls.commands) if command[1] in load)
    loads = [load[digest] for digest in used]
    return Tape(loads, setup.commands, calls.commands, calls.replies, case.rows * case.calls)


def main(names: Sequence[str], calls: int) -> None:
    """Write the tapes of these cases to standard output."""
    sys.stdout.buffer.write(msgspec.msgpack.encode(asyncio.run(_record(names, calls))))


# The engine is the tree's, the benchmark is this one.
_RECORD = """
import sys
tree, here, calls, *names = sys.argv[1:]
sys.path.insert(0, tree)
import engine
sys.path.insert(0, here)
from benchmarks.micro.tapes import main
main(names, int(calls))
"""


def record(tree: Path, names: Sequence[str], *, calls: int = 0) -> Recording:
    """The tapes of these cases by the bindings and scripts of a source tree. `calls`: of each tape, 0 for those of its case.

    Raises SystemExit where the cases do not run there.
    """
    if not (tree / "engine" / "scripts").is_dir():
        raise SystemExit(f"--tree: {tree} has no engine/scripts; give the folder of a checkout")
    made = subprocess.run(
        [sys.executable, "-c", _RECORD, str(tree.resolve()), str(ROOT), str(calls), *names],
        capture_output=True,
        cwd=tree,
        check=False,
    )
    if made.returncode:
        reason = made.stderr.decode(errors="replace").strip().splitlines()
        raise SystemExit(f"{tree}: the cases cannot be recorded there: {reason[-1] if reason else 'it says nothing'}")
    return msgspec.msgpack.decode(made.stdout, type=Recording)


# --- sending again ----------------------------------------------------------------------------------------------------


def same_shape(reply: Any, recorded: Any) -> bool:
    """Whether a reply is the recorded one but for times and other numbers."""
    match reply, recorded:
        case list(), list():
            return len(reply) == len(recorded) and all(map(same_shape, reply, recorded))
        case bytes(), bytes():
            return _NUMBERS.sub(b"0", reply) == _NUMBERS.sub(b"0", recorded)
        case int(), int():
            return (reply < 0) == (recorded < 0)
    return reply is None and recorded is None


_NUMBERS = re.compile(rb"[0-9]+")
