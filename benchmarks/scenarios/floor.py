"""Where the server's time for a job goes, and the least it could be: the same commands without scripts around them.

`scripts`: jobs added by `add`, 1,000 a call, and worked off by `turn`, 100 a call. `commands`: what those scripts ran, as
MONITOR shows it, sent command by command in pipelines to an empty server. `redis-benchmark`: the commands that are a job's
own (not those that a call makes once for all its jobs), each alone, by the tool that comes with the server (`redis-tools`
in Debian), 100 in flight; left out where it is not on PATH.

Of the server CPU of a job, `command_us` was spent inside commands and `lua_us` in the scripts around them, with what it
takes to turn arguments and replies from one form into the other; the server itself counts both, by the wall clock, so they
add up on a calm machine only. `outside_us` is the rest: reading, parsing, replying, and the append-only file, which is the
difference between `aof=yes` and `aof=no`.
"""

from __future__ import annotations

import ast
import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import uvloop

from benchmarks.measure import Watch, cpu_seconds
from benchmarks.micro.fill import row
from benchmarks.micro.loops import add_all, take_all
from benchmarks.micro.server import Spent, spent_by_command, wait_for_rewrite
from benchmarks.program import placed
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand, client_cores
from engine.connection import Link, open_link
from engine.model.keys import Keys
from engine.scripting.loader import loading

Command = list[bytes]

_KEYS = Keys("bench")
_TOOL = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
_PIPELINE = 1_000
_TOOL_IN_FLIGHT = 100
_OWN = 30  # arguments that a command of one job has at most; those of a whole call have more
_SCRIPTS = frozenset({"evalsha", "eval"})
_QUESTIONS = frozenset({"info", "config|get", "config|set", "monitor", "echo", "flushall", "script|load"})
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_END = "that is all"


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    with _append_only(stand, str(variant.settings["aof"])), placed(client_cores(stand.place)):
        watch = Watch(stand.server_pid)
        figures = uvloop.run(_HOWS[str(variant.settings["how"])](stand, jobs))
        return {**figures, "others": watch.others()}


@contextmanager
def _append_only(stand: Stand, value: str) -> Iterator[None]:
    before = stand.redis.config_get("appendonly")["appendonly"]
    _set_append_only(stand, value)
    try:
        yield
    finally:
        _set_append_only(stand, before)


def _set_append_only(stand: Stand, value: str) -> None:
    stand.redis.config_set("appendonly", value)
    wait_for_rewrite(stand.redis)


# --- the scripts ------------------------------------------------------------------------------------------------------


async def _scripts(stand: Stand, jobs: int) -> Figures:
    link = await open_link(stand.url, prelude=loading("add", "turn"))
    try:
        rows = [row("waiting", n, 1) for n in range(jobs)]
        before, began = await spent_by_command(link), cpu_seconds(stand.server_pid)
        await add_all(link, _KEYS, rows)
        added = cpu_seconds(stand.server_pid)
        await take_all(link, _KEYS, jobs)
        taken, after = cpu_seconds(stand.server_pid), await spent_by_command(link)
        return _figures(jobs, added - began, taken - added, before, after)
    finally:
        await link.close()


def _figures(
    jobs: int, add_seconds: float, turn_seconds: float, before: dict[str, Spent], after: dict[str, Spent]
) -> Figures:
    spent = {name: now.since(before.get(name, Spent())) for name, now in after.items() if name not in _QUESTIONS}
    scripts = sum(spent[name].us for name in spent.keys() & _SCRIPTS)
    commands = [part for name, part in spent.items() if name not in _SCRIPTS]
    inside = sum(part.us for part in commands)
    total = (add_seconds + turn_seconds) * 1e6
    return {
        "server_us": total / jobs,
        "add_us": add_seconds / jobs * 1e6,
        "turn_us": turn_seconds / jobs * 1e6,
        "command_us": inside / jobs,
        "lua_us": (scripts - inside) / jobs if scripts else 0.0,
        "outside_us": (total - (scripts or inside)) / jobs,
        "commands": sum(part.calls for part in commands) / jobs,
    }


# --- their commands ---------------------------------------------------------------------------------------------------


async def _commands(stand: Stand, jobs: int) -> Figures:
    added, taken = await _record(stand, jobs)
    link = await open_link(stand.url)
    try:
        before, began = await spent_by_command(link), cpu_seconds(stand.server_pid)
        await _send(link, added)
        between = cpu_seconds(stand.server_pid)
        await _send(link, taken)
        ended, after = cpu_seconds(stand.server_pid), await spent_by_command(link)
        return _figures(jobs, between - began, ended - between, before, after)
    finally:
        await link.close()


async def _record(stand: Stand, jobs: int) -> tuple[list[Command], list[Command]]:
    """What adding and working off these jobs runs on an empty server, which is empty again afterwards."""
    link = await open_link(stand.url, prelude=loading("add", "turn"))
    try:
        with _Monitor(stand) as monitor:
            await add_all(link, _KEYS, [row("waiting", n, 1) for n in range(jobs)])
            await link.call("ECHO", _END)
            added = await asyncio.to_thread(monitor.scripts_until, _END)
            await take_all(link, _KEYS, jobs)
            await link.call("ECHO", _END)
            taken = await asyncio.to_thread(monitor.scripts_until, _END)
        await link.call("FLUSHALL", "SYNC")
        return added, taken
    finally:
        await link.close()


class _Monitor:
    """A connection that is told of every command."""

    def __init__(self, stand: Stand) -> None:
        where = urlsplit(stand.url)
        if where.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(unquote(where.path))
        else:
            self._socket = socket.create_connection((where.hostname, where.port))
        self._socket.sendall(b"MONITOR\r\n")
        self._lines = self._socket.makefile("rb")
        self._lines.readline()

    def __enter__(self) -> _Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def scripts_until(self, word: str) -> list[Command]:
        """The commands of scripts up to that ECHO."""
        found: list[Command] = []
        for line in self._lines:
            if b" lua] " in line:
                found.append([_unquoted(argument) for argument in _ARGUMENT.findall(line)])
            elif line.endswith(f'"{word}"\r\n'.encode()):
                return found
        raise RuntimeError("the server has closed the connection that monitors it")


def _unquoted(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    value: bytes = ast.literal_eval(f'b"{text.decode()}"')
    return value


async def _send(link: Link, commands: Sequence[Command]) -> None:
    for first in range(0, len(commands), _PIPELINE):
        for reply in await link.call_many(commands[first : first + _PIPELINE]):
            if isinstance(reply, Exception):
                raise reply


# --- one by one, by the server's own tool -----------------------------------------------------------------------------


async def _tool(stand: Stand, jobs: int) -> Figures:
    added, taken = await _record(stand, jobs)
    own = [*_of_one_job(added, jobs), *_of_one_job(taken, jobs)]
    began = cpu_seconds(stand.server_pid)
    for command in own:
        await asyncio.to_thread(_run_tool, stand, command, jobs)
    return {"server_us": (cpu_seconds(stand.server_pid) - began) / jobs * 1e6, "commands": len(own)}


def _of_one_job(commands: Sequence[Command], jobs: int) -> Iterator[list[str]]:
    """The commands that name one certain job and no other, with a random number in the place of its id."""
    id = b"%d" % (jobs // 2 + 1)
    key = _KEYS.jobs.encode() + id
    for command in commands:
        if len(command) > _OWN:
            continue
        named = [b"__rand_int__" if part == id else part.replace(key, key[: -len(id)] + b"__rand_int__")
                 if part in (key, key + b":lock") else part for part in command]  # fmt: skip
        if named != command:
            yield [part.decode() for part in named]


def _run_tool(stand: Stand, command: Sequence[str], times: int) -> None:
    assert _TOOL is not None
    where = urlsplit(stand.url)
    place = (
        ["-s", unquote(where.path)] if where.scheme == "unix" else ["-h", str(where.hostname), "-p", str(where.port)]
    )
    how = ["-c", "1", "-P", str(_TOOL_IN_FLIGHT), "-n", str(times), "-r", str(times), "-q"]
    subprocess.run([_TOOL, *place, *how, *command], check=True, stdout=subprocess.DEVNULL)


_HOWS = {"scripts": _scripts, "commands": _commands, **({"redis-benchmark": _tool} if _TOOL else {})}

FLOOR = Scenario(
    "floor",
    "server CPU of a job in scripts, and of the same commands without them"
    + ("" if _TOOL else " (redis-benchmark is not on PATH and left out: apt-get install redis-tools)"),
    variants=tuple(Variant({"how": how, "aof": aof}) for aof in ("yes", "no") for how in _HOWS),
    measure=_measure,
    main="server_us",
    shown=("server_us", "add_us", "turn_us", "command_us", "lua_us", "outside_us", "commands", "others"),
    jobs=20_000,
    has_limit=False,
    alone=True,
    units={
        "add_us": "adding, us/job",
        "turn_us": "working off, us/job",
        "command_us": "in commands, us/job",
        "lua_us": "in Lua, us/job",
        "outside_us": "outside, us/job",
    },
)
